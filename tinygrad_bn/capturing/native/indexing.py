"""Indexing by arrays, and its adjoint, in calls that the dialect knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_bn.capturing.flow import Argument, Constant, Step, Value
from tinygrad_bn.capturing.native.dialect import Gather, Inexpressible
from tinygrad_bn.capturing.native.places import in_elements
from tinygrad_bn.capturing.native.rearranging import bordered
from tinygrad_bn.ops.shape import ARRAY

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tinygrad_bn.capturing.native.expanding import Writer

_MOST = 2**20
"""Products that adding up at an index may take: it looks at every place for every value."""


def taking(step: Step) -> Callable[[Writer], Value] | None:
    """How x[index] is said; None if it shows memory of x as it stands."""
    x, index = step.args
    index = index if isinstance(index, tuple) else (index,)
    if any(isinstance(part, (Value, list)) for part in index):
        arrays = [part for part in index if isinstance(part, Value)]
        return lambda write: _taken(write, x, [ARRAY if isinstance(part, Value) else part for part in index], arrays)
    if step.view is None and not any(part is ... for part in index):
        return lambda write: write(np.ndarray.__getitem__, x, (*index, ...))  # a view, even if of one number
    return None


class _Parts:
    """An index in two steps: slices, numbers and new axes first, which show memory of x, then arrays.

    Attributes:
        plain: the first index, with a whole slice for every array.
        axes: those of the result of the first that the arrays go along.
        at: where the axes of the arrays stand in the result.
        arrays: of integers.
    """

    def __init__(self, write: Writer, index: Sequence[Any], arrays: Sequence[Value], shape: tuple[int, ...]) -> None:
        if any(isinstance(part, list) for part in index) or any(array.dtype.kind not in "iu" for array in arrays):
            raise Inexpressible("an index that is a mask")
        places = [place for place, part in enumerate(index) if _is_number(part)]
        adjacent = places == list(range(places[0], places[-1] + 1))  # an ellipsis between them parts them, even of none
        index = _spread_out(index, len(shape))
        given = iter(arrays)
        self.arrays = [
            next(given) if isinstance(part, str) else write.constant(np.array(part))
            for part in index
            if _is_number(part)
        ]
        self.plain = tuple(slice(None) if _is_number(part) else part for part in index)
        self.axes = [place for place, part in enumerate(index) if _is_number(part)]
        self.at = self.axes[0] if adjacent else 0
        self.shape = np.broadcast_shapes(*(array.shape for array in self.arrays))


def _is_number(part: Any) -> bool:
    """Whether a part of an index is an integer, or stands for an array of them."""
    return isinstance(part, (str, int, np.integer))


def _spread_out(index: Sequence[Any], dimensions: int) -> list[Any]:
    """The index with whole slices for an ellipsis, and for the axes that it leaves out."""
    used = sum(part is not None and part is not ... for part in index)
    dots = next((place for place, part in enumerate(index) if part is ...), len(index))
    return [*index[:dots], *[slice(None)] * (dimensions - used), *index[dots + 1 :]]


def _taken(write: Writer, x: Value, index: Sequence[Any], arrays: Sequence[Value]) -> Value:
    """Element by element, read from the address that the arrays give."""
    parts = _Parts(write, index, arrays, x.shape)
    if _is_scattered(x):
        x = write(np.copy, x)
    first = write.shown(partial(_first, parts=parts), x)
    numbers = np.arange(x.sample.size).reshape(x.shape)
    steps = in_elements(numbers[(*parts.plain, ...)])
    lengths = numbers[(*parts.plain, ...)].shape
    behind = write.step.result.sample.ndim - parts.at - len(parts.shape)
    places = []
    for axis, array in zip(parts.axes, parts.arrays, strict=True):
        inside = _inside(write, array, lengths[axis])
        places.append(write(np.ndarray.reshape, inside, (*inside.shape, *(1,) * behind)))
    gather = Gather([steps[axis] for axis in parts.axes])
    return write.made(gather, (first, *places), write.step.result.sample)


def _is_scattered(x: Value) -> bool:
    """Whether x may lie in memory otherwise than row by row."""
    if isinstance(x.origin, Step):
        return x.origin.view is not None or not x.sample.flags.c_contiguous
    return not isinstance(x.origin, (Constant, Argument)) and not x.sample.flags.c_contiguous


def _first(x: NDArray[Any], parts: _Parts) -> NDArray[Any]:
    """The elements at 0 along the arrays' axes, in whose place there are new ones of length 1."""
    x = x[(*parts.plain, ...)]
    index = tuple(0 if axis in parts.axes else slice(None) for axis in range(x.ndim))
    return np.expand_dims(x[(*index, ...)], tuple(range(parts.at, parts.at + len(parts.shape))))


def _inside(write: Writer, array: Value, length: int) -> Value:
    """The index counted from the front, and kept within the axis even where it is about to be refused."""

    def explain() -> Exception:
        operation, place = write.step.label or "an index", write.step.place
        return IndexError(f"{operation} expects indices from {-length} to {length - 1}{f', {place}' if place else ''}")

    array = write(np.ndarray.astype, array, np.dtype(np.int64))
    if not isinstance(array.origin, Constant):
        good = write(np.logical_and, write(np.greater_equal, array, -length), write(np.less, array, length))
        write.expect(write(np.logical_and.reduce, good, axis=None), explain, (array, length))
    array = write(np.where, write(np.less, array, 0), write(np.add, array, length), array)
    return write(np.minimum, write(np.maximum, array, 0), length - 1)


def put_back(write: Writer, values: Value, *arrays: Value, index: tuple[Any, ...], shape: tuple[int, ...]) -> Value:
    """The adjoint of taking: zeros, but for the values where they were taken."""
    if not arrays:
        return _laid_out(write, values, index, shape)
    parts = _Parts(write, index, arrays, shape)
    within = np.empty(shape, bool)[parts.plain].shape
    whole = _added_up(write, values, parts, within)
    return _laid_out(write, whole, parts.plain, shape)


def _added_up(write: Writer, values: Value, parts: _Parts, within: tuple[int, ...]) -> Value:
    """For every place the sum of the values whose index it is."""
    count, dimensions = int(np.prod(parts.shape, dtype=int)), len(parts.shape)
    if int(np.prod(within, dtype=int)) * count > _MOST:
        raise Inexpressible(f"adding {count} values up in an array of shape {within}, which takes NumPy less time")
    others = [axis for axis in range(values.sample.ndim) if not parts.at <= axis < parts.at + dimensions]
    behind = parts.axes[-1] + 1  # where the values stand side by side: what is behind lies in one row
    first, last = others[: behind - len(parts.axes)], others[behind - len(parts.axes) :]
    lined = write(np.ndarray.transpose, values, (*first, *range(parts.at, parts.at + dimensions), *last))
    kept = [1 if axis in parts.axes else length for axis, length in enumerate(within)]
    lined = write(np.ndarray.reshape, lined, (*kept[:behind], count, *kept[behind:]))
    here = None
    for axis, array in zip(parts.axes, parts.arrays, strict=True):
        wide = write(np.broadcast_to, _inside(write, array, within[axis]), parts.shape)
        wide = write(np.ndarray.reshape, wide, (count, *(1,) * len(last)))
        places = np.arange(within[axis]).reshape((-1, *(1,) * (len(within) - axis)))
        same = write(np.equal, write.constant(places), wide)
        here = same if here is None else write(np.logical_and, here, same)
    chosen = write(np.where, here, lined, write.constant(values.dtype.type(0)))
    return write(np.add.reduce, chosen, axis=behind)


def _laid_out(write: Writer, values: Value, index: Sequence[Any], shape: tuple[int, ...]) -> Value:
    """Zeros of `shape`, but for the values at an index of slices and numbers."""
    parts = [part for part in _spread_out(index, len(shape)) if part is not None]
    ranges = [
        range(length)[part] if isinstance(part, slice) else range(length)[part : part + 1 or None]
        for part, length in zip(parts, shape, strict=True)
    ]
    whole = write(np.ndarray.reshape, values, tuple(map(len, ranges)))
    for axis, places in enumerate(ranges):
        whole = _along(write, whole, axis, places, shape[axis])
    return whole


def _along(write: Writer, values: Value, axis: int, places: range, length: int) -> Value:
    """The values at those places of an axis, zeros elsewhere."""
    if places.step < 0:
        values = write(np.flip, values, axis)
        places = places[::-1]
    count, step = len(places), places.step
    if step > 1 and count > 1:  # each with zeros behind it, but for the last
        shape = values.shape
        apart = write(np.ndarray.reshape, values, (*shape[: axis + 1], 1, *shape[axis + 1 :]))
        apart = bordered(write, apart, axis + 1, 0, step - 1)
        values = write(np.ndarray.reshape, apart, (*shape[:axis], count * step, *shape[axis + 1 :]))
        cut = (*(slice(None),) * axis, slice(None, (count - 1) * step + 1), ...)
        values = write(np.ndarray.__getitem__, values, cut)
    end = places[-1] + 1
    return bordered(write, values, axis, places[0], length - end)
