"""Replaying: a flow as Python source, one NumPy call a line, every result in memory that is there for good.

The bits are those of eager execution, since the calls are the same, on arrays of the same layout.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from operator import call
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_bn.capturing.dialect import form
from tinygrad_bn.capturing.flow import Flow, Step, Store, Value
from tinygrad_bn.capturing.joining import Together, gathered, joined
from tinygrad_bn.capturing.placing import Places
from tinygrad_bn.capturing.sections import Sections
from tinygrad_bn.mode import counting
from tinygrad_bn.ops import constants
from tinygrad_bn.variables import Variable
from tinygrad_bn.variables import written as announced

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Replay:
    """A flow that can be run again and again: `run(arrays)` gives the results.

    Attributes:
        source: the text of the first section.
    """

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self._moves = -1
        self._lived: list[tuple[Variable, NDArray[Any]]] = []
        self._planned()

    def _planned(self) -> None:
        """Plan for where the variables are now, unless that is where they were."""
        moves = Variable.moves
        if self._moves < 0 or any(variable.value is not value for variable, value in self._lived):
            flow = joined(self.flow)
            sections = Sections(flow)
            self.places = Places(flow, sections)
            writing = _Writing(flow, self.places)
            self.source, self._compute, self._written = writing.compute(sections.compute)
            self._commits = [
                (conditions, *writing.commit(steps, stores), _by_writer(stores))
                for conditions, (steps, stores) in sections.commit.items()
            ]
            lived = [value.origin for value in self.flow.sources() if isinstance(value.origin, Variable)]
            lived += [store.variable for store in self.flow.stores]
            self._lived = [(variable, variable.value) for variable in lived]
        self._moves = moves  # last: an interrupted plan is none

    def run(self, arrays: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """The results for these arguments; then the variables are updated, and the counters grow.

        Raises:
            IndexError, ValueError: NumPy cannot do a step with these numbers; the message says which.
            Exception: what a check gives. No variable has been written then.
        """
        if self._moves != Variable.moves:
            self._planned()
        flow = self.flow
        feeds = [value.origin.refresh() for value in flow.feeds]
        try:
            outcome: list[NDArray[Any]] = self._compute(*arrays, *feeds)
        except (IndexError, ValueError) as error:
            raise self._explained(error) from None
        results, truths = outcome[: len(flow.results)], outcome[len(flow.results) :]
        known = dict(zip(flow.asked(), truths, strict=True)) if truths else {}
        for good, explain in flow.checks:
            if not known[good].all():
                raise explain()
        commits = [part for part in self._commits if all(known[condition].all() for condition in part[0])]
        counters = [
            counter for counter, conditions in flow.counters if all(known[condition].all() for condition in conditions)
        ]
        for *_, writers in commits:
            for writer, variables in writers.items():
                announced(variables, writer)
        for counter in counters:
            counting(counter)
        advances = [partial(np.add, counter, constants.number(1, counter.dtype), counter) for counter in counters]
        if len(commits) == 1:
            _, steps, copies, _ = commits[0]
            row: list[Callable[[], object]] = [*steps, *copies, *advances]
        else:  # all groups compute before one of them copies: another may read the old numbers
            row = [step for part in commits for step in part[1]] + [copy for part in commits for copy in part[2]]
            row += advances
        with np.errstate(all="ignore"):
            deque(map(call, row), maxlen=0)  # in C from end to end: no signal is handled in between
        return results

    def _explained(self, error: Exception) -> Exception:
        """What NumPy says of a line, with the operation and the user's line that it comes from."""
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code is not self._compute.__code__:
            trace = trace.tb_next
        if trace is None:
            return error
        step = self._written[trace.tb_lineno - 2]  # the first line is that with the arguments
        return type(error)(f"{step.label or step.called}: {error}{f', {step.place}' if step.place else ''}")

    def place(self, value: Value) -> str:
        """Where a value lives: a numbered block of memory, a variable's own, or one of its own at each run."""
        array = self.places.arrays.get(value)
        if array is None:
            return "new" if value.origin.view is None else "view"
        for number, block in enumerate(self.places.blocks):
            if np.may_share_memory(block, array):
                return f"block {number}"
        return "variable"

    @property
    def nbytes(self) -> int:
        """The memory that its results need, in bytes."""
        return sum(block.nbytes for block in self.places.blocks)


def _by_writer(stores: Sequence[Store]) -> dict[str, list[Variable]]:
    """Who updates which variables."""
    writers: dict[str, list[Variable]] = {}
    for store in stores:
        one: Any = store.variable
        writers.setdefault(store.writer, []).extend(one.variables if isinstance(one, Together) else [one])
    return writers


class _Writing:
    """Writes steps down, with names for what they use."""

    def __init__(self, flow: Flow, places: Places) -> None:
        self.flow, self.places = flow, places
        self.names: dict[Value, str] = {}
        self.globals: dict[str, Any] = {"__builtins__": {}, "copyto": np.copyto, "asarray": np.asarray}
        self._known: dict[Any, str] = {}
        for position, value in enumerate(flow.arguments):
            self.names[value] = f"x{position}"
        for position, value in enumerate(flow.feeds):
            if value not in places.arrays:
                self.names[value] = f"d{position}"

    def compute(self, steps: Sequence[Step]) -> tuple[str, Callable[..., Any], list[Step]]:
        """Source and function of the first section, from arguments and feeds to results and truths; a step a line."""
        lines = {step: line for step in steps if (line := self._line(step))}
        taken = [f"x{position}" for position in range(len(self.flow.arguments))]
        taken += [f"d{position}" for position in range(len(self.flow.feeds))]
        given = [self._handed(value) for value in self.flow.results]
        given += [self.said(value) for value in self.flow.asked()]
        last = f"return [{', '.join(given)}]"
        source = "\n    ".join([f"def compute({', '.join(taken)}):", *lines.values(), last])
        exec(compile(source, "<captured step>", "exec"), self.globals)
        function: Callable[..., Any] = self.globals["compute"]
        return source, function, list(lines)

    def _handed(self, value: Value) -> str:
        """A result as the caller gets it: in memory that no later run writes to."""
        return f"{self.said(value)}.copy()"

    def _line(self, step: Step) -> str:
        result = step.result
        if step.function is gathered:
            return "; ".join(self._brought(step))
        if result in self.places.arrays:
            if step.view is not None:
                return ""
            said = [self.said(arg) for arg in step.args]
            if (found := form(step)) is not None:
                function, text = found
                return text.format(*said, out=self.said(result), f=self.named(function, "f"))
            return f"copyto({self.said(result)}, {self._called(step)})"
        self.names[result] = f"t{len(self.names)}"
        called = self._called(step)
        return f"{self.names[result]} = {called if result.shape else f'asarray({called})'}"

    def _brought(self, step: Step) -> Iterator[str]:
        """Copies of the parts that were not made in their places."""
        flat, start = self.places.arrays[step.result], 0
        for part in step.inputs:
            place = flat[start : start + part.sample.size].reshape(part.shape)
            start += part.sample.size
            made = self.places.arrays.get(part)
            if made is None or made.__array_interface__ != place.__array_interface__:
                yield f"copyto({self.named(place, 'b')}, {self.said(part)})"

    def _called(self, step: Step) -> str:
        said = [self.said(arg) for arg in step.args]
        said += [f"{name}={self.said(option)}" for name, option in step.options.items()]
        return f"{self.named(step.function, 'f')}({', '.join(said)})"

    def said(self, arg: Any) -> str:
        """The text of an argument."""
        if isinstance(arg, Value):
            if arg not in self.names:
                self.names[arg] = self.named(self.places.arrays[arg], "b")
            return self.names[arg]
        if isinstance(arg, (list, tuple)):
            said = "".join(f"{self.said(part)}, " for part in arg)
            return f"[{said}]" if isinstance(arg, list) else f"({said})"
        if arg is None or isinstance(arg, (bool, int, str)):
            return repr(arg)
        return self.named(arg, "k")

    def named(self, thing: Any, letter: str) -> str:
        """A global name for a function, an array or a setting."""
        key = thing if callable(thing) else id(thing)
        if key not in self._known:
            name = f"{letter}{len(self._known)}"
            self._known[key] = name
            self.globals[name] = thing
        return self._known[key]

    def commit(
        self, steps: Sequence[Step], stores: Sequence[Store]
    ) -> tuple[list[Callable[[], Any]], list[Callable[[], Any]]]:
        """The calls of the second section: those that compute, and those that copy into variables."""
        arrays = self.places.arrays
        computing: list[Callable[[], Any]] = []
        for step in steps:
            args = [arrays[arg] if isinstance(arg, Value) else arg for arg in step.args]
            computing.append(partial(step.function, *args, out=arrays[step.result]))
        copying: list[Callable[[], Any]] = [
            partial(store.variable.value.__setitem__, ..., arrays[store.value])  # np.copyto would let Python in
            for store in stores
            if arrays[store.value] is not store.variable.value
        ]
        return computing, copying
