"""Joining: updates of variables that lie side by side in memory become one update of all of them.

Takes the stores whose values are made by the same elementwise calls; leaves one store of each kind, on flat arrays, and
lets the gradients be made next to each other in the first place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_bn.capturing.flow import Flow, Step, Store, Value
from tinygrad_bn.capturing.passes import without_unused_steps
from tinygrad_bn.memory import address
from tinygrad_bn.variables import Variable, adjacent

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Together:
    """Variables that lie side by side, as one flat array. It takes a variable's place in a store."""

    def __init__(self, variables: Sequence[Variable], value: NDArray[Any]) -> None:
        self.variables = list(variables)
        self.value = value
        self.name = f"{len(self.variables)} variables side by side"

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of all elements."""
        return self.value.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the elements."""
        return self.value.dtype


class Apart(Exception):
    """These values are not made in the same way, or do not lie side by side."""


def gathered(*parts: NDArray[Any]) -> NDArray[Any]:
    """The parts one after the other, flat."""
    return np.concatenate([part.reshape(-1) for part in parts])


def joined(flow: Flow) -> Flow:
    """The flow with joined updates; the one that was given stays as it is."""
    new = Flow()
    vars(new).update(vars(flow))
    new.steps, new.stores = list(flow.steps), []
    joining = _Joining(new)
    by_kind: dict[Any, list[Store]] = {}
    for store in flow.stores:
        kind = store.conditions, store.writer, store.variable.dtype, _signature(store.value)
        own = Store(store.variable, store.value, store.writer, store.conditions)  # sections change its value
        by_kind.setdefault(kind, []).append(own)
    for stores in by_kind.values():
        for run in _runs(sorted(stores, key=_address)):
            new.stores += joining.join(run)
    without_unused_steps(new)
    return new


def _address(store: Store) -> int:
    return address(store.variable.value)


def _runs(stores: list[Store]) -> list[list[Store]]:
    """Stores in the order of memory, parted where there is a gap."""
    runs = [[stores[0]]]
    for store in stores[1:]:
        before = runs[-1][-1]
        if _address(store) == _address(before) + before.variable.value.nbytes:
            runs[-1].append(store)
        else:
            runs.append([store])
    return runs


_DEPTH = 12
"""Update rules are no deeper than this; what lies further up is a gradient."""


def _signature(value: Any, depth: int = _DEPTH) -> Any:
    """How a value is made, as far as it is elementwise on arrays of its own shape."""
    if not isinstance(value, Value):
        return type(value), repr(value)
    step = value.origin
    if value.shape == ():
        return value
    if depth and isinstance(step, Step) and _is_elementwise(step):
        return step.function, tuple(_signature(arg, depth - 1) for arg in step.args)
    return "variable" if isinstance(step, Variable) else "value"


def _is_elementwise(step: Step) -> bool:
    """Whether it is elementwise on arrays of its own shape."""
    return step.is_elementwise and all(value.shape in ((), step.result.shape) for value in step.inputs)


class _Joining:
    """Makes steps on flat arrays out of those on their parts."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self._made: dict[tuple[Value, ...], Value] = {}

    def join(self, stores: list[Store]) -> list[Store]:
        """One store instead of these, if there is a way."""
        if len(stores) < 2:
            return stores
        memory = adjacent([store.variable for store in stores])
        steps, made = len(self.flow.steps), dict(self._made)
        try:
            if memory is None:
                raise Apart
            value = self._flat([store.value for store in stores])
        except Apart:
            del self.flow.steps[steps:]
            self._made = made
            return stores
        variable: Any = Together([store.variable for store in stores], memory)
        return [Store(variable, value, stores[0].writer, stores[0].conditions)]

    def _flat(self, parts: list[Value], depth: int = _DEPTH) -> Value:
        """The value that holds these one after the other."""
        key = tuple(parts)
        if key not in self._made:
            steps = [part.origin for part in parts]
            if all(isinstance(step, Variable) for step in steps):
                memory = adjacent(steps)
                if memory is None:
                    raise Apart
                self._made[key] = Value(memory, Together(steps, memory))
            elif depth and all(isinstance(step, Step) and _is_elementwise(step) for step in steps):
                self._made[key] = self._applied(steps, depth - 1)
            else:
                sample = np.empty(sum(part.sample.size for part in parts), parts[0].dtype)
                step = Step(gathered, parts, {}, sample, label=f"{len(parts)} gradients side by side")
                self.flow.steps.append(step)
                self._made[key] = step.result
        return self._made[key]

    def _applied(self, steps: list[Step], depth: int) -> Value:
        args = [self._operand(operands, depth) for operands in zip(*[step.args for step in steps], strict=True)]
        first = steps[0]
        sample = np.empty(sum(step.result.sample.size for step in steps), first.result.dtype)
        step = Step(first.function, args, {}, sample, label=first.label)
        self.flow.steps.append(step)
        return step.result

    def _operand(self, operands: tuple[Any, ...], depth: int) -> Any:
        first = operands[0]
        if not isinstance(first, Value) or first.shape == ():
            return first  # the signatures say that it is the same for all
        return self._flat(list(operands), depth)
