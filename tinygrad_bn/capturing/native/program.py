"""A flow as a compiled program: what Python does around one call of C."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_bn.capturing.flow import Feed, Flow, Value
from tinygrad_bn.capturing.native import blas
from tinygrad_bn.capturing.native.building import compiled
from tinygrad_bn.capturing.native.emitting import Source
from tinygrad_bn.mode import current
from tinygrad_bn.tensors import next_serial
from tinygrad_bn.variables import Variable
from tinygrad_bn.variables import written as announced

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LINE = 64
_SMALL = 2**15
"""Up to so many bytes, copying an argument takes less time than asking NumPy for its address."""


class NativeProgram:
    """A flow that can be run again and again: `run(arrays)` gives the results.

    Attributes:
        source: the C text.
        nbytes: the memory that its results need, in bytes.

    Raises:
        Inexpressible: the flow holds a call that the dialect does not know.
        NativeError: there is no C compiler that compiles it.
    """

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        written = Source(flow)
        self.source = written.text
        self._library = compiled(self.source)
        blas.install(self._library, blas.found())
        self._block = _aligned(max(written.memory.nbytes, 1))
        self.nbytes = self._block.nbytes
        self._given = (ctypes.c_uint64 * (1 + len(written.given)))(address(self._block))
        self._alive: list[Any] = []
        places = dict(zip(written.given, range(1, len(self._given)), strict=True))
        self._take_arguments(flow.arguments, places, written.used)
        self._take_feeds(flow.feeds, places)
        self._take_constants(places)
        self._variables = [(place, value.origin) for value, place in places.items() if is_variable(value)]
        self._point_to_variables()
        handed = written.plan.handed
        self._results = [self._shown(handed[value], written) for value in flow.results]
        self._truths = {value: self._shown(handed[value], written) for value in written.plan.asked}
        self._take_sections(written)

    def _take_arguments(self, arguments: Sequence[Value], places: dict[Value, int], used: set[Value]) -> None:
        """Small arguments are copied into memory of ours, of large ones C is given the address."""
        self._copied: list[tuple[int, NDArray[Any]]] = []
        self._addressed: list[tuple[int, int]] = []
        for position, value in enumerate(arguments):
            if value not in used:
                continue
            if value.sample.nbytes <= _SMALL:
                array = _aligned(value.sample.nbytes).view(value.dtype).reshape(value.shape)
                self._given[places[value]] = address(array)
                self._copied.append((position, array))
            else:
                self._addressed.append((position, places[value]))

    def _take_feeds(self, feeds: Sequence[Value], places: dict[Value, int]) -> None:
        self._fed = []
        for value in feeds:
            feed, place = value.origin, places.get(value, 0)
            if feed.array is not None and place:
                self._given[place] = address(feed.array)
                self._alive.append(feed.array)
            self._fed.append((feed.refresh, 0 if feed.array is not None else place))

    def _take_constants(self, places: dict[Value, int]) -> None:
        for value, place in places.items():
            if not is_variable(value) and not isinstance(value.origin, Feed) and value not in self.flow.arguments:
                array = np.ascontiguousarray(value.sample)
                self._alive.append(array)
                self._given[place] = address(array)

    def _take_sections(self, written: Source) -> None:
        """The functions, each with its conditions and with what it updates."""
        table = ctypes.c_void_p(ctypes.addressof(self._given))
        self._sections = []
        for number, conditions in enumerate(written.sections):
            function = getattr(self._library, f"commit_{number}" if number else "compute")
            function.restype, function.argtypes = None, None
            inside = number > 0 or len(written.sections) == 1
            stores = [store for store in self.flow.stores if inside and store.conditions == conditions]
            variables = [store.variable for store in stores]
            update = _Update(variables, stores[-1].writer) if stores else None
            self._sections.append((conditions, update, function, table))

    def _shown(self, value: Value, written: Source) -> NDArray[Any]:
        start = written.memory.starts[value]
        return self._block[start : start + value.sample.nbytes].view(value.dtype).reshape(value.shape)

    def _point_to_variables(self) -> None:
        self._moves = Variable.moves
        places = []
        for place, variable in self._variables:
            self._given[place] = address(variable.value)
            places += [address(variable.value), address(variable.value) + variable.value.nbytes]
        self._lowest, self._highest = min(places, default=0), max(places, default=0)

    def run(self, arrays: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """The results for these arguments; then the variables are updated.

        Raises:
            Exception: what a check gives; no variable has been written then.
        """
        if self._moves != Variable.moves:
            self._point_to_variables()
        for position, memory in self._copied:
            memory[...] = arrays[position]
        alive = [self._point_to(arrays[position], place) for position, place in self._addressed]
        for refresh, place in self._fed:
            fed = refresh()
            if place:
                alive.append(self._point_to(fed, place))
        _, update, compute, table = self._sections[0]
        if update is not None:
            update.announce()
        compute(table)
        if self._truths:
            self._commit()
        results = [result.copy() for result in self._results]
        for action, conditions in self.flow.actions:
            if all(self._truths[condition].all() for condition in conditions):
                action()
        return results

    def _commit(self) -> None:
        truths = self._truths
        for good, explain in self.flow.checks:
            if not truths[good].all():
                raise explain()
        for conditions, update, commit, table in self._sections[1:]:
            if all(truths[condition].all() for condition in conditions):
                if update is not None:
                    update.announce()
                commit(table)

    def _point_to(self, array: NDArray[Any], place: int) -> NDArray[Any]:
        """Let C read an array where it lies, row by row, unless that may be among the variables, which are written."""
        start = array.ctypes.data
        if not array.flags.c_contiguous or (start < self._highest and start + array.nbytes > self._lowest):
            array = array.copy()
            start = array.ctypes.data
        self._given[place] = start
        return array


class _Update:
    """What is said to those who remember the variables that are about to be written."""

    def __init__(self, variables: Sequence[Variable], writer: str) -> None:
        self.variables, self.writer = variables, writer
        self._versions = [variable.version for variable in variables]

    def announce(self) -> None:
        """As `written` does, in a third of the time where no journal is kept."""
        if current().journal is not None:
            announced(self.variables, self.writer)
            return
        serial, writer = next_serial(), self.writer
        for version in self._versions:
            version.updated = serial
            version.writer = writer


def is_variable(value: Value) -> bool:
    """Whether it is a variable as it was before the step."""
    return isinstance(value.origin, Variable)


def _aligned(nbytes: int) -> NDArray[Any]:
    memory = np.empty(nbytes + _LINE, np.uint8)
    start = -address(memory) % _LINE
    return memory[start : start + nbytes]


def address(array: NDArray[Any]) -> int:
    """Where its first element lies."""
    return array.ctypes.data
