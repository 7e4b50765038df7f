"""The operators: arithmetic, comparison and choice between values, element by element."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_bn.domains import Case, away_from, boolean, interval, positive, real
from tinygrad_bn.errors import DtypeError
from tinygrad_bn.ops.constants import zeros_like
from tinygrad_bn.ops.elementary import abs, log
from tinygrad_bn.primitives import Array, primitive, ufunc

_never_equal = (interval(0.5, 1.0), interval(-1.0, 0.4))  # the one never meets the other
_between_multiples = (interval(1.65, 1.75), interval(0.9, 1.6))  # the quotient lies between 1 and 2

add = ufunc(np.add, "x + y", lambda g, z, x, y: g, lambda g, z, x, y: g, label="+")
subtract = ufunc(np.subtract, "x - y", lambda g, z, x, y: g, lambda g, z, x, y: -g, label="-")
multiply = ufunc(np.multiply, "x * y", lambda g, z, x, y: g * y, lambda g, z, x, y: g * x, label="*")
divide = ufunc(
    np.divide,
    "x / y",
    lambda g, z, x, y: g / y,
    lambda g, z, x, y: -(g * z / y),
    label="/",
    domain=(real, positive),
)
negative = ufunc(np.negative, "-x", lambda g, y, x: -g, label="-")


def _to_base(g: Array, z: Array, x: Array, y: Array) -> Array:
    """g * y * x ** (y - 1), but 0 where y is 0 and x so small that 1 / x is infinite: 0 * inf would be no number."""
    if isinstance(y, (int, float)):
        return g * (y * power(x, y - 1)) if y else g * 0
    lost = (y == 0) & (abs(x) < np.finfo(x.dtype).tiny)
    return g * (y * power(x + lost, y - 1.0) * logical_not(lost))  # 0 - 1 is 255 among integers without a sign


def _to_exponent(g: Array, z: Array, x: Array, y: Array) -> Array:
    """g * z * log(x), but 0 where x is 0 and y is not below 0: 0 * -inf would be no number."""
    if isinstance(x, (int, float)) and x:
        return g * (z * log(x))
    kept = ((x == 0) <= (y < 0)).astype(z.dtype)  # that of the result: NumPy's log of small integers has few digits
    return g * (z * log(x + (1 - kept)) * kept)


power = ufunc(
    np.power,
    "x ** y; at x = 0 the derivative to y is 0, or -inf for y < 0, and at y = 0 the derivative to x is 0",
    _to_base,
    _to_exponent,
    label="**",
    domain=(positive, interval(-2.0, 2.0)),
    expects="shapes that broadcast together, and of integers no negative powers",
)
floor_divide = ufunc(
    np.floor_divide,
    "The largest integer not above x / y; it has no gradient",
    None,
    None,
    label="//",
    domain=_between_multiples,
)
remainder = ufunc(
    np.remainder,
    "x - y floor(x / y)",
    lambda g, z, x, y: g,
    lambda g, z, x, y: -(g * floor_divide(x, y)),
    label="%",
    domain=_between_multiples,
)


def _share(g: Array, larger: Array, or_equal: Array) -> Array:
    """The cotangent where one value is larger, half of it where two are equal."""
    half = 0.5 * g
    return half * larger + half * or_equal


maximum = ufunc(
    np.maximum,
    "The larger of x and y; on a tie each has half the derivative",
    lambda g, z, x, y: _share(g, x > y, x >= y),
    lambda g, z, x, y: _share(g, y > x, y >= x),
    domain=_never_equal,
)
minimum = ufunc(
    np.minimum,
    "The smaller of x and y; on a tie each has half the derivative",
    lambda g, z, x, y: _share(g, x < y, x <= y),
    lambda g, z, x, y: _share(g, y < x, y <= x),
    domain=_never_equal,
)


@primitive(label="min(x, 0)", domain=(away_from(0.0),), reference=lambda x: np.where(x > 0, 0.0, x))
def negative_part(x: Array, /) -> Array:
    """min(x, 0); at 0 the derivative is 1, of the branch below, as that of `clip` is."""
    return np.minimum(x, zeros_like(x))


negative_part.defvjp(lambda g, y, x: g * (x <= 0))


@primitive(
    label="clip {a_min} {a_max}",
    domain=(away_from(-1, 1),),
    aliases={"min": "a_min", "max": "a_max"},
    cases=(Case(a_min=-1.0, a_max=1.0), Case(a_min=-1.0), Case(a_max=1.0)),
    reference=lambda x, a_min, a_max: np.clip(x, a_min, a_max),
)
def clip(x: Array, /, a_min: Array | None = None, a_max: Array | None = None) -> Array:
    """min(max(x, a_min), a_max), either bound left out by None; at the bounds the derivative is 1.

    A bound may be an array, and may be called min or max, as in NumPy; a list takes the dtype of a floating x. For
    bounds that need a gradient of their own there are `maximum` and `minimum`.
    """
    if a_min is not None:
        x = np.maximum(x, max(a_min, np.iinfo(x.dtype).min) if _counts(x, a_min) else _beside(x, a_min))
    if a_max is not None:
        x = np.minimum(x, min(a_max, np.iinfo(x.dtype).max) if _counts(x, a_max) else _beside(x, a_max))
    return x


def _counts(x: Array, bound: Array) -> bool:
    """Whether x and its bound are integers: one that no number of its dtype is beyond bounds nothing, as in NumPy."""
    return type(bound) is int and x.dtype.kind in "iu"


def _beside(x: Array, bound: Array) -> Array:
    """The bound in the dtype in which it is compared with x."""
    if not isinstance(bound, (list, tuple)) or x.dtype.kind != "f":
        return bound
    return np.asarray(bound).astype(x.dtype, casting="same_kind")


@clip.defvjp
def _(g: Array, y: Array, x: Array, *, a_min: Array | None, a_max: Array | None) -> Array:
    if a_min is not None:
        g = g * (x >= _beside(x, a_min))
    return g if a_max is None else g * (x <= _beside(x, a_max))


@primitive(domain=(boolean, real), reference=lambda c, x, y: np.choose(c.astype(int), [y, x]))
def where(condition: Array, x: Array, y: Array, /) -> Array:
    """x where the condition is true, y elsewhere. The branch not taken has gradient 0, whatever its value."""
    return np.where(condition, x, y)


where.defvjp(None, lambda g, z, c, x, y: where(c, g, 0.0), lambda g, z, c, x, y: where(c, 0.0, g))

equal = ufunc(np.equal, "Whether x = y", None, None, label="==", domain=_never_equal)
not_equal = ufunc(np.not_equal, "Whether x and y differ", None, None, label="!=", domain=_never_equal)
less = ufunc(np.less, "Whether x < y", None, None, label="<", domain=_never_equal)
less_equal = ufunc(np.less_equal, "Whether x <= y", None, None, label="<=", domain=_never_equal)
greater = ufunc(np.greater, "Whether x > y", None, None, label=">", domain=_never_equal)
greater_equal = ufunc(np.greater_equal, "Whether x >= y", None, None, label=">=", domain=_never_equal)
logical_and = ufunc(np.logical_and, "Whether both are true", None, None, label="and", domain=(boolean,))
logical_or = ufunc(np.logical_or, "Whether one of them is true", None, None, label="or", domain=(boolean,))
logical_xor = ufunc(np.logical_xor, "Whether exactly one of them is true", None, None, label="xor", domain=(boolean,))
logical_not = ufunc(np.logical_not, "Whether it is false", None, label="not", domain=(boolean,))


@primitive(label="as {dtype}", cases=(Case((2, 3), dtype=np.float64),))
def astype(x: Array, /, dtype: Any) -> Array:
    """x in another floating `dtype`; for integers and truth values there is `discretize`."""
    if np.dtype(dtype).kind != "f":
        raise DtypeError(f"astype expects a floating dtype; got {dtype}. For others, use discretize")
    return x.astype(dtype)


astype.defvjp(lambda g, y, x, *, dtype: g)


@primitive(label="as {dtype}", domain=(interval(0.1, 0.9),), cases=(Case((2, 3), dtype=np.int64),))
def discretize(x: Array, /, dtype: Any) -> Array:
    """x as integers or truth values of `dtype`; it has no gradient."""
    return x.astype(dtype)


discretize.defvjp(None)
