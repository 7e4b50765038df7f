"""Placing: which memory each value of a flow lives in, and for how long.

A result takes the place of an operand that nobody needs any more, else memory that has become free, the latest first;
a new value of a variable takes the variable's own memory once its old value has been read for the last time.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_bn.capturing.dialect import writes_out
from tinygrad_bn.capturing.flow import Constant, Feed, Flow, Step, Value
from tinygrad_bn.capturing.joining import Together, gathered
from tinygrad_bn.capturing.sections import Sections, shown
from tinygrad_bn.memory import address, aligned
from tinygrad_bn.variables import Variable

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Places:
    """Where values live.

    Attributes:
        arrays: of the values that keep their memory from run to run.
        blocks: the memory that was made, each used by several values in turn.
    """

    def __init__(self, flow: Flow, sections: Sections) -> None:
        self.arrays: dict[Value, NDArray[Any]] = {}
        self.blocks: list[NDArray[Any]] = []
        self._free: list[NDArray[Any]] = []
        self._block_of: dict[Value, NDArray[Any]] = {}
        self._homes = {store.value: store.variable for _, stores in sections.commit.values() for store in stores}
        self._homes = {value: v for value, v in self._homes.items() if value.sample.strides == v.value.strides}
        for value in flow.sources():
            self._settle(value)
        steps = list(sections.in_order())
        last = _last_uses(flow, steps)
        self._read_late: dict[int, list[Value]] = {}
        for value, array in self.arrays.items():
            if isinstance(value.origin, (Variable, Together)) and last[value] >= len(sections.compute):
                self._read_late.setdefault(address(array), []).append(value)
        self._starts = sorted(self._read_late)
        self._joined = [value for values in self._read_late.values() for value in values if _is_joined(value)]
        self._overlapping = {id(v): self._sharing(v.value) for v in self._homes.values()}
        late = {step.result for steps_, _ in sections.commit.values() for step in steps_}
        self._slots: dict[Value, NDArray[Any]] = {}
        for at, step in enumerate(steps):
            if step.function is gathered:
                self._lay_out(step)
                if all(last[part] <= at for part in step.inputs):
                    self._block_of[step.result] = self.blocks[-1]
        self._kept = {value for value, at in last.items() if at >= len(sections.compute)}
        for at, step in enumerate(steps):
            self._place(step, at, last, step.result in late)
            for value in {shown(value) for value in [*step.inputs, step.result]}:
                if last.get(value, at) <= at and value in self._block_of:
                    self._free.append(self._block_of.pop(value))

    def _lay_out(self, step: Step) -> None:
        """Let the parts of a gathered array be made in their places."""
        flat = self.arrays[step.result] = np.empty_like(step.result.sample)
        self.blocks.append(flat.view(np.uint8))
        start = 0
        for part in step.inputs:
            size = part.sample.size
            fits = isinstance(part.origin, Step) and part.origin.view is None and part.sample.flags.c_contiguous
            if fits and part not in self._slots:
                self._slots[part] = flat[start : start + size].reshape(part.shape)
            start += size

    def _settle(self, value: Value) -> None:
        origin = value.origin
        if isinstance(origin, (Variable, Together)):
            self.arrays[value] = origin.value
        elif isinstance(origin, Constant):
            self.arrays[value] = value.sample
        elif isinstance(origin, Feed) and origin.array is not None:
            self.arrays[value] = origin.array

    def _place(self, step: Step, at: int, last: dict[Value, int], late: bool) -> None:
        result = step.result
        if step.function is gathered:
            return
        if step.view is not None:
            if step.view in self.arrays:
                self.arrays[result] = self._called(step)
            return
        home = self._homes.get(result) if late else None
        if home is not None and all(last[value] <= at for value in self._overlapping[id(home)]):
            self.arrays[result] = home.value
            return
        if result in self._slots:
            self.arrays[result] = self._slots[result]
            return
        if not writes_out(step) and result not in self._kept:
            return  # it comes in memory of its own
        if not _is_dense(result.sample):
            self.arrays[result] = np.empty_like(result.sample)
            return
        block = None
        for value in step.inputs if step.is_elementwise else ():
            if any(shown(other) is value and other is not value for other in step.inputs):
                continue  # it is also read in another order
            fits = value.shape == result.shape and value.sample.strides == result.sample.strides
            if fits and value in self._block_of and last[value] <= at and value.dtype == result.dtype:
                block = self._block_of.pop(value)
                break
        if block is None:
            block = self._taken(max(result.sample.nbytes, 1))
        self._block_of[result] = block
        self.arrays[result] = np.ndarray(result.shape, result.dtype, block, strides=result.sample.strides)

    def _sharing(self, memory: NDArray[Any]) -> list[Value]:
        """The variables in this memory whose old numbers the second section reads."""
        start = address(memory)
        nearby = [*self._read_late.get(start, ()), *self._joined]
        inside = self._starts[bisect_left(self._starts, start) : bisect_left(self._starts, start + memory.nbytes)]
        nearby += [value for begin in inside for value in self._read_late[begin]]
        return [value for value in nearby if np.may_share_memory(self.arrays[value], memory)]

    def _called(self, step: Step) -> NDArray[Any]:
        args = [self.arrays[arg] if isinstance(arg, Value) else arg for arg in step.args]
        result: NDArray[Any] = step.function(*args, **step.options)
        return result

    def _taken(self, nbytes: int) -> NDArray[Any]:
        """A free block that is large enough and not much larger, the one that was freed last; else a new one."""
        for position in range(len(self._free) - 1, max(len(self._free) - 9, -1), -1):
            if nbytes <= self._free[position].nbytes <= 2 * nbytes + 256:
                return self._free.pop(position)
        self.blocks.append(aligned(nbytes))
        return self.blocks[-1]


def _last_uses(flow: Flow, steps: list[Step]) -> dict[Value, int]:
    """At which step each value is needed for the last time, itself or through a view of it."""
    last: dict[Value, int] = {}
    for at, step in enumerate(steps):
        for value in step.inputs:
            last[shown(value)] = last[value] = at
    for value in flow.ends():
        last[shown(value)] = last[value] = len(steps)
    return last


def _is_joined(value: Value) -> bool:
    """Whether it is several variables side by side."""
    return isinstance(value.origin, Together)


def _is_dense(array: NDArray[Any]) -> bool:
    """Whether its elements fill a block of memory without a gap."""
    expected = array.itemsize
    for stride, length in sorted(zip(array.strides, array.shape, strict=True)):
        if length > 1 and stride != expected:
            return False
        expected *= length
    return True
