"""Lowering: from a recording to a flow of NumPy calls.

Every operation is expanded to the calls of its own text. A call that has been made before with the same arguments is
not made again, so what rules recompute is shared with the forward pass; nor is an idle one, which gives back what it is
given, bit for bit, such as x * 1; calls on constants are made now.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_bn.capturing.flow import Argument, Constant, Feed, Flow, Step, Store, Value
from tinygrad_bn.capturing.reading import Ref, Unreadable, read
from tinygrad_bn.capturing.recording import Assigned, Made, Recording
from tinygrad_bn.capturing.sections import shown
from tinygrad_bn.errors import CaptureError
from tinygrad_bn.tensors import Tensor
from tinygrad_bn.variables import Variable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tinygrad_bn.primitives import Primitive


def lowered(recording: Recording, arguments: Sequence[Tensor], results: Sequence[Tensor]) -> Flow:
    """The flow of what was recorded, from the arguments to the results.

    Raises:
        CaptureError: it does what a flow cannot, such as reading a variable whose update depends on a condition.
    """
    lowering = _Lowering(arguments)
    flow = lowering.flow
    with np.errstate(all="ignore"):  # variables have new values by now
        for made, source in recording.origins.items():
            if isinstance(source, Feed):
                lowering.known[made] = value = Value(made.value, source)
                if source.refresh is not None:
                    flow.feeds.append(value)
            else:
                lowering.aliases[made] = source
        for event in recording.events:
            if isinstance(event, Made):
                lowering.make(event)
            else:
                lowering.assign(event)
    flow.names = _paths(recording)
    flow.results = [lowering.value(result) for result in results]
    flow.stores = list(lowering.stores.values())
    flow.checks = [(lowering.value(good), explain) for good, explain in recording.checks]
    flow.counters = [(counter, tuple(map(lowering.value, on))) for counter, on in recording.counters]
    return flow


def _paths(recording: Recording) -> dict[Variable, str]:
    """The paths of the variables in the outermost modules that ran."""
    roots = {id(event.root): event.root for event in recording.events if isinstance(event, Made)}.values()
    return {
        variable: path
        for root in roots
        if hasattr(root, "named_variables")
        for path, variable in root.named_variables()
    }


class _Lowering:
    """What is known while a recording is gone through."""

    def __init__(self, arguments: Sequence[Tensor]) -> None:
        self.flow = Flow()
        self.flow.arguments = [Value(tensor.value, Argument(position)) for position, tensor in enumerate(arguments)]
        self.known: dict[Tensor, Value] = dict(zip(arguments, self.flow.arguments, strict=True))
        self.aliases: dict[Tensor, Tensor] = {}
        self.stores: dict[Variable, Store] = {}
        self._numbered: dict[Any, Value] = {}
        self._constants: dict[Any, Value] = {}
        self._keys: list[NDArray[Any]] = []
        self._names: dict[int, dict[int, str]] = {}

    def value(self, tensor: Tensor) -> Value:
        """The value of a Tensor, and of a variable its present one."""
        while tensor in self.aliases:
            tensor = self.aliases[tensor]
        if tensor in self.known:
            if tensor in self.stores and self.stores[tensor].conditions:  # type: ignore[index]
                raise CaptureError(
                    f"a captured step cannot read {_called(tensor)} after an update that may be skipped: "
                    "read it before the update"
                )
            value = self.known[tensor]
            source = shown(value).origin
            if self.stores and isinstance(source, Argument):
                self.flow.reread[source.position] = list(self.stores)
            return value
        if isinstance(tensor, Variable):
            self.known[tensor] = value = Value(tensor.value, tensor)
            return value
        return self.constant(tensor.value)

    def constant(self, array: NDArray[Any]) -> Value:
        """An array that stays as it is; small ones of the same numbers are one value."""
        key: Any = id(array)
        if array.size <= 64:
            key = array.shape, array.dtype, array.strides, array.tobytes()
        if key not in self._constants:
            kept = array if not array.flags.writeable else array.copy("K")
            self._keys.append(array)  # its identity is in use as long as this lives
            self._constants[key] = Value(kept, Constant())
        return self._constants[key]

    def argument(self, arg: Any) -> Any:
        """An argument of an operation: Tensors and arrays as values, all else as it stands."""
        if isinstance(arg, Tensor):
            return self.value(arg)
        return self.constant(arg) if isinstance(arg, np.ndarray) else arg

    def make(self, event: Made) -> None:
        """Expand an operation to the calls of its text."""
        tensor = event.tensor
        assert tensor.source is not None
        primitive, args, settings = tensor.source
        arguments = [self.argument(arg) for arg in args]
        about = {"scope": self._scope(event), "label": primitive.__name__, "place": event.place}
        if isinstance(primitive.forward, np.ufunc):  # that is a text of one call
            self.known[tensor] = self.call(primitive.forward, arguments, {}, about, tensor.value)
            return
        samples = [arg.sample if isinstance(arg, Value) else arg for arg in arguments]
        try:
            text = read(primitive.forward, *samples, **settings)
        except Unreadable:
            self.known[tensor] = self.call(partial(_evaluated, primitive, dict(settings)), arguments, {}, about)
            return
        cells: list[Any] = list(arguments)
        for call in text.calls:
            said = self._filled(call.args, cells), self._filled(call.options, cells)
            cells.append(self.call(call.function, *said, about, call.sample))
        self.known[tensor] = self._as_value(cells[text.results[0].number])

    def _as_value(self, cell: Any) -> Value:
        return cell if isinstance(cell, Value) else self.constant(np.asarray(cell))

    def _filled(self, said: Any, cells: Sequence[Any]) -> Any:
        """What a text says, with values in the places of its references."""
        if isinstance(said, Ref):
            return cells[said.number]
        if isinstance(said, dict):
            return {key: self._filled(option, cells) for key, option in said.items()}
        if isinstance(said, (list, tuple)):
            return type(said)(self._filled(part, cells) for part in said)
        return self.constant(said) if isinstance(said, np.ndarray) else said

    def call(
        self,
        function: Callable[..., Any],
        args: Sequence[Any],
        options: Mapping[str, Any],
        about: Mapping[str, Any],
        sample: NDArray[Any] | None = None,
    ) -> Value:
        """The value of a call: an old one if it was made before or is idle, a constant if it is made of constants."""
        key = function, key_of(tuple(args)), key_of(options)
        if key in self._numbered:
            return self._numbered[key]
        step = Step(function, args, options, np.empty(0), **about)
        inputs = step.inputs
        if sample is None:
            sample = function(*[arg.sample if isinstance(arg, Value) else arg for arg in args])
        if all(isinstance(value.origin, Constant) for value in inputs):
            value = self.constant(sample)
        else:
            step.result.sample = sample
            step.view = next((v for v in inputs if sample.size and np.may_share_memory(sample, v.sample)), None)
            given_back = _given_back(step)
            value = step.result if given_back is None else given_back
            if given_back is None:
                self.flow.steps.append(step)
        self._numbered[key] = value
        return value

    def assign(self, event: Assigned) -> None:
        """The variable has a new value from here on."""
        variable, data = event.variable, event.data
        value = self.value(data) if isinstance(data, Tensor) else self.constant(np.array(data))
        about = {"scope": "", "label": event.writer, "place": ""}
        if value.dtype != variable.dtype:
            value = self.call(
                np.ndarray.astype, (value, variable.dtype), {}, about, value.sample.astype(variable.dtype)
            )
        if value.shape != variable.shape:
            wide = np.broadcast_to(value.sample, variable.shape)
            value = self.call(np.broadcast_to, (value, variable.shape), {}, about, wide)
        conditions = tuple(map(self.value, event.conditions))
        before = self.stores.get(variable)
        if before is not None and before.conditions != conditions:
            raise CaptureError(f"a captured step cannot update {_called(variable)} twice on different conditions")
        in_rows = value.sample.flags.c_contiguous  # as whoever reads the variable finds its values
        self.known[variable] = value if in_rows else self.call(np.ndarray.copy, (value,), {}, about)
        self.stores[variable] = Store(variable, value, event.writer, conditions)

    def _scope(self, event: Made) -> str:
        """The path of the module that was at work, in the outermost one."""
        if event.root is None:
            return ""
        if id(event.root) not in self._names:
            named = event.root.named_modules() if hasattr(event.root, "named_modules") else ()
            self._names[id(event.root)] = {id(module): path for path, module in named}
        return self._names[id(event.root)].get(id(event.module), type(event.module).__name__)


def _evaluated(primitive: Primitive[Any], settings: Mapping[str, Any], *arrays: Any) -> NDArray[Any]:
    """An operation whose text cannot be read, as it stands."""
    result: NDArray[Any] = primitive.evaluate(arrays, settings)
    return result


_COPIES = (np.ndarray.copy, np.copy, np.ndarray.astype, np.positive, np.ascontiguousarray)
_SHAPERS = (np.ndarray.reshape, np.reshape, np.broadcast_to, np.ndarray.transpose)


def _given_back(step: Step) -> Value | None:
    """The argument that has the very numbers, shape, dtype and layout of the result, if there is one."""
    x = step.args[0] if step.args else None
    if step.function in (np.multiply, np.divide):
        one = [_is_one(arg) for arg in step.args]
        if one[1]:
            x = step.args[0]
        elif one[0] and step.function is np.multiply:
            x = step.args[1]
        else:
            return None
    elif step.function not in _COPIES and not (step.function in _SHAPERS and step.view is x):
        return None
    if not isinstance(x, Value) or x.dtype != step.result.dtype or x.shape != step.result.shape:
        return None
    return x if x.sample.strides == step.result.sample.strides else None


def _is_one(arg: Any) -> bool:
    if isinstance(arg, Value):
        return isinstance(arg.origin, Constant) and bool((arg.sample == 1).all())
    return isinstance(arg, (int, float)) and arg == 1


def key_of(said: Any) -> Any:
    """What tells two arguments apart: the values themselves, and of all else the type and the digits."""
    if isinstance(said, Value):
        return said
    if isinstance(said, (list, tuple)):
        return type(said), tuple([key_of(part) for part in said])
    if isinstance(said, dict):
        return tuple([(name, key_of(option)) for name, option in said.items()])
    return type(said), repr(said)


def _called(variable: Tensor) -> str:
    return getattr(variable, "name", None) or f"a variable of shape {variable.shape}"
