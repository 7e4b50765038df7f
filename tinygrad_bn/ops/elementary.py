"""The elementary functions, element by element: a formula, its rule, next."""

from __future__ import annotations

import math

import numpy as np

from tinygrad_bn.domains import away_from, exponent, interval, positive, real
from tinygrad_bn.ops.dtypes import floats
from tinygrad_bn.primitives import Array, primitive, ufunc

exp = ufunc(np.exp, "e ** x", lambda g, y, x: g * y, domain=(exponent,))
expm1 = ufunc(np.expm1, "e ** x - 1, exact near 0", lambda g, y, x: g * (y + 1), domain=(exponent,))
log = ufunc(np.log, "The natural logarithm of x", lambda g, y, x: g / x, domain=(positive,))
log1p = ufunc(np.log1p, "log(1 + x), exact near 0", lambda g, y, x: g / (1 + x), domain=(positive,))
sqrt = ufunc(
    np.sqrt, "The square root of x; its derivative at 0 is inf", lambda g, y, x: g / (2 * y), domain=(positive,)
)
square = ufunc(np.square, "x * x", lambda g, y, x: g * (2 * x))

sin = ufunc(np.sin, "The sine of x radians", lambda g, y, x: g * cos(x))
cos = ufunc(np.cos, "The cosine of x radians", lambda g, y, x: -(g * sin(x)))
tan = ufunc(np.tan, "The tangent of x radians", lambda g, y, x: g * (1 + square(y)), domain=(interval(-1.2, 1.2),))
arctan = ufunc(np.arctan, "The angle in radians whose tangent is x", lambda g, y, x: g / (1 + square(x)))
tanh = ufunc(np.tanh, "The hyperbolic tangent of x", lambda g, y, x: g * (1 - square(y)))

abs = ufunc(
    np.absolute, "|x|; its derivative at 0 is 0", lambda g, y, x: g * sign(x), name="abs", domain=(away_from(0),)
)
sign = ufunc(np.sign, "-1, 0 or 1: the sign of x; it has no gradient", None, domain=(away_from(0),))
floor = ufunc(np.floor, "The largest integer not above x; it has no gradient", None, domain=(interval(0.1, 0.9),))
ceil = ufunc(np.ceil, "The smallest integer not below x; it has no gradient", None, domain=(interval(0.1, 0.9),))
rint = ufunc(np.rint, "The nearest integer, halves to even; it has no gradient", None, domain=(interval(0.6, 1.4),))
isnan = ufunc(np.isnan, "Whether x is not a number", None)
isinf = ufunc(np.isinf, "Whether x is infinite", None)
isfinite = ufunc(np.isfinite, "Whether x is finite", None)


@primitive(reference=np.vectorize(math.erf, otypes=[np.float64]), domain=(real,))
def erf(x: Array, /) -> Array:
    """2 / sqrt(pi) * integral of exp(-t ** 2) from 0 to x, as tanh(x * R(x ** 2)) with one rational R.

    R is a fit to atanh(erf(x)) / x on [0, 6], beyond which erf is 1 in float64. All its coefficients are positive, so
    nothing cancels, and the tanh damps what error is left: at most 5 units in the last place, in float32 and float64.
    """
    x = floats(x)
    wide = x.astype(np.float32) if x.dtype == np.float16 else x  # whose powers float16 cannot hold
    bounded = np.minimum(np.maximum(wide, -6), 6)
    s = np.square(bounded)
    y = np.tanh(bounded * (_polynomial(_ERF_NUMERATOR, s) / _polynomial(_ERF_DENOMINATOR, s)))
    return y.astype(np.float16) if x.dtype == np.float16 else y


erf.defvjp(lambda g, y, x: g * (2 / math.sqrt(math.pi) * exp(-square(x))))


def _polynomial(coefficients: tuple[float, ...], x: Array) -> Array:
    """The polynomial with these coefficients, constant first."""
    *rest, value = coefficients
    for coefficient in reversed(rest):
        value = value * x + coefficient
    return value


_ERF_NUMERATOR = (
    1.12837916709551258,
    0.529362937901840782,
    0.156852788110739741,
    0.0292915470929044164,
    0.00395449521894634128,
    0.000375777774127815073,
    0.0000259587101278666828,
    1.26227214335098779e-6,
    4.10149358422414197e-8,
    6.23307742050921275e-10,
    1.20957474476741252e-12,
)
_ERF_DENOMINATOR = (
    1.0,
    0.378055840660333624,
    0.104759289483475304,
    0.0170105697305797472,
    0.00211522062899018746,
    0.000173603126148668906,
    0.0000108096001570346227,
    4.3943388780391365e-7,
    1.1472153557308728e-8,
    8.13070992786173224e-11,
)
