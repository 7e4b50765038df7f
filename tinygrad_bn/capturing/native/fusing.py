"""Fusing: which steps are computed together, in one loop, and which values ever reach memory.

An elementwise value is computed where it is first asked for, in a loop over its elements, and stays a local variable of
that loop. It is kept in memory only if it is wanted elsewhere, and too dear to be computed again.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from tinygrad_bn.capturing.flow import Flow, Step, Store, Value
from tinygrad_bn.capturing.native.accumulating import accumulations
from tinygrad_bn.capturing.native.dialect import PRODUCTS, Formula, Inexpressible, formula, reduction, uniform
from tinygrad_bn.capturing.native.groups import LARGEST, Group, Joining, Key, Nest, Product, Shape
from tinygrad_bn.capturing.native.places import Place, in_elements, packed, seen, squeezed
from tinygrad_bn.variables import Variable

_CHEAP = 4  # what may be computed again rather than kept, in additions


class Plan:
    """All groups of a flow, in order.

    Attributes:
        kept: the values in memory of their own that steps make.
        places: where values lie.
        sections: the conditions of each section; those of the first, and of all unconditional updates, are ().
        readers: for each root the groups that read it.
        handed: for each value that Python is to see, the one with the same numbers that stays in memory.
    """

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.groups: list[Group] = []
        self.kept: dict[Value, None] = {}
        self.places: dict[Value, Place] = {}
        self.readers: dict[Value, list[Group]] = {}
        self.home: dict[Value, Group] = {}
        self.sections: list[tuple[Value, ...]] = [()]
        self.handed: dict[Value, Value] = {}
        self._nests: dict[tuple[int, Shape], list[Nest]] = {}
        self._formulas: dict[Value, Formula | None] = {}
        self._uniform: dict[Value, Any] = {}
        self._sizes: dict[Value, int] = {}
        self._olds = {value.origin: value for value in flow.sources() if isinstance(value.origin, Variable)}
        self.asked = flow.asked()
        self._accumulations = accumulations(flow)
        if self.asked:
            self.sections += dict.fromkeys(store.conditions for store in flow.stores)
        for step in flow.steps:
            self._take(step)
        for value in (*flow.results, *self.asked):
            self._hand_out(value)
        for store in flow.stores:
            self._store(store)
        self.groups.sort()

    def uniform(self, value: Any) -> Any:
        """The one number that a constant is made of, or None."""
        if not isinstance(value, Value):
            return value
        if value not in self._uniform:
            self._uniform[value] = uniform(value)
        return self._uniform[value]

    def formula(self, value: Value) -> Formula | None:
        """How the value is computed element by element; None for all that comes from memory."""
        if value not in self._formulas:
            self._formulas[value] = formula(value.origin) if isinstance(value.origin, Step) else None
        return self._formulas[value]

    def place(self, value: Value) -> Place:
        """Where the value lies, in memory from now on."""
        if value not in self.places:
            self.places[value] = self._found(value)
        return self.places[value]

    def _found(self, value: Value) -> Place:
        origin = value.origin
        if not isinstance(origin, Step):
            fixed = isinstance(origin, Variable) or getattr(origin, "array", None) is not None
            return Place(value, value.shape, in_elements(value.sample) if fixed else packed(value.shape))
        if self.formula(value) is not None:
            if value not in self.home:
                self._rooted([value], squeezed(value.shape), 0)
            return self.keep(value)
        shown = origin.view if origin.view is not None else origin.args[0]
        if not isinstance(shown, Value) or (origin.view is None and origin.function not in _REARRANGING):
            raise Inexpressible(f"{getattr(origin.function, '__name__', origin.function)}")
        place = seen(origin, shown, self.place(shown)) or seen(origin, shown, self.place(self._copy(shown)))
        if place is None:
            raise Inexpressible(f"{origin.function.__name__} that copies")
        return place

    def keep(self, value: Value) -> Place:
        """Let the value have memory of its own, row by row."""
        self.kept[value] = None
        self.places[value] = Place(value, value.shape, packed(value.shape))
        return self.places[value]

    def _copy(self, value: Value) -> Value:
        origin = value.origin
        scope, label = (origin.scope, origin.label) if isinstance(origin, Step) else ("", "")
        return Step(np.copy, (value,), {}, value.sample, None, scope, label).result

    def _take(self, step: Step) -> None:
        """Carry out a step, or leave it until somebody asks for its result."""
        result = step.result
        if 0 in result.shape:
            raise Inexpressible("an array without elements")
        gathering = reduction(step)
        if gathering is not None:
            nest = self._rooted([gathering.operand], squeezed(gathering.operand.shape), 0)
            nest.reductions[result] = gathering
            self.home[result] = nest
            self.keep(result)
        elif step.function in PRODUCTS:
            self._multiply(step)
        elif step.function == np.concatenate:
            self._join(step)
        elif (found := self.formula(result)) is not None:
            size = 1 + sum(self._sizes.get(operand, 0) for operand in found.operands if isinstance(operand, Value))
            self._sizes[result] = size if size < LARGEST else 0
            if size >= LARGEST:
                self.place(result)

    def _multiply(self, step: Step) -> None:
        x, y = step.args
        if x.dtype != y.dtype or x.dtype.char not in "fd" or step.options or 0 in (*x.shape, *y.shape):
            raise Inexpressible(f"a product of {x.dtype} {x.shape} and {y.dtype} {y.shape}")
        if step.function != np.matmul and y.sample.ndim > 2 and x.sample.ndim > 1:
            raise Inexpressible("dot of stacks of matrices")
        a, b = self._matrix(x, as_row=True), self._matrix(y, as_row=False)
        accumulation = self._accumulations.get(step.result)
        section = self._section(accumulation.store) if accumulation else 0
        group = Product(self._next(section), step.result, a, b)
        self.groups.append(group)
        self._reads(group, a, b)
        if accumulation is None:
            self.home[step.result] = group
            self.keep(step.result)
            return
        store = accumulation.store
        group.negative, group.alpha, group.beta = True, accumulation.rate, accumulation.momentum
        for number in (group.alpha, group.beta):
            if self.uniform(number) is None:
                self._reads(group, self.place(number))
        group.result = store.value
        group.stores.append(store)
        self.home[store.value] = group
        self.keep(store.value)

    def _matrix(self, value: Value, *, as_row: bool) -> Place:
        """The operand of a product where BLAS can read it: along rows or columns without gaps."""
        place = self.place(value).as_matrix(as_row)
        return place if place.is_of_rows else self.place(self._copy(value)).as_matrix(as_row)

    def _join(self, step: Step) -> None:
        axis = step.options.get("axis", step.args[1] if len(step.args) > 1 else 0)
        if axis is None or any(part.dtype != step.result.dtype for part in step.args[0]):
            raise Inexpressible("concatenate of other dtypes, or flattened")
        parts = [self.place(part) for part in step.args[0]]
        group = Joining(self._next(0), step.result, parts, axis % step.result.sample.ndim)
        self.groups.append(group)
        self._reads(group, *parts)
        self.home[step.result] = group
        self.keep(step.result)

    def _hand_out(self, value: Value) -> None:
        """Let a value end in memory of its own, row by row, which stays until the run is over."""
        made = isinstance(value.origin, Step) and self.place(value).root is value
        self.handed[value] = value if made else self._copy(value)
        self.place(self.handed[value])

    def _section(self, store: Store) -> int:
        return self.sections.index(store.conditions, 1) if self.asked else 0

    def _store(self, store: Store) -> None:
        value = store.value
        if value in self.home and store in self.home[value].stores:
            return
        if self.formula(value) is None:
            value = store.value = self._copy(value)
        old = self._olds.get(store.variable)
        after = [reader.key for reader in self.readers.get(old, ())] if old is not None else []
        nest = self.home.get(value)
        section = self._section(store)
        if not isinstance(nest, Nest) or nest.key[0] != section or nest.key < max(after, default=nest.key):
            nest = self._rooted([value], squeezed(value.shape), section, after, early=True)
        nest.stores.append(store)

    def _next(self, section: int) -> Key:
        return section, len(self.groups), 0

    def _rooted(
        self, tops: list[Value], shape: Shape, section: int, after: Iterable[Key] = (), early: bool = False
    ) -> Nest:
        """The nest that computes the tops: the first over this shape in which all they need is there."""
        lowest, strictly = self._bounds(tops, shape, section)
        lowest = max([lowest, *after])
        nests = self._nests.setdefault((section, shape), [])
        for nest in nests:
            near = not early or nest.key[:2] == max(lowest, strictly)[:2]  # what has just been read is at hand
            if nest.key >= lowest and nest.key > strictly and near and nest.has_room:
                break
        else:
            last = max(lowest, strictly)
            key = (section, last[1], len(self.groups)) if early and last[0] == section else self._next(section)
            nest = Nest(key, shape)
            insort(nests, nest)
            self.groups.append(nest)
        self._evaluate(nest, tops)
        return nest

    def _bounds(self, tops: list[Value], shape: Shape, section: int) -> tuple[Key, Key]:
        """Keys: the nest must have at least the first, and more than the second, for its operands to be there."""
        lowest = strictly = (0, -1, 0)
        checked: set[Value] = set()
        stack = list(tops)
        while stack:
            value = stack.pop()
            if value in checked or self.uniform(value) is not None:
                continue
            checked.add(value)
            if self.formula(value) is not None and squeezed(value.shape) == shape:
                home = self.home.get(value)
                if home is None or home.key[0] not in (0, section):
                    stack.extend(self._operands(value))
                else:
                    lowest = max(lowest, home.key)
                continue
            maker = self.home.get(self.place(value).root)
            if maker is not None:
                strictly = max(strictly, maker.key)
        return lowest, strictly

    def _operands(self, value: Value) -> Iterator[Value]:
        found = self.formula(value)
        if found is not None:
            yield from (operand for operand in found.operands if isinstance(operand, Value))

    def _evaluate(self, nest: Nest, tops: Iterable[Value]) -> None:
        stack = [(value, False) for value in tops]
        while stack:
            value, ready = stack.pop()
            if value in nest.values or self.uniform(value) is not None:
                continue
            if ready:
                nest.values[value] = None
                self.home.setdefault(value, nest)
            elif self._computes(nest, value):
                stack.append((value, True))
                stack.extend((operand, False) for operand in self._operands(value))
            else:
                self._reads(nest, self.place(value))

    def _computes(self, nest: Nest, value: Value) -> bool:
        """Whether the nest computes a value itself instead of reading it."""
        if self.formula(value) is None or squeezed(value.shape) != nest.shape:
            return False
        home = self.home.get(value)
        if home is None or home.key[0] not in (0, nest.key[0]):
            return True
        return value not in self.places and self._is_cheap(value, nest)

    def _is_cheap(self, value: Value, nest: Nest) -> bool:
        """Whether it can be computed again from at most one array that the nest does not read anyway."""
        cost, arrays, stack = 0, set(), [value]
        while stack and cost <= _CHEAP:
            found = self.formula(asked := stack.pop())
            if self.uniform(asked) is not None or asked in nest.values:
                continue
            if found is not None and asked not in self.places and squeezed(asked.shape) == nest.shape:
                cost += found.cost
                stack.extend(self._operands(asked))
            elif squeezed(asked.shape) == nest.shape and self.place(asked).root not in nest.reads:
                arrays.add(asked)
        return cost <= _CHEAP and len(arrays) <= 1

    def _reads(self, group: Group, *places: Place) -> None:
        for place in places:
            same = isinstance(group, Nest) and place.whole and squeezed(place.shape) == group.shape
            group.reads[place.root] = group.reads.get(place.root, True) and same
            readers = self.readers.setdefault(place.root, [])
            if group not in readers[-1:]:
                readers.append(group)


_REARRANGING = (
    np.ndarray.reshape,
    np.reshape,
    np.ndarray.ravel,
    np.ravel,
    np.ndarray.flatten,
    np.squeeze,
    np.expand_dims,
    np.broadcast_to,
    np.swapaxes,
    np.moveaxis,
    np.flip,
)
