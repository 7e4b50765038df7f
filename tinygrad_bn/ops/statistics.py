"""Variance and what is built on it: standard deviation, norm, and the core of batch normalization."""

from __future__ import annotations

import numpy as np

from tinygrad_bn import residuals
from tinygrad_bn.domains import Case, away_from, distinct
from tinygrad_bn.errors import SettingError
from tinygrad_bn.ops.constants import number
from tinygrad_bn.ops.dtypes import floats
from tinygrad_bn.ops.elementary import abs, sqrt, square
from tinygrad_bn.ops.reductions import Axis, along, averaging, axis_cases, count, left, max, not_empty, spread, sum
from tinygrad_bn.primitives import Array, derived, primitive

_MANY = 1024
"""The mean of more values than this is taken once more, of what it leaves: a long sum in float32 loses digits."""


def _mean(x: Array, axis: Axis) -> Array:
    """The mean of x over `axis`, which stays behind with length 1."""
    return averaging(x, axis)(x)


def _moments(x: Array, axis: Axis) -> tuple[Array, Array, Array]:
    """The mean of x over `axis`, x less its mean, and the biased variance; of float16 in float32."""
    x = x.astype(np.float32) if x.dtype.char == "e" else x  # squares are soon too large for float16
    mean = averaging(x, axis)
    middle = mean(x)
    centred = x - middle
    if x.size > _MANY * middle.size:
        missed = mean(centred)
        middle, centred = middle + missed, centred - missed
    return middle, centred, mean(np.square(centred))


def _root(variance: Array, epsilon: float) -> Array:
    """sqrt(variance + epsilon)."""
    if not (isinstance(epsilon, (int, float)) and epsilon >= 0):
        raise SettingError(f"standardize expects epsilon >= 0; got {epsilon!r:.80}")
    return np.sqrt(variance + number(epsilon, variance.dtype))


def _as_narrow_as(x: Array, *parts: Array) -> tuple[Array, ...]:
    """What `_moments` gave of x, in the dtype of x if that is float16."""
    return tuple([part.astype(x.dtype) for part in parts]) if x.dtype.char == "e" else parts


def _freedom(x: Array, axis: Axis, ddof: int) -> int:
    """n - ddof, the degrees of freedom among the n values along `axis`; a ValueError if there are none."""
    n = count(x, axis) - ddof
    if n < 1:
        raise ValueError
    return n


_more_than_ddof = "axes that x has, and more than ddof values along them"


@derived(cases=(*axis_cases, Case((3, 4), axis=0, ddof=1)), reference=np.var, expects=_more_than_ddof)
def var(x: Array, /, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Array:
    """sum((x - mean(x)) ** 2) / (n - ddof) over `axis`, `keepdims` as in `sum`, in two passes: nothing cancels."""
    return sum(square(x - _mean(x, axis)), axis, keepdims) / _freedom(x, axis, ddof)


@primitive(
    label="std axis={axis}",
    domain=(distinct,),
    cases=(*axis_cases[:-1], Case((3, 4), axis=0, ddof=1)),
    reference=np.std,
    expects=_more_than_ddof,
)
def std(x: Array, /, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Array:
    """sqrt(var(x)) over `axis`, `ddof` as in `var` and `keepdims` as in `sum`; the derivative at a constant is 0."""
    x = floats(x)
    shifted = x - np.maximum.reduce(x, axis=axis, keepdims=True)  # a constant, whose mean may round, becomes all 0
    total = np.add.reduce(np.square(shifted - _mean(shifted, axis)), axis=axis, keepdims=keepdims)
    return np.sqrt(total / _freedom(x, axis, ddof))


@std.defvjp
def _(g: Array, y: Array, x: Array, *, axis: Axis, ddof: int, keepdims: bool) -> Array:
    slope = g / (_freedom(x, axis, ddof) * (y + (y == 0)))
    shifted = x - max(x, axis, keepdims=True)
    return spread(slope, x, axis) * (shifted - _mean(shifted, axis))


@primitive(
    label="norm axis={axis}",
    domain=(away_from(0.0),),
    cases=(*axis_cases[:-1],),
    reference=lambda x, axis, keepdims: np.sqrt(np.sum(x * x, axis=axis, keepdims=keepdims)),
    expects=not_empty,
)
def euclidean_norm(x: Array, /, axis: Axis = None, keepdims: bool = False) -> Array:
    """sqrt(sum(x ** 2)) over `axis`, `keepdims` as in `sum`, without overflow; the derivative at 0 is 0."""
    x = floats(x)
    largest = np.maximum.reduce(np.abs(x), axis=axis, keepdims=True)
    scale = np.nan_to_num(largest + (largest == 0), nan=np.nan)  # finite, for inf / inf is no number
    total = np.add.reduce(np.square(x / scale), axis=axis, keepdims=True)
    return (scale * np.sqrt(total)).reshape(left(x.shape, axis, keepdims))


euclidean_norm.defvjp(lambda g, y, x, *, axis, keepdims: spread(g, x, axis) * (x / spread(y + (y == 0), x, axis)))


@derived(
    domain=(away_from(0.0),),
    cases=(
        Case((4,), ord=1),
        Case((4,), ord=2),
        Case((4,), ord=np.inf),
        Case((3, 4), ord=1, axis=0),
        Case((3, 4), ord=np.inf, axis=-1, keepdims=True),
        Case((3, 4), ord="fro"),
        Case((2, 3, 4), axis=(0, 2)),
        Case((2, 3, 4)),
    ),
    reference=np.linalg.norm,
    expects=not_empty,
)
def norm(x: Array, /, ord: float | str | None = None, axis: Axis = None, keepdims: bool = False) -> Array:
    """The norm over `axis` (None: of all elements), `keepdims` as in `sum`; the derivative at 0 is 0.

    `ord` is None for the Euclidean norm, of matrices called Frobenius norm and "fro". Over one axis it may also be 2,
    which is the same, 1 for the sum and inf for the largest of the absolute values.

    Raises:
        ValueError: another `ord`, such as those that NumPy gives to matrices.
    """
    x, axes = floats(x), len(along(axis, x.ndim))
    if ord is None or (ord == 2 and axes == 1) or (ord == "fro" and axes == 2):
        return euclidean_norm(x, axis, keepdims)
    if ord == 1 and axes == 1:
        return sum(abs(x), axis, keepdims)
    if ord == np.inf and axes == 1:
        return max(abs(x), axis, keepdims)
    raise SettingError(
        f"norm expects ord None, 1, 2 or inf over one axis, None or 'fro' over two; got {ord!r} over {axes}"
    )


def _standardized(x: Array, axis: Axis, epsilon: float) -> Array:
    """`standardize` from elementary operations."""
    centred = x - _mean(x, axis)
    return centred / sqrt(_mean(square(centred), axis) + epsilon)


@primitive(
    label="deviation axis={axis}",
    cases=(
        Case((5, 3), axis=0, epsilon=1e-3),
        Case((4, 2, 3), axis=(0, 1), epsilon=1e-5),
    ),
    reference=lambda x, axis, epsilon: np.sqrt(np.var(x, axis=axis, keepdims=True) + epsilon),
    expects=not_empty,
)
def deviation(x: Array, /, *, axis: int | tuple[int, ...], epsilon: float) -> Array:
    """sqrt(var(x) + epsilon) over `axis`, which stays behind with length 1."""
    return _as_narrow_as(x, _root(_moments(x, axis)[2], epsilon))[0]


@deviation.defvjp
def _(g: Array, y: Array, x: Array, *, axis: int | tuple[int, ...], epsilon: float) -> Array:
    return g / y * ((x - _mean(x, axis)) / count(x, axis))


@primitive(
    label="standardize axis={axis}",
    cases=(
        Case((5, 3), axis=0, epsilon=1e-3),
        Case((5, 3), axis=-1, epsilon=1e-3),
        Case((9, 10), axis=0, epsilon=1e-3),
        Case((4, 2, 3), axis=(0, 1), epsilon=1e-5),
        Case((1, 3), axis=0, epsilon=1e-3),
    ),
    reference=_standardized,
    expects=not_empty,
)
def standardize(x: Array, /, *, axis: int | tuple[int, ...], epsilon: float) -> Array:
    """(x - mean(x)) / sqrt(var(x) + epsilon), mean and biased variance taken over `axis`.

    Raises:
        ValueError: `epsilon` is below 0.

    Reference: Ioffe and Szegedy (2015), Algorithm 1.
    """
    middle, centred, variance = _moments(x, axis)
    scale = _root(variance, epsilon)
    y = centred / scale
    if x.dtype.char == "e":
        y, scale = _as_narrow_as(x, y, scale)
    return residuals.keep(y, middle, variance, scale)


@standardize.defvjp
def _(g: Array, y: Array, x: Array, *, axis: int | tuple[int, ...], epsilon: float) -> Array:
    """Both statistics depend on x, so g loses its mean and its component along y."""
    taken = residuals.kept(y)
    scale = taken[2] if taken else deviation(x, axis=axis, epsilon=epsilon)
    mean = averaging(g, axis)
    return (g - mean(g) - y * mean(g * y)) / scale


@primitive(
    label="scale and shift",
    cases=(Case((5, 3), (3,), (3,)), Case((2, 3, 4), (3, 1), (3, 1)), Case((2, 3, 4), (3, 4), (1, 4))),
    reference=lambda x, gamma, beta: gamma * x + beta,
    expects="gamma and beta that can be repeated to the shape of x",
)
def scale_and_shift(x: Array, gamma: Array, beta: Array, /) -> Array:
    """gamma * x + beta, which `standardize` leaves to be learned.

    Raises:
        ShapeError: gamma or beta would repeat x.

    Reference: Ioffe and Szegedy (2015), Algorithm 1.
    """
    y = gamma * x + beta
    if y.shape != x.shape:
        raise ValueError
    return y


scale_and_shift.defvjp(
    lambda g, y, x, gamma, beta: g * gamma,
    lambda g, y, x, gamma, beta: g * x,
    lambda g, y, x, gamma, beta: g,
)


def moments(x: Array, y: Array, *, axis: int | tuple[int, ...]) -> tuple[Array, ...]:
    """Mean and biased variance of x over `axis`, which stays behind with length 1, as y = standardize(x) took them."""
    middle, variance = (residuals.kept(y) or _moments(x, axis)[::2])[:2]
    return _as_narrow_as(x, middle, variance)
