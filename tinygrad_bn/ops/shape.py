"""Rearranging: the same numbers in another shape or order, or some of them. Adjoint pairs stand together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from types import EllipsisType
from typing import Any

import numpy as np

from tinygrad_bn import names
from tinygrad_bn.domains import Case, integers, real
from tinygrad_bn.errors import AxisError, DtypeError, SettingError, ShapeError
from tinygrad_bn.functions import arrayed
from tinygrad_bn.primitives import Array, derived, primitive


@primitive(cases=(Case((2, 3)), Case(())))
def copy(x: Array, /) -> Array:
    """x in memory of its own."""
    return x.copy()


copy.defvjp(lambda g, y, x: g)


@primitive(
    label="reshape {shape}",
    cases=(Case((3, 4), shape=(2, 6)), Case((3, 4), shape=-1), Case((), shape=(1, 1))),
    expects="a shape of as many elements as x has",
)
def reshape(x: Array, /, shape: int | tuple[int, ...]) -> Array:
    """x with the same elements in the same order in another `shape`; one length may be -1."""
    return x.reshape(shape)


reshape.defvjp(lambda g, y, x, *, shape: g.reshape(x.shape))


@primitive(
    label="transpose {axes}",
    cases=(Case((2, 3, 4)), Case((2, 3, 4), axes=(1, 2, 0)), Case((2, 3, 4), axes=(-1, 0, 1)), Case((3,), axes=-1)),
    expects="axes that are a permutation of those of x",
)
def transpose(x: Array, /, axes: int | tuple[int, ...] | None = None) -> Array:
    """x with its axes in another order; None reverses them."""
    return x.transpose(axes)


@transpose.defvjp
def _(g: Array, y: Array, x: Array, *, axes: int | tuple[int, ...] | None) -> Array:
    """The axes back where they were; one axis alone is that of a vector."""
    if axes is None or isinstance(axes, int):
        return g.transpose(None)
    return g.transpose(np.argsort([axis % x.ndim for axis in axes]).tolist())


@derived(
    cases=(Case((1, 3, 1)), Case((1, 3, 1), axis=-1)),
    reference=lambda x, axis: np.squeeze(x, axis),
    expects="an axis of length 1",
)
def squeeze(x: Array, /, axis: int | tuple[int, ...] | None = None) -> Array:
    """x without its axes of length 1, or without those that `axis` names."""
    return x.reshape(np.squeeze(np.empty(x.shape, bool), axis).shape)


@derived(cases=(Case((2, 3), axis=1), Case((2, 3), axis=(0, -1))), reference=lambda x, axis: np.expand_dims(x, axis))
def expand_dims(x: Array, /, axis: int | tuple[int, ...]) -> Array:
    """x with new axes of length 1 at `axis` of the result."""
    return x.reshape(np.expand_dims(np.empty(x.shape, bool), axis).shape)


@primitive(label="flip axis={axis}", cases=(Case((3, 4)), Case((3, 4), axis=1)), expects="axes that x has")
def flip(x: Array, /, axis: int | tuple[int, ...] | None = None) -> Array:
    """x in reverse order along `axis`; None reverses every axis."""
    return np.flip(x, axis)


flip.defvjp(lambda g, y, x, *, axis: flip(g, axis=axis))


@primitive(
    label="concatenate axis={axis}",
    cases=(Case((2, 3), (4, 3)), Case((2, 3), (2, 1), (2, 2), axis=-1)),
    expects="at least one array, all of the same shape but for `axis`",
)
def concatenate(*arrays: Array, axis: int | None = 0) -> Array:
    """The arrays one behind the other along `axis`, or flattened for None. Called with a list, as NumPy's."""
    return np.concatenate(arrays, axis=axis)


@concatenate.defvjp_each
def _(position: int, g: Array, y: Array, *arrays: Array, axis: int | None) -> Array:
    lengths = [array.size if axis is None else array.shape[axis] for array in arrays[: position + 1]]
    start, stop = sum(lengths[:-1]), sum(lengths)
    before = () if axis is None else (slice(None),) * (axis % g.ndim)
    return g[(*before, slice(start, stop))].reshape(arrays[position].shape)


@derived(
    cases=(Case((2, 3), (2, 3)), Case((3,), (3,), (3,), axis=-1), Case((), ())),
    reference=lambda *arrays, axis: np.stack(arrays, axis),
    expects="at least one array, all of one shape",
)
def stack(*arrays: Array, axis: int = 0) -> Array:
    """The arrays, all of one shape, side by side along a new `axis`. Called with a list, as NumPy's."""
    return concatenate([expand_dims(array, axis=axis) for array in arrays], axis=axis)


@names.checked
def split(x: Array, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Array]:
    """x cut along `axis` into that many equal parts, or before each of the given indices.

    Raises:
        AxisError: x lacks the axis.
        ShapeError: the axis cannot be cut into equal parts.
        DtypeError: neither a number of parts nor indices are given.
    """
    (x,) = arrayed("split", [x])
    if not -x.ndim <= axis < x.ndim:
        raise AxisError(f"split expects an axis of x of shape {x.shape}; got axis={axis}")
    length = x.shape[axis]
    given = np.asarray(*arrayed("split", [indices_or_sections]))
    if given.size and given.dtype.kind not in "iu":
        came = f"{indices_or_sections!r:.80}"
        raise DtypeError(f"split expects a number of parts, or the indices to cut before; got {came}")
    if given.ndim:
        bounds = [0, *given.tolist(), length]
    else:
        parts = int(given)
        if parts < 1 or length % parts:
            raise ShapeError(f"split expects a number of parts that divides {length}; got {parts}")
        bounds = [length // parts * part for part in range(parts + 1)]
    before = (slice(None),) * (axis % x.ndim)
    return [x[(*before, slice(*pair))] for pair in pairwise(bounds)]


@primitive(
    label="pad {pad_width}",
    cases=(Case((2, 3), pad_width=((1, 0), (2, 1))), Case((3,), pad_width=2, constant_values=1.5)),
    expects="as pad_width an int, a pair, or a pair (before, after) for each axis of x",
)
def pad(x: Array, /, pad_width: Any, mode: str = "constant", constant_values: float = 0.0) -> Array:
    """x with a border of `constant_values`: `pad_width` of them before and after along each axis.

    Raises:
        ValueError: another `mode` than "constant", which stands there as it does in NumPy's.
    """
    if mode != "constant":
        raise SettingError(names.unknown("mode", mode, ["constant"], "pad()"))
    if constant_values is None:  # in which NumPy sees NaN
        raise TypeError
    return np.pad(x, np.broadcast_to(pad_width, (x.ndim, 2)), constant_values=constant_values)


@pad.defvjp
def _(g: Array, y: Array, x: Array, *, pad_width: Any, **_: Any) -> Array:
    before = np.broadcast_to(pad_width, (x.ndim, 2))[:, 0].tolist()
    return g[tuple(slice(start, start + length) for start, length in zip(before, x.shape, strict=True))]


Index = int | slice | EllipsisType | None | str
"""A part of an index; a string stands where an array, which is an argument, belongs."""

ARRAY = "array"


@primitive(
    label="[{index}]",
    domain=(real, integers(-2, 2)),
    cases=(
        Case((3, 4), index=(1,)),
        Case((3, 4), index=(slice(None, None, -2), None, ...)),
        Case((3, 4), (5,), index=(ARRAY,)),
        Case((3, 4), (2, 1), (3,), index=(ARRAY, ARRAY)),
    ),
    expects="an index inside x",
)
def getitem(*x_and_indices: Array, index: tuple[Index, ...]) -> Array:
    """x[index], in which integer arrays and masks are arguments; repeated indices accumulate in the gradient."""
    x, *arrays = x_and_indices
    return x[_filled_in(index, arrays)]


@getitem.defvjp_each
def _(position: int, g: Array, y: Array, x: Array, *arrays: Array, index: tuple[Index, ...]) -> Array:
    return put(g, *arrays, index=index, shape=x.shape)


@primitive(
    label="put [{index}]",
    domain=(real, integers(-2, 2)),
    cases=(
        Case((4,), index=(1,), shape=(3, 4)),
        Case((5, 4), (5,), index=(ARRAY,), shape=(3, 4)),
    ),
    expects="values of the shape that the index selects",
)
def put(*values_and_indices: Array, index: tuple[Index, ...], shape: tuple[int, ...]) -> Array:
    """Zeros of `shape` to which the values are added at the index: the adjoint of `getitem`."""
    values, *arrays = values_and_indices
    whole = np.zeros(shape, values.dtype)
    if arrays:
        np.add.at(whole, _filled_in(index, arrays), values)
    else:
        whole[_filled_in(index, ())] = values
    return whole


@put.defvjp_each
def _(position: int, g: Array, y: Array, values: Array, *arrays: Array, index: tuple[Index, ...], **_: Any) -> Array:
    return getitem(g, *arrays, index=index)


def _filled_in(index: tuple[Index, ...], arrays: Sequence[Array]) -> tuple[Any, ...]:
    rest = iter(arrays)
    return tuple(next(rest) if part == ARRAY else part for part in index)


@derived(
    domain=(real, integers(-2, 2)),
    cases=(Case((3, 4), (5,)), Case((3, 4), (2, 2), axis=-1), Case((2, 3), (), axis=0)),
    reference=lambda x, indices, axis: np.take(x, indices, axis),
    expects="an axis that x has, and indices inside it",
)
def take(x: Array, indices: Array, /, axis: int | None = None) -> Array:
    """The elements of x at `indices` along `axis`; None counts through the flattened x.

    Raises:
        AxisError: x lacks the axis.
        IndexError: an index lies outside of it.
    """
    if not indices.size:
        indices = indices.astype(np.int64)  # NumPy makes floats of an empty list
    if axis is None:
        return getitem(x.reshape((math.prod(x.shape),)), indices, index=(ARRAY,))
    if not -x.ndim <= axis < x.ndim:
        raise AxisError(f"axis={axis} of shape {x.shape}")
    return getitem(x, indices, index=(*((slice(None),) * (axis % x.ndim)), ARRAY))
