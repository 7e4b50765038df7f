"""Flow: what a captured step computes, as a flat list of NumPy calls on numbered values.

Every value is made once and never changes: an updated variable is a new value, which is stored at the end. Passes turn
one flow into another; the executors, the listing and the drawing read it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # numpy.typing costs more to import than all of ours
    from numpy.typing import NDArray

    from tinygrad_bn.variables import Variable


class Value:
    """An array of the flow.

    Attributes:
        sample: what it was when the flow was recorded: its shape, dtype and strides hold for every run.
        origin: where it comes from: an `Argument`, a `Variable` as it is before the step, a `Feed`, a `Constant`, or
            the `Step` that makes it.
    """

    __slots__ = ("origin", "sample")

    def __init__(self, sample: NDArray[Any], origin: Any) -> None:
        self.sample = sample
        self.origin = origin

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each axis."""
        return self.sample.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the elements."""
        return self.sample.dtype

    def __repr__(self) -> str:
        return f"Value({self.dtype} {self.shape} from {self.origin!r:.60})"


class Argument:
    """The array at `position` among those that the call was given."""

    __slots__ = ("position",)

    def __init__(self, position: int) -> None:
        self.position = position


class Feed:
    """An array that changes from run to run without being an argument.

    Where `array` is None, `refresh()` gives a new one before each run. Else it is always the same memory, into which
    `refresh()` writes before each run, or, where that is None, its owner at any time.
    """

    __slots__ = ("array", "refresh")

    def __init__(self, refresh: Callable[[], Any] | None, array: NDArray[Any] | None = None) -> None:
        self.refresh = refresh
        self.array = array


class Constant:
    """An array that is the same in every run."""

    __slots__ = ()


class Step:
    """One NumPy call.

    Attributes:
        function: as the text has it: a ufunc, `np.add.reduce`, `np.ndarray.dot`, `getattr`, or any other callable.
        args: with `Value`s for arrays; numbers, settings, and lists and tuples of all these stand as they are.
        options: the keyword arguments, likewise.
        inputs: the values among the arguments and options.
        result: the value it makes.
        view: the value whose memory the result shows, or None.
        scope: the path of the module that was at work, such as "layers.1".
        label: the primitive that the call belongs to.
        place: "file:line" of the user's code.
    """

    __slots__ = ("args", "function", "inputs", "label", "options", "place", "result", "scope", "view")

    def __init__(
        self,
        function: Callable[..., Any],
        args: Sequence[Any],
        options: Mapping[str, Any],
        sample: NDArray[Any],
        view: Value | None = None,
        scope: str = "",
        label: str = "",
        place: str = "",
    ) -> None:
        self.function = function
        self.args = tuple(args)
        self.options = dict(options)
        self.inputs = list(values_in((*self.args, *self.options.values())))
        self.result = Value(sample, self)
        self.view = view
        self.scope, self.label, self.place = scope, label, place

    def __repr__(self) -> str:
        shapes = ", ".join(f"{value.dtype}{list(value.shape)}" for value in self.inputs)
        parts = [f"{self.called}({shapes})", f"{self.result.dtype}{list(self.result.shape)}", self.label, self.scope]
        return f"Step({', '.join(filter(None, parts))})"

    @property
    def called(self) -> str:
        """The name of the function, such as "add" or "maximum.reduce"."""
        if self.function is getattr:
            return str(self.args[1])
        owner = getattr(self.function, "__self__", None)
        name: str = getattr(self.function, "__name__", self.label)
        return f"{owner.__name__}.{name}" if isinstance(owner, np.ufunc) else name

    @property
    def is_elementwise(self) -> bool:
        """Whether every element of the result depends on the same elements of the arguments alone."""
        return isinstance(self.function, np.ufunc) and self.function.signature is None and not self.options


class Store:
    """At the end of the run `variable` takes the numbers of `value`, unless one of `conditions` is false.

    Attributes:
        writer: who updates it, for messages.
        conditions: values of one truth value each.
    """

    __slots__ = ("conditions", "value", "variable", "writer")

    def __init__(self, variable: Variable, value: Value, writer: str, conditions: Sequence[Value] = ()) -> None:
        self.variable = variable
        self.value = value
        self.writer = writer
        self.conditions = tuple(conditions)


class Flow:
    """A step: values come in, `steps` make more, `results` go out, and `stores` update variables.

    Attributes:
        arguments: the values of the call's arrays, in order.
        feeds: the values to be refreshed before each run, in this order, whether or not a step uses them.
        steps: in an order in which they can be run.
        stores: one for each updated variable; the variables are written only when all else has been computed.
        results: the values handed out.
        checks: pairs of a value, of one truth value, and the function that gives the exception to raise if it is false.
        names: of the variables, their paths in the modules that ran.
        counters: pairs of an array of no dimensions, which grows by 1 once the stores are done, and the conditions that
            it shares with them.
        reread: for each argument that is read after an update, by its position, the variables updated by then.
    """

    def __init__(self) -> None:
        self.arguments: list[Value] = []
        self.feeds: list[Value] = []
        self.steps: list[Step] = []
        self.names: dict[Variable, str] = {}
        self.stores: list[Store] = []
        self.results: list[Value] = []
        self.checks: list[tuple[Value, Callable[[], Exception]]] = []
        self.counters: list[tuple[NDArray[Any], tuple[Value, ...]]] = []
        self.reread: dict[int, list[Variable]] = {}

    def kind(self, value: Value) -> str:
        """What a value is that no step makes: "input", "constant", "parameter" or "state"."""
        if isinstance(value.origin, (Argument, Feed)):
            return "input"
        if isinstance(value.origin, Constant):
            return "constant"
        return "parameter" if value.origin.requires_grad else "state"

    def called(self, value: Value) -> str:
        """What a value is called that no step makes."""
        if value in self.arguments:
            return f"argument {self.arguments.index(value)}"
        if isinstance(value.origin, Feed):
            return f"feed {self.feeds.index(value)}" if value in self.feeds else "rate"
        if isinstance(value.origin, Constant):
            return f"{value.sample:.6g}" if not value.shape else "constant"
        return self.names.get(value.origin) or value.origin.name or "variable"

    def asked(self) -> list[Value]:
        """What has to be looked at before anything is updated: the truths of checks and conditions, each once."""
        conditions = [*(store.conditions for store in self.stores), *(conditions for _, conditions in self.counters)]
        return list(dict.fromkeys([*(good for good, _ in self.checks), *chain(*conditions)]))

    def ends(self) -> list[Value]:
        """What the steps are there for: the values that somebody outside them needs."""
        return [*self.results, *(store.value for store in self.stores), *self.asked()]

    def sources(self) -> dict[Value, None]:
        """The values that no step makes, in the order in which they are first needed."""
        used = [value for step in self.steps for value in step.inputs]
        return dict.fromkeys(value for value in [*used, *self.ends()] if not isinstance(value.origin, Step))


def values_in(arguments: Iterable[Any]) -> Iterator[Value]:
    """The values in nested lists and tuples."""
    for argument in arguments:
        if isinstance(argument, Value):
            yield argument
        elif isinstance(argument, (list, tuple)):
            yield from values_in(argument)


def replaced(arguments: Any, new: Mapping[Value, Any]) -> Any:
    """The same nested lists and tuples with other values, or whatever stands in `new`, in the place of values."""
    if isinstance(arguments, Value):
        return new.get(arguments, arguments)
    if isinstance(arguments, (list, tuple)):
        return type(arguments)(replaced(argument, new) for argument in arguments)
    return arguments
