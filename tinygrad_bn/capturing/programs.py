"""Program: a captured step, ready to run, and what there is to be seen of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_bn.capturing.flow import Flow, Step, Value
from tinygrad_bn.capturing.running import runner, source_of
from tinygrad_bn.errors import CaptureError
from tinygrad_bn.nests import mapped
from tinygrad_bn.tensors import Tensor
from tinygrad_bn.variables import Variable

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Program:
    """A captured step for one kind of call.

    Attributes:
        flow: what it computes.
        memory: the bytes that its intermediate results need.

    Args:
        result: what the function returned.
        owners: who has a gradient of the step's afterwards: a Tensor, or the position of an argument.
        cleared: who has none, whatever was there.
        inherited: the positions of the arguments whose gradients the step goes on from.
    """

    def __init__(
        self,
        flow: Flow,
        executor: str,
        result: Any,
        owners: Sequence[Tensor | int],
        cleared: Sequence[Tensor | int],
        inherited: Sequence[int],
        name: str,
    ) -> None:
        self.flow = flow
        self.name = name
        self._shape = mapped(result, _emptied)
        self._is_flat = type(self._shape) is tuple and all(part is _HOLE for part in self._shape)
        self._owners, self._cleared = owners, cleared
        self._inherited = inherited
        self._homes: set[int] = set()
        self._moves = -1
        self._runner = runner(flow, executor)

    def run(self, arrays: Sequence[Any]) -> Any:
        """What the step returns for these arrays and Tensors.

        Raises:
            CaptureError: one of them is the memory of a variable, and is read after that has been updated.
        """
        values = [array.value if isinstance(array, Tensor) else array for array in arrays]
        if self._inherited:
            values += [arrays[place]._gradient().value for place in self._inherited]
        if self.flow.reread:
            self.expect_apart(values)
        results = self._runner.run(values)
        if not self._owners:
            return self.handed(results, (), arrays)
        count = len(results) - len(self._owners)
        return self.handed(results[:count], results[count:], arrays)

    def expect_apart(self, values: Sequence[NDArray[Any]]) -> None:
        """Raise if an argument would show, where it is read again, what has been written to a variable by then.

        Mostly the owners of memory tell; where a view shows that of somebody other than NumPy, its address does.
        """
        reread = self.flow.reread
        if self._moves != Variable.moves:
            self._homes = {id(_owner(v.value)) for variables in reread.values() for v in variables}
            self._moves = Variable.moves
        for position, variables in reread.items():
            owner = _owner(values[position])
            if type(owner) is np.ndarray and owner.base is None and id(owner) not in self._homes:
                continue
            for variable in variables:
                if np.may_share_memory(values[position], variable.value):
                    raise CaptureError(
                        f"argument {position} of {self.name} shares its memory with {variable.name or 'a variable'} "
                        f"of shape {variable.shape}, and is read after that has been updated: pass a .copy()"
                    )

    def handed(self, results: Sequence[NDArray[Any]], gradients: Sequence[NDArray[Any]], arrays: Sequence[Any]) -> Any:
        """The results in the form in which the function returned them; gradients go to whom they belong."""
        for owner, gradient in zip(self._owners, gradients, strict=True):
            leaf = arrays[owner] if isinstance(owner, int) else owner
            leaf._grad = gradient
        for owner in self._cleared:
            (arrays[owner] if isinstance(owner, int) else owner)._grad = None
        if self._shape is _HOLE:
            return Tensor(results[0])
        if self._is_flat:
            return tuple([Tensor(result) for result in results])
        waiting = iter(results)
        return mapped(self._shape, lambda leaf: Tensor(next(waiting)) if leaf is _HOLE else leaf)

    @property
    def memory(self) -> int:
        count: int = self._runner.nbytes
        return count

    def steps(self) -> list[Step]:
        """The NumPy calls, in order."""
        return list(self.flow.steps)

    def c_source(self) -> str:
        """The step as C, as the native executor compiles it.

        Raises:
            CaptureError: the step holds something that has no C text.
        """
        return source_of(self.flow)

    def draw(self) -> Any:
        """The drawing of the steps, each inside the module that it belongs to: see `tg.draw`."""
        from importlib import import_module  # drawing reads programs, so it cannot be imported here

        return import_module("tinygrad_bn.drawing").draw(self)

    def __str__(self) -> str:
        """A listing: step, operation, shapes, where the result lives, module."""
        return "\n".join(_listing(self.flow, self._runner))


def _owner(array: NDArray[Any]) -> Any:
    """Whose memory an array shows: its own, where it is no view."""
    return array if array.base is None else array.base


_HOLE = np.empty(0)


def _emptied(leaf: Any) -> Any:
    """A hole in the place of an array or Tensor; what a replay can give back as it is, as it is."""
    if isinstance(leaf, (Tensor, np.ndarray)):
        return _HOLE
    if not isinstance(leaf, (int, float, str, bytes, type(None), np.generic)):
        raise CaptureError(
            f"a captured function returns Tensors, arrays and numbers, in lists, tuples and dicts; got a "
            f"{type(leaf).__name__}, which later calls would not renew"
        )
    return leaf


def _listing(flow: Flow, runner: Any) -> Iterator[str]:
    """The steps, what is stored, and what is returned."""
    names = {value: flow.called(value) for value in (*flow.arguments, *flow.feeds, *flow.sources())}
    names.update({step.result: f"%{number}" for number, step in enumerate(flow.steps)})
    for step in flow.steps:
        said = ", ".join(_said(arg, names) for arg in [*step.args, *step.options.values()])
        shape = f"{step.result.dtype}{list(step.result.shape)}"
        about = f"{shape:22} {runner.place(step.result):10} {step.label:24} {step.scope}"
        yield f"{f'{names[step.result]:>5} = {step.called}({said})':64} {about}".rstrip()
    for store in flow.stores:
        name = flow.names.get(store.variable) or store.variable.name or "a variable"
        when = f" if {', '.join(names[condition] for condition in store.conditions)}" if store.conditions else ""
        yield f"      {name} <- {names[store.value]}{when}"
    yield f"      return {', '.join(names[value] for value in flow.results)}"


def _said(arg: Any, names: Mapping[Value, str]) -> str:
    if isinstance(arg, Value):
        return names[arg]
    if isinstance(arg, (list, tuple)):
        return f"[{', '.join(_said(part, names) for part in arg)}]"
    return repr(arg)
