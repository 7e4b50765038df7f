"""Program: a captured step, ready to run, and what there is to be seen of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_bn.capturing.flow import Constant, Feed, Flow, Step, Value
from tinygrad_bn.capturing.keys import filled
from tinygrad_bn.capturing.replaying import Replay
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
        owners: who has a gradient afterwards: a variable, or the position of an argument.
    """

    def __init__(self, flow: Flow, executor: str, result: Any, owners: Sequence[Variable | int], name: str) -> None:
        self.flow = flow
        self.name = name
        self._shape = _without_values(result)
        self._owners = owners
        self._runner = Replay(flow)

    def run(self, arrays: Sequence[Any]) -> Any:
        """What the step returns for these arrays and Tensors."""
        values = [array.value if isinstance(array, Tensor) else array for array in arrays]
        results = self._runner.run(values)
        count = len(results) - len(self._owners)
        return self.handed(results[:count], results[count:], arrays)

    def handed(self, results: Sequence[NDArray[Any]], gradients: Sequence[NDArray[Any]], arrays: Sequence[Any]) -> Any:
        """The results in the form in which the function returned them; gradients go to whom they belong."""
        for owner, gradient in zip(self._owners, gradients, strict=True):
            leaf = arrays[owner] if isinstance(owner, int) else owner
            leaf._grad = Tensor(gradient)
        if self._shape is _ONE:
            return Tensor(results[0])
        return filled(self._shape, map(Tensor, results))

    @property
    def memory(self) -> int:
        return self._runner.nbytes

    def steps(self) -> list[Step]:
        """The NumPy calls, in order."""
        return list(self.flow.steps)

    def c_source(self) -> str:
        """The C that the native executor compiles."""
        raise NotImplementedError

    def __str__(self) -> str:
        """A listing: step, operation, shapes, where the result lives, module."""
        return "\n".join(_listing(self.flow, self._runner))


_ONE = object()
_HOLE = np.empty(0)


def _without_values(result: Any) -> Any:
    """The nest that a function returned, with an empty array in the place of each."""
    if isinstance(result, (Tensor, np.ndarray)):
        return _ONE
    return _emptied(result)


def _emptied(result: Any) -> Any:
    if isinstance(result, (Tensor, np.ndarray)):
        return _HOLE
    if isinstance(result, (list, tuple)):
        parts = [_emptied(part) for part in result]
        return type(result)(*parts) if hasattr(result, "_fields") else type(result)(parts)
    if isinstance(result, dict):
        return {name: _emptied(part) for name, part in result.items()}
    return result


def _listing(flow: Flow, runner: Replay) -> list[str]:
    names: dict[Value, str] = {}
    for position, value in enumerate(flow.arguments):
        names[value] = f"argument {position}"
    for value in flow.sources():
        names.setdefault(value, _source(value))
    lines = []
    for number, step in enumerate(flow.steps):
        names[step.result] = f"%{number}"
        said = ", ".join(_said(arg, names) for arg in [*step.args, *step.options.values()])
        shape = f"{step.result.dtype}{list(step.result.shape)}"
        lines.append(
            f"{f'%{number}':>5} = {_function(step)}({said})".ljust(60) + f" {shape:22} {step.label:24} {step.scope}"
        )
    for store in flow.stores:
        lines.append(f"      {store.variable.name or 'a variable'} <- {names[store.value]}")
    lines.append(f"      return {', '.join(names[value] for value in flow.results)}")
    return lines


def _source(value: Value) -> str:
    if isinstance(value.origin, Variable):
        return value.origin.name or "variable"
    if isinstance(value.origin, Constant):
        return f"{value.sample:.6g}" if not value.shape else "constant"
    return "feed" if isinstance(value.origin, Feed) else "argument"


def _said(arg: Any, names: dict[Value, str]) -> str:
    if isinstance(arg, Value):
        return names[arg]
    if isinstance(arg, (list, tuple)):
        return f"[{', '.join(_said(part, names) for part in arg)}]"
    return repr(arg)


def _function(step: Step) -> str:
    function = step.function
    owner = getattr(function, "__self__", None)
    name = getattr(function, "__name__", step.label)
    return f"{owner.__name__}.{name}" if isinstance(owner, np.ufunc) else name
