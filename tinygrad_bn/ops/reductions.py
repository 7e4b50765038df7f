"""Sums and other reductions over axes, and broadcasting, which is the adjoint of summing."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, partial
from operator import methodcaller
from typing import Any, TypeAlias

import numpy as np

from tinygrad_bn.domains import Case, boolean, distinct, interval
from tinygrad_bn.errors import AxisError
from tinygrad_bn.ops.arithmetic import astype, maximum
from tinygrad_bn.ops.constants import full_like, number, ones
from tinygrad_bn.ops.dtypes import factors, floats
from tinygrad_bn.ops.elementary import exp
from tinygrad_bn.ops.shape import concatenate, copy, flip
from tinygrad_bn.primitives import Array, Traced, derived, primitive

Axis = int | tuple[int, ...] | None

axis_cases = (
    Case((3, 4)),
    Case((3, 4), axis=0),
    Case((2, 3, 4), axis=(0, -1)),
    Case((3, 4), axis=1, keepdims=True),
    Case(()),
)
has_axes = "axes that x has"
not_empty = "an x that is not empty: at least one value along each axis"


def along(axis: Axis, ndim: int) -> frozenset[int]:
    """The positions among `ndim` axes that `axis` names.

    Raises:
        AxisError: it names one that is not there, or one twice.
    """
    if axis is None:
        return frozenset(range(ndim))
    axes = axis if isinstance(axis, tuple) else (axis,)
    positions = range(ndim)
    try:
        named = frozenset([positions[a] for a in axes])
    except IndexError:
        named = frozenset()
    if len(named) < len(axes):
        raise AxisError(f"axis={axis} expects axes among {ndim}, each once")
    return named


@lru_cache(maxsize=256)
def kept(shape: tuple[int, ...], axis: Axis) -> tuple[int, ...]:
    """The shape of a reduction over `axis` with the reduced axes kept as 1."""
    reduced = along(axis, len(shape))
    return tuple([1 if position in reduced else length for position, length in enumerate(shape)])


def left(shape: tuple[int, ...], axis: Axis, keepdims: bool) -> tuple[int, ...]:
    """The shape of a reduction over `axis`."""
    if keepdims:
        return kept(shape, axis)
    reduced = along(axis, len(shape))
    return tuple([length for position, length in enumerate(shape) if position not in reduced])


def spread(reduced: Array, x: Array, axis: Axis) -> Array:
    """What a reduction of x over `axis` gave, in a shape that broadcasts with x."""
    return reduced if reduced.ndim in (0, x.ndim) else reduced.reshape(kept(x.shape, axis))


def count(x: Array, axis: Axis) -> int:
    """How many elements each result of a reduction over `axis` is made of.

    Raises:
        ValueError: none at all, so that there is nothing to average; `expects` says it in full.
    """
    if axis is None:
        n = x.size
    elif isinstance(axis, int):
        n = x.shape[axis]
    else:
        n = math.prod([x.shape[a] for a in axis])
    if n == 0:
        raise ValueError
    return int(n)


def summed(x: Array, axis: Axis, keepdims: bool) -> Array:
    """The sum over `axis`. Along a short axis of a matrix that is a product with ones, in a third of the time.

    Along a long one the product would round more than NumPy's sum does. A narrow matrix goes to a BLAS's kernels for
    few columns, and OpenBLAS's reported, of finite numbers, that one of them was invalid.
    """
    found = _by_ones(x, axis, keepdims)
    return np.add.reduce(x, axis=axis, keepdims=keepdims) if found is None else found[0](x)


_NARROW = 9
_LONG = 4096
_Reduce: TypeAlias = Callable[[Array], Array]


def _by_ones(x: Array, axis: Axis, keepdims: bool) -> tuple[_Reduce, _Reduce] | None:
    """What takes sums and means over `axis`, of x and of arrays like it, by products; None where NumPy's are better."""
    single = axis[0] if type(axis) is tuple and len(axis) == 1 else axis
    return _with_ones(x.shape, single, x.dtype, keepdims, type(x) is np.ndarray) if type(single) is int else None


@lru_cache(maxsize=256)
def _with_ones(
    shape: tuple[int, ...], axis: int, dtype: np.dtype[Any], keepdims: bool, of_array: bool
) -> tuple[_Reduce, _Reduce] | None:
    """What `_by_ones` gives, by the facts about x that it depends on."""
    if len(shape) != 2 or dtype.char not in "fd" or axis not in (0, 1, -1):
        return None
    length = shape[axis]
    if min(shape) < _NARROW or length > _LONG:
        return None
    matrix = (1, length) if axis == 0 else (length, 1)
    weights, n = ones(matrix if keepdims else length, dtype), number(length, dtype)
    of_columns = weights.dot if of_array else partial(np.dot, weights)  # a method is called faster
    total: _Reduce = of_columns if axis == 0 else methodcaller("dot", weights)
    return total, lambda x: total(x) / n


def has_short_rows(x: Array) -> bool:
    """Whether x is a matrix with so many rows, and so short, that NumPy had better loop along its columns.

    Not one so large that a copy takes much memory; nor one of float16, which NumPy adds up in float32 only where the
    numbers lie together.
    """
    shape = x.shape
    return len(shape) == 2 and shape[1] <= 16 and 32 <= shape[0] <= 4096 and x.dtype.char in "fd"


def in_columns(x: Array, axis: int) -> Array:
    """x; if `axis` is along short rows, a copy that lies in memory column by column, as what is computed of it will.

    Of 10 classes and 1,000 samples NumPy then takes a third of the time for the softmax.
    """
    return x.copy("F") if axis in (1, -1) and has_short_rows(x) else x


def in_rows(x: Array) -> Array:
    """x; if it has short rows, and so may lie in columns, a copy that lies row by row, as one expects of an array."""
    return x.copy() if has_short_rows(x) else x


_wide = (Case((9, 10), axis=0), Case((9, 10), axis=-1), Case((9, 10), axis=0, keepdims=True))


@primitive(label="sum axis={axis}", cases=(*axis_cases, *_wide), expects=has_axes)
def sum(x: Array, /, axis: Axis = None, keepdims: bool = False) -> Array:
    """The sum over `axis` (an int, several, or None for all), which `keepdims` leaves behind with length 1."""
    return summed(x, axis, keepdims)


sum.defvjp(lambda g, y, x, *, axis, keepdims: broadcast_to(spread(g, x, axis), shape=x.shape))


@primitive(label="broadcast {shape}", cases=(Case((3, 1), shape=(2, 3, 4)), Case((), shape=(2,))))
def broadcast_to(x: Array, /, shape: int | tuple[int, ...]) -> Array:
    """x repeated along axes of length 1, and along new ones in front, to fill `shape`.

    Raises:
        ShapeError: x cannot be repeated to fill it.
    """
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    if math.prod(shape) > 4096:
        return np.broadcast_to(x, shape)
    filled = x * ones(shape, x.dtype)  # below that, a view costs more to make than the numbers
    if filled.shape != shape:
        raise ValueError
    return filled


broadcast_to.defvjp(lambda g, y, x, *, shape: sum_to(g, shape=x.shape))


@primitive(label="sum to {shape}", cases=(Case((2, 3, 4), shape=(3, 1)), Case((2,), shape=())))
def sum_to(x: Array, /, shape: tuple[int, ...]) -> Array:
    """x summed over the axes along which `shape` would have to be repeated to fill x."""
    extra = x.ndim - len(shape)
    if x.shape[extra:] == shape:
        return summed(x, 0 if extra == 1 else tuple(range(extra)), False) if extra else x
    repeated = tuple(a for a in range(x.ndim) if a < extra or (shape[a - extra] == 1 and x.shape[a] != 1))
    return np.add.reduce(x, axis=repeated, keepdims=True).reshape(shape) if repeated else x


sum_to.defvjp(lambda g, y, x, *, shape: broadcast_to(spread_to(g, x), shape=x.shape))


def spread_to(g: Array, x: Array) -> Array:
    """g with the axes in front that it lacks against x."""
    return g.reshape((1,) * (x.ndim - g.ndim) + g.shape)


@primitive(label="mean axis={axis}", cases=(*axis_cases, *_wide), expects=not_empty)
def mean(x: Array, /, axis: Axis = None, keepdims: bool = False) -> Array:
    """sum(x) / n over the n values along `axis`, which `keepdims` leaves behind with length 1."""
    found = _by_ones(x, axis, keepdims)
    if found is not None:
        return found[1](x)
    x = floats(x)
    if x.dtype.char == "e":  # float16, whose sums would soon be too large, or too coarse to grow
        sums = np.add.reduce(x, axis=axis, dtype=np.float32, keepdims=keepdims)
        return (sums / np.float32(count(x, axis))).astype(np.float16)
    return np.add.reduce(x, axis=axis, keepdims=keepdims) / count(x, axis)


mean.defvjp(lambda g, y, x, *, axis, keepdims: spread(g, x, axis) * full_like(x, 1 / count(x, axis)))


def averaging(x: Array, axis: Axis) -> _Reduce:
    """What takes means over `axis`, which stays behind with length 1, of x and of arrays like it: looked up once."""
    if isinstance(x, Traced):
        return partial(mean, axis=axis, keepdims=True)
    found = _by_ones(x, axis, True)
    return partial(mean.forward, axis=axis, keepdims=True) if found is None else found[1]


def _extremum(g: Array, y: Array, x: Array, *, axis: Axis, keepdims: bool) -> Array:
    """Ties share the cotangent evenly; where NaN has won, which is equal to nothing, nobody gets it."""
    wide = np.float32 if g.dtype == np.float16 else g.dtype  # float16 cannot count beyond 65504
    ties = astype(x == spread(y, x, axis), dtype=wide)
    return spread(g, x, axis) * (ties / maximum(sum(ties, axis=axis, keepdims=True), 1.0))


@primitive(label="max axis={axis}", domain=(distinct,), cases=axis_cases, expects=not_empty)
def max(x: Array, /, axis: Axis = None, keepdims: bool = False) -> Array:
    """The largest value over `axis`, `keepdims` as in `sum`; ties share the derivative evenly."""
    return np.maximum.reduce(x, axis=axis, keepdims=keepdims)


max.defvjp(_extremum)


@primitive(label="min axis={axis}", domain=(distinct,), cases=axis_cases, expects=not_empty)
def min(x: Array, /, axis: Axis = None, keepdims: bool = False) -> Array:
    """The smallest value over `axis`, `keepdims` as in `sum`; ties share the derivative evenly."""
    return np.minimum.reduce(x, axis=axis, keepdims=keepdims)


min.defvjp(_extremum)


@derived(
    domain=(interval(-2.0, 2.0),),
    cases=axis_cases,
    reference=lambda x, axis, keepdims: np.prod(x, axis=axis, keepdims=keepdims),
    expects=has_axes,
)
def prod(x: Array, /, axis: Axis = None, keepdims: bool = False) -> Array:
    """The product over `axis`, `keepdims` as in `sum`, with right derivatives of every order where factors are 0.

    It multiplies halves until one factor is left, so that no rule ever divides by a factor.
    """
    if not x.ndim:
        return prod(x.reshape((1,)), axis or 0)  # as NumPy's, which takes a number for one along axis 0
    reduced = along(axis, x.ndim)
    others = [a for a in range(x.ndim) if a not in reduced]
    n = math.prod([x.shape[a] for a in reduced])
    parts = factors(x).transpose((*reduced, *others)).reshape((n, *(x.shape[a] for a in others)))
    while n > 1:
        half = n // 2
        rest = parts[2 * half :]
        parts = parts[:half] * parts[half : 2 * half]
        parts = parts if n % 2 == 0 else concatenate([parts, rest])
        n = n - half
    product = copy(parts[0]) if n else sum(parts, axis=0) + 1  # never a view of x, and never without its graph
    return product.reshape(kept(x.shape, axis)) if keepdims else product


@primitive(label="logsumexp axis={axis}", cases=axis_cases, expects=not_empty)
def logsumexp(x: Array, /, axis: Axis = None, keepdims: bool = False) -> Array:
    """log(sum(exp(x))) over `axis`, `keepdims` as in `sum`, without overflow."""
    x = floats(x)
    top = np.maximum.reduce(x, axis=axis, keepdims=True)
    shift = np.nan_to_num(top, nan=np.nan)  # finite, for inf - inf is no number
    total = np.add.reduce(np.exp(x - shift), axis=axis, keepdims=True)
    return (np.log(total + (total == 0)) + top).reshape(left(x.shape, axis, keepdims))


logsumexp.defvjp(lambda g, y, x, *, axis, keepdims: spread(g, x, axis) * exp(x - spread(y, x, axis)))


@primitive(label="cumsum axis={axis}", cases=(Case((3, 4)), Case((3, 4), axis=0), Case((3, 4), axis=-1)))
def cumsum(x: Array, /, axis: int | None = None) -> Array:
    """The running sum along `axis`; None runs through the flattened x."""
    return np.cumsum(x, axis=axis)


cumsum.defvjp(lambda g, y, x, *, axis: flip(cumsum(flip(g, axis), axis=axis), axis).reshape(x.shape))


@primitive(domain=(distinct,), cases=(Case((3, 4)), Case((3, 4), axis=0)), expects=not_empty)
def argmax(x: Array, /, axis: int | None = None) -> Array:
    """The index of the largest value along `axis`; it has no gradient."""
    return np.argmax(x, axis=axis)


argmax.defvjp(None)


@primitive(domain=(distinct,), cases=(Case((3, 4)), Case((3, 4), axis=0)), expects=not_empty)
def argmin(x: Array, /, axis: int | None = None) -> Array:
    """The index of the smallest value along `axis`; it has no gradient."""
    return np.argmin(x, axis=axis)


argmin.defvjp(None)


@primitive(domain=(boolean,), cases=axis_cases, expects=has_axes)
def all(x: Array, /, axis: Axis = None, keepdims: bool = False) -> Array:
    """Whether every value over `axis` is true; `keepdims` as in `sum`."""
    return np.logical_and.reduce(x, axis=axis, keepdims=keepdims)


all.defvjp(None)


@primitive(domain=(boolean,), cases=axis_cases, expects=has_axes)
def any(x: Array, /, axis: Axis = None, keepdims: bool = False) -> Array:
    """Whether some value over `axis` is true; `keepdims` as in `sum`."""
    return np.logical_or.reduce(x, axis=axis, keepdims=keepdims)


any.defvjp(None)
