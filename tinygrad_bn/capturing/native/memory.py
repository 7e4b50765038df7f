"""Memory: where in one block the values that are kept lie, each for as long as somebody reads it."""

from __future__ import annotations

from tinygrad_bn.capturing.flow import Store, Value
from tinygrad_bn.capturing.native.dialect import Inexpressible
from tinygrad_bn.capturing.native.fusing import Plan
from tinygrad_bn.capturing.native.groups import Group, Nest, Product
from tinygrad_bn.capturing.native.places import squeezed
from tinygrad_bn.memory import LINE
from tinygrad_bn.variables import Variable


class Memory:
    """Where everything lies.

    Attributes:
        starts: for each kept value the byte in the block at which it begins.
        written: for each value that is computed in the memory of a variable, its store.
        copied: the stores whose value is copied at the end of its section, since others still read the old one.
        nbytes: the size of the block.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.starts: dict[Value, int] = {}
        self.written: dict[Value, Store] = {}
        self.copied: list[tuple[int, Store]] = []
        self.nbytes = 0
        self._free: list[tuple[int, int]] = []
        self._settle_stores()
        self._settle_block()

    def _settle_stores(self) -> None:
        handed = set(self.plan.handed.values())
        olds = {value.origin: value for value in self.plan.places if isinstance(value.origin, Variable)}
        for group in self.plan.groups:
            for store in list(group.stores):
                old = olds.get(store.variable)
                readers = self.plan.readers.get(old, []) if old is not None else []
                if any(reader.key[0] > group.key[0] for reader in readers):
                    raise Inexpressible("an update that reads what another has written on other conditions")
                if isinstance(group, Product) or self._in_place(group, store, readers, old):
                    if store.value not in handed and self.plan.home[store.value] is group:
                        self.written.setdefault(store.value, store)
                    continue
                group.stores.remove(store)
                self.plan.keep(store.value)
                self.copied.append((group.key[0], store))

    def _in_place(self, group: Group, store: Store, readers: list[Group], old: Value | None) -> bool:
        if not store.variable.value.flags.c_contiguous:
            return False
        return all(reader < group or (reader is group and group.reads[old]) for reader in readers)  # type: ignore[index]

    def _settle_block(self) -> None:
        """First fit, in order; an elementwise result takes over the memory of an operand that is read no more."""
        plan = self.plan
        ends = self._ends()
        dying: dict[Group, list[Value]] = {}
        for value, group in ends.items():
            dying.setdefault(group, []).append(value)
        made: dict[Group, list[Value]] = {}
        for value in plan.kept:
            if value not in self.written:
                made.setdefault(plan.home[value], []).append(value)
        for group in plan.groups:
            leaving = [value for value in dying.get(group, []) if value in self.starts]
            for value in made.get(group, []):
                heir = next((old for old in leaving if self._gives_way(old, value, group)), None)
                if heir is not None:
                    leaving.remove(heir)
                    self.starts[value] = self.starts[heir]
                else:
                    self.starts[value] = self._taken(_bytes(value))
                if value in ends and ends[value] is group:
                    leaving.append(value)
            for value in leaving:
                self._give_back(self.starts[value], _bytes(value))

    def _ends(self) -> dict[Value, Group]:
        """For each value in the block the last group that needs it; none where Python does, or a copy at the end."""
        plan = self.plan
        staying = {*plan.handed.values(), *(store.value for _, store in self.copied)}
        return {
            value: max([plan.home[value], *plan.readers.get(value, ())])
            for value in plan.kept
            if value not in staying and value not in self.written
        }

    def _gives_way(self, old: Value, value: Value, group: Group) -> bool:
        """Whether the value may be written over the old one, element by element."""
        if not isinstance(group, Nest) or value in group.reductions or old not in group.reads:
            return False
        return group.reads[old] and old.dtype == value.dtype and squeezed(old.shape) == squeezed(value.shape)

    def _taken(self, nbytes: int) -> int:
        fitting = [(size, start) for start, size in self._free if size >= nbytes]
        if not fitting:
            self.nbytes += nbytes
            return self.nbytes - nbytes
        size, start = min(fitting)
        self._free.remove((start, size))
        if size > nbytes:
            self._free.append((start + nbytes, size - nbytes))
        return start

    def _give_back(self, start: int, nbytes: int) -> None:
        """Free a stretch, joined with free neighbours."""
        for other, size in list(self._free):
            if other + size == start or start + nbytes == other:
                self._free.remove((other, size))
                start, nbytes = min(start, other), nbytes + size
        self._free.append((start, nbytes))


def _bytes(value: Value) -> int:
    return -(-value.sample.nbytes // LINE) * LINE  # everything begins on a cache line
