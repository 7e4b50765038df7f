"""Places: where in memory the elements of a value lie, and what a view makes of that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_bn.capturing.flow import Step, Value
from tinygrad_bn.capturing.native.wording import VARIABLES, Inexpressible
from tinygrad_bn.memory import address

if TYPE_CHECKING:
    from numpy.typing import NDArray

Strides = tuple[int | None, ...]
"""How far the next element lies along each axis; None along an axis that is gathered."""


class Place:
    """Element (i, j, ...) lies at `offset + i * strides[0] + j * strides[1] + ...` in the memory of `root`.

    All is counted in elements. The root is a value that has memory of its own.
    """

    __slots__ = ("offset", "root", "shape", "strides")

    def __init__(self, root: Value, shape: Sequence[int], strides: Sequence[int], offset: int = 0) -> None:
        self.root, self.shape, self.strides, self.offset = root, tuple(shape), tuple(strides), offset

    def along(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The strides when it is broadcast to `shape`."""
        extra = len(shape) - len(self.shape)
        return (0,) * extra + tuple(
            0 if length == 1 else stride for length, stride in zip(self.shape, self.strides, strict=True)
        )

    @property
    def whole(self) -> bool:
        """Whether it is all of the root's memory, row by row."""
        return not self.offset and self.strides_matter() == packed(self.shape) and self.size == self.root.sample.size

    def strides_matter(self) -> tuple[int, ...]:
        """The strides, but those of a packed array along axes of length 1, where they do not matter."""
        plain = packed(self.shape)
        return tuple(p if n == 1 else s for n, s, p in zip(self.shape, self.strides, plain, strict=True))

    def as_matrix(self, as_row: bool) -> Place:
        """The same elements, a single row of them as a matrix of one row or of one column."""
        if len(self.shape) > 1:
            return self
        shape, strides = (1, *self.shape), (self.shape[0] * self.strides[0], *self.strides)
        return Place(self.root, *((shape, strides) if as_row else (shape[::-1], (*self.strides, 1))), self.offset)

    @property
    def is_of_rows(self) -> bool:
        """Whether it is of matrices whose rows, or whose columns, lie without gaps and apart from each other."""
        lengths, strides = self.shape[-2:], self.strides_matter()[-2:]
        return 1 in strides and all(strides) and max(strides) >= lengths[strides.index(max(strides)) - 1]

    @property
    def size(self) -> int:
        """The number of elements."""
        return int(np.prod(self.shape, dtype=int))


def packed(shape: Sequence[int]) -> tuple[int, ...]:
    """The strides of an array that lies row by row, in elements."""
    strides, step = [], 1
    for length in reversed(shape):
        strides.append(step)
        step *= length
    return tuple(reversed(strides))


def squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape without axes of length 1."""
    return tuple(length for length in shape if length != 1)


def in_elements(array: NDArray[Any]) -> tuple[int, ...]:
    """The strides of an array in elements."""
    return tuple(stride // array.itemsize for stride in array.strides)


def merged(shape: tuple[int, ...], accesses: Sequence[Strides]) -> list[tuple[int, int]]:
    """The loops: their lengths, and the axes whose strides hold; what lies in one row is one loop."""
    loops: list[tuple[int, int]] = []
    for axis, length in enumerate(shape):
        if loops and all(_adjoin(strides[axis - 1], strides[axis], length) for strides in accesses):
            loops[-1] = (loops[-1][0] * length, axis)
        else:
            loops.append((length, axis))
    if len(loops) > len(VARIABLES):
        raise Inexpressible(f"{len(loops)} loops within each other")
    return loops


def _adjoin(outer: int | None, inner: int | None, length: int) -> bool:
    return outer is inner is None or (outer is not None and inner is not None and outer == inner * length)


def seen(step: Step, shown: Value, place: Place) -> Place | None:
    """Where the result of a rearranging step lies that shows the memory of `shown`; None if it would be a copy.

    NumPy itself says so: the step is run on an array of that layout, whose numbers nobody ever reads.
    """
    spans = [(length - 1) * stride for length, stride in zip(place.shape, place.strides, strict=True)]
    low, high = sum(min(0, span) for span in spans), sum(max(0, span) for span in spans)
    block = np.empty(high - low + 1, step.result.dtype)
    size = block.itemsize
    strides = [stride * size for stride in place.strides]
    probe: NDArray[Any] = np.ndarray(place.shape, block.dtype, block, -low * size, strides)
    try:
        result = step.function(*[probe if arg is shown else arg for arg in step.args], **step.options)
    except (TypeError, IndexError, ValueError) as error:  # there are values among its other arguments
        raise Inexpressible(f"{step.called} with arrays") from error
    start = address(result) - address(block)
    if not 0 <= start < block.nbytes or result.dtype != block.dtype or not np.may_share_memory(result, block):
        return None
    return Place(place.root, result.shape, in_elements(result), place.offset + start // size + low)
