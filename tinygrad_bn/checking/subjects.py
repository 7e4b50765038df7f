"""What is checked: a function or a module, seen as a function of named float64 arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_bn.errors import DtypeError
from tinygrad_bn.mode import frozen_state, using
from tinygrad_bn.nests import mapped
from tinygrad_bn.recorders import Recorder
from tinygrad_bn.tensors import Tensor, Version, as_array
from tinygrad_bn.tensors.graph import arguments
from tinygrad_bn.variables import Variable

Point = Sequence[NDArray[np.float64]]


class Subject:
    """A function or module that can be run anywhere near its inputs, in float64, without a trace.

    Attributes:
        names: of the floating arguments, then of a module's trainable parameters.
        point: their values, as float64 copies.
        skipped: what is not differentiated, and why.
        runs: how often it was run.
    """

    def __init__(self, f: Callable[..., Any], inputs: Sequence[Any]) -> None:
        if not callable(f):
            raise TypeError(f"a check of gradients expects a function or a module first; got {type(f).__name__}")
        self._f, self._inputs, self.runs = f, inputs, 0
        named = zip(_argument_names(f, len(inputs)), inputs, strict=True)
        arguments = [leaf for name, tree in named for leaf in _leaves(name, tree)]
        self._given = [leaf for _, leaf in arguments]
        self._places = [place for place, leaf in enumerate(self._given) if _kind(leaf) == "f" and np.size(leaf)]
        self._reached = self._first_run()
        self._parameters: list[Variable] = []
        self.names = [arguments[place][0] for place in self._places]
        self.point = [_copied(self._given[place]) for place in self._places]
        self.skipped = {
            name: _described(leaf) for place, (name, leaf) in enumerate(arguments) if place not in self._places
        }
        self._take_parameters()
        if not self.names:
            came = ", ".join(f"{name}: {why}" for name, why in self.skipped.items()) or "no argument"
            raise DtypeError(f"a check of gradients expects a floating argument or parameter; got {came}")

    def _first_run(self) -> _Watch:
        """What a run reads. The first run is on the inputs as given, and on them a module is built that is not yet."""
        watch = _Watch()
        given = list(self._given)
        for place in self._places:
            given[place] = Tensor(np.array(as_array(given[place])), requires_grad=True)
        with np.errstate(all="ignore"):
            if hasattr(self._f, "build_on"):
                self._f.build_on(*self._with(given))
            with frozen_state(), using(gradients=True, recorder=watch):
                self._f(*self._with(given))
        return watch

    def _with(self, leaves: Iterable[Any]) -> Any:
        """The inputs with other leaves."""
        waiting = iter(leaves)
        return mapped(self._inputs, lambda _: next(waiting))

    def _take_parameters(self) -> None:
        if not hasattr(self._f, "named_parameters"):
            return
        for path, parameter in self._f.named_parameters():
            name = path if path not in self.names else f"parameter {path}"
            if parameter.trainable:
                self.names.append(name)
                self.point.append(_copied(parameter))
                self._parameters.append(parameter)
            else:
                self.skipped[name] = "not trainable"

    @contextmanager
    def in_float64(self) -> Iterator[None]:
        """Within it the variables that a run reads are float64 copies of themselves, with versions of their own.

        A module that casts its inputs to a `dtype` of its own casts them to float64. Afterwards each variable has its
        memory back, the very same array, and no graph that holds it is stale.
        """
        variables = [*dict.fromkeys([*self._reached.variables, *self._parameters])]
        held = [(variable, variable.value, variable.version) for variable in variables]
        casting = [(vars(module), module.dtype) for module in self._reached.modules]
        try:
            for variable, value, _ in held:
                variable.value, variable.version = value.astype(np.float64), Version()
            for attributes, _ in casting:
                attributes["dtype"] = np.dtype(np.float64)
            yield
        finally:
            for variable, value, version in held:
                variable.value, variable.version = value, version
            for attributes, dtype in casting:
                attributes["dtype"] = dtype

    def run(self, point: Point) -> tuple[list[Tensor], list[Tensor]]:
        """The leaves at `point`, one for each name, and the floating results. Belongs inside `frozen_state()`."""
        self.runs += 1
        arguments = [Tensor(value, requires_grad=True) for value in point[: len(self._places)]]
        given = list(self._given)
        for place, argument in zip(self._places, arguments, strict=True):
            given[place] = argument
        for parameter, value in zip(self._parameters, point[len(arguments) :], strict=True):
            parameter.value = value
        with using(gradients=True, taken=[]):  # as for tg.grad: a captured function runs as it is
            result = self._f(*self._with(given))
        outputs = [leaf for _, leaf in _leaves("result", result)]
        floating = [leaf for leaf in outputs if _kind(leaf) == "f"]
        if not floating:
            came = ", ".join(map(_described, outputs)) or "nothing"
            raise DtypeError(f"a check of gradients expects a floating result; the function returned {came}")
        tensors = [leaf if isinstance(leaf, Tensor) else Tensor(np.asarray(leaf)) for leaf in floating]
        return [*arguments, *self._parameters], tensors


class _Watch(Recorder):
    """Collects the floating variables that operations read, and the modules that cast to a floating dtype."""

    def __init__(self) -> None:
        self.variables: list[Variable] = []
        self.modules: list[Any] = []

    def note(self, tensor: Tensor) -> None:
        self.variables += [arg for arg in arguments(tensor) if isinstance(arg, Variable) and arg.dtype.kind == "f"]

    def enter(self, module: Any) -> None:
        dtype = getattr(module, "__dict__", {}).get("dtype")
        if isinstance(dtype, np.dtype) and dtype.kind == "f" and all(module is not seen for seen in self.modules):
            self.modules.append(module)


def _argument_names(f: Callable[..., Any], count: int) -> list[str]:
    """What the function itself calls its first `count` arguments, or their positions."""
    from inspect import Parameter, signature

    try:
        parameters = list(
            signature(getattr(f, "forward", f) if hasattr(f, "named_parameters") else f).parameters.values()
        )
    except (TypeError, ValueError):
        parameters = []
    single = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    names = [p.name for p in parameters if p.kind in single][:count]
    return names + [f"argument {position}" for position in range(len(names), count)]


def _leaves(path: str, tree: Any) -> Iterator[tuple[str, Any]]:
    """What is in nested lists, tuples and dicts, each with its path."""
    if isinstance(tree, Mapping):
        for key, branch in tree.items():
            yield from _leaves(f"{path}.{key}", branch)
    elif isinstance(tree, (list, tuple)):
        for position, branch in enumerate(tree):
            yield from _leaves(f"{path}[{position}]", branch)
    else:
        yield path, tree


def _kind(leaf: Any) -> str:
    """The kind of dtype of a number or an array; "" for anything else."""
    if isinstance(leaf, (Tensor, np.ndarray, np.generic)):
        return leaf.dtype.kind
    return "f" if isinstance(leaf, float) else ""


def _copied(leaf: Any) -> NDArray[np.float64]:
    return np.array(leaf.value if isinstance(leaf, Tensor) else leaf, np.float64, order="C")


def _described(leaf: Any) -> str:
    if isinstance(leaf, (Tensor, np.ndarray, np.generic)):
        return f"{leaf.dtype} of shape {leaf.shape}"
    return type(leaf).__name__
