"""Groups: the steps that are carried out together, by one loop nest or one product of matrices."""

from __future__ import annotations

from tinygrad_bn.capturing.flow import Store, Value
from tinygrad_bn.capturing.native.dialect import Reduction
from tinygrad_bn.capturing.native.places import Place

Shape = tuple[int, ...]
Key = tuple[int, int, int]

LARGEST = 64  # values in a loop: beyond, compilers take long and registers run out
_POINTERS = 16  # arrays that a loop goes through


class Group:
    """Steps that are carried out together.

    Attributes:
        key: its place in the order: section, position, and order among those inserted there.
        reads: the roots of the memory that it reads, and whether it reads only the element that it is about to write.
        stores: what it writes into variables, element by element.
    """

    __slots__ = ("key", "reads", "stores")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.reads: dict[Value, bool] = {}
        self.stores: list[Store] = []

    def __lt__(self, other: Group) -> bool:
        return self.key < other.key


class Nest(Group):
    """A loop nest over `shape`, without axes of length 1, that computes `values` and gathers `reductions`."""

    __slots__ = ("reductions", "shape", "values")

    def __init__(self, key: Key, shape: Shape) -> None:
        super().__init__(key)
        self.shape = shape
        self.values: dict[Value, None] = {}
        self.reductions: dict[Value, Reduction] = {}

    @property
    def has_room(self) -> bool:
        """Whether it is small enough for more to be computed in it."""
        return len(self.values) < LARGEST and len(self.reads) + len(self.stores) < _POINTERS


class Product(Group):
    """A product of matrices, result = alpha * a @ b + beta * what was there."""

    __slots__ = ("a", "alpha", "b", "beta", "negative", "result")

    def __init__(self, key: Key, result: Value, a: Place, b: Place) -> None:
        super().__init__(key)
        self.result, self.a, self.b = result, a, b
        self.alpha: Value | None = None
        self.beta: Value | None = None
        self.negative = False


class Joining(Group):
    """Arrays that are copied next to each other along `axis` of the result."""

    __slots__ = ("axis", "parts", "result")

    def __init__(self, key: Key, result: Value, parts: list[Place], axis: int) -> None:
        super().__init__(key)
        self.result, self.parts, self.axis = result, parts, axis
