"""A flow as a compiled program: what Python does around one call of C."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_bn.capturing.flow import Feed, Flow, Store, Value
from tinygrad_bn.capturing.native import blas
from tinygrad_bn.capturing.native.building import compiled
from tinygrad_bn.capturing.native.calling import Calling, entry
from tinygrad_bn.capturing.native.emitting import Source
from tinygrad_bn.capturing.native.unrolling import Text
from tinygrad_bn.memory import aligned
from tinygrad_bn.variables import Variable

if TYPE_CHECKING:
    from numpy.typing import NDArray


class NativeProgram:
    """A flow that can be run again and again.

    Attributes:
        run: gives the results for these arguments; then the variables are updated and the counters grow, by one call of
            C, so that an interrupt finds all or nothing. It raises what a check gives, and no variable has been written
            then.
        source: the C text.
        nbytes: the memory that its results need, in bytes.

    Raises:
        Inexpressible: the flow holds a call that the dialect does not know.
        NativeError: there is no C compiler that compiles it.
    """

    def __init__(self, flow: Flow) -> None:
        written = Source(flow)
        places = dict(zip(written.given, range(1, 1 + len(written.given)), strict=True))
        fresh = [value for value in flow.feeds if value.origin.array is None]
        brought = [value for value in (*flow.arguments, *fresh) if value in written.used]
        sizes = [(value.sample.nbytes, places[value]) for value in brought]
        self.flow, self.source = flow, written.text
        library = compiled(self.source + entry(sizes))
        blas.install(library, blas.found())  # on NumPy's own threads: others beside them would fight for the cores
        self._written, self._block = written, aligned(max(written.memory.nbytes, 1))
        self.nbytes = self._block.nbytes
        self._calling = Calling(library, places, sizes, self._block)
        for value, place in places.items():
            if not isinstance(value.origin, Variable) and value not in brought:
                fed = value.origin.array if isinstance(value.origin, Feed) else None
                self._calling.give(place, np.ascontiguousarray(value.sample) if fed is None else fed)
        self.run = self._running(brought)

    def _running(self, brought: Sequence[Value]) -> Callable[[Sequence[NDArray[Any]]], list[NDArray[Any]]]:
        """`run` as a text without loops or questions, which takes a quarter of the time of one that has them."""
        text = Text()
        calling, written, flow = self._calling, self._written, self.flow
        calls, arrays = text.named(calling), {}
        text.add(f"if {text.named(Variable)}.moves != {calls}.moves:", f"    {calls}.find_variables()")
        for number, value in enumerate(flow.feeds):
            refreshed = f"{text.named(value.origin.refresh)}()"
            text.add(f"x{number} = {refreshed}" if value in brought else refreshed)
            arrays[value] = f"x{number}"
        arrays |= {value: f"arrays[{position}]" for position, value in enumerate(flow.arguments)}
        given = [arrays[value] for value in brought]
        if not written.commits:
            self._announce(text, {})
        text.add(f"if not {text.named(calling.run)}({', '.join([text.named(calling.call), *given])}):")
        text.add(f"    {calls}.run_with_copies({', '.join(given)})")
        truths = {value: text.named(self._shown(value).reshape(())) for value in written.plan.asked}
        for good, explain in flow.checks:
            text.add(f"if not {truths[good]}:", f"    raise {text.named(explain)}()")
        if written.commits:
            self._announce(text, truths)
            text.add(f"{text.named(calling.commit())}({text.named(calling.table)})")
        text.add(f"results = [{', '.join(f'{text.named(self._shown(value))}.copy()' for value in flow.results)}]")
        return text.function("arrays", "results")

    def _announce(self, text: Text, truths: Mapping[Value, str]) -> None:
        """All who have to know are told which updates come next: those whose conditions hold."""
        updates: dict[tuple[Value, ...], tuple[list[Store], list[NDArray[Any]]]] = {}
        for store in self.flow.stores:
            updates.setdefault(store.conditions, ([], []))[0].append(store)
        for counter, conditions in self.flow.counters:
            updates.setdefault(conditions, ([], []))[1].append(counter)
        for conditions, (stores, counters) in updates.items():
            with text.where(truths[condition] for condition in conditions):
                text.announce(stores, counters)

    def _shown(self, value: Value) -> NDArray[Any]:
        """What Python is to see, where C leaves it."""
        kept = self._written.plan.handed[value]
        start = self._written.memory.starts[kept]
        return self._block[start : start + kept.sample.nbytes].view(kept.dtype).reshape(kept.shape)
