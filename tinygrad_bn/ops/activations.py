"""Activation functions: a formula, its rule, its source, next.

Where a function is written with max(x, 0) and min(x, 0) instead of a choice, that is for speed: choosing by a mask
costs ten times as much. At a kink every function takes its x <= 0 branch, in derivatives of every order
(docs/semantics.md).
"""

from __future__ import annotations

import math

import numpy as np

from tinygrad_bn.domains import Case, away_from, interval
from tinygrad_bn.errors import SettingError
from tinygrad_bn.ops.arithmetic import negative_part
from tinygrad_bn.ops.constants import number, zeros_like
from tinygrad_bn.ops.dtypes import floats
from tinygrad_bn.ops.elementary import erf, exp, square, tanh
from tinygrad_bn.ops.reductions import in_columns, in_rows, sum, summed
from tinygrad_bn.primitives import Array, derived, primitive

SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


@primitive(domain=(away_from(0.0),), reference=lambda x: np.where(x > 0, x, 0.0))
def relu(x: Array, /) -> Array:
    """max(x, 0).  Reference: Nair and Hinton (2010)."""
    return np.maximum(x, zeros_like(x))


relu.defvjp(lambda g, y, x: g * (y > 0))


@primitive(
    label="LeakyReLU alpha={alpha:g}",
    domain=(away_from(0.0),),
    cases=(Case(), Case(alpha=0.01), Case(alpha=1.5)),
    reference=lambda x, alpha: np.where(x > 0, x, alpha * x),
)
def leaky_relu(x: Array, /, alpha: float = 0.3) -> Array:
    """x where x > 0, else alpha * x, for one alpha.  Reference: Maas et al. (2013).

    Raises:
        ValueError: `alpha` is not one number; for several there is `prelu`.
    """
    if not isinstance(alpha, (int, float)):
        raise SettingError(f"leaky_relu expects alpha to be one number; got {alpha!r:.80}. For several there is prelu")
    return _leaking(floats(x), alpha)


leaky_relu.defvjp(lambda g, y, x, *, alpha: g * _slope(x, alpha))


def _leaking(x: Array, alpha: Array) -> Array:
    """x where x > 0, else alpha * x."""
    nothing = zeros_like(x)
    return np.maximum(x, nothing) + alpha * np.minimum(x, nothing)


def _slope(x: Array, alpha: Array) -> Array:
    """1 where x > 0, else alpha."""
    above = (x > 0).astype(x.dtype)
    return above + alpha * (1.0 - above)  # exactly these two, for a finite alpha; alpha + (1 - alpha) is not


@primitive(
    label="PReLU",
    domain=(away_from(0.0), interval(0.05, 0.9)),
    cases=(Case(), Case((4, 3), (3,)), Case((2, 3, 4), (1, 4))),
    reference=lambda x, alpha: np.where(x > 0, x, alpha * x),
)
def prelu(x: Array, alpha: Array, /) -> Array:
    """x where x > 0, else alpha * x, with an alpha that is learned.  Reference: He et al. (2015), Eq. 1."""
    return _leaking(x, alpha)


prelu.defvjp(lambda g, y, x, alpha: g * _slope(x, alpha), lambda g, y, x, alpha: g * negative_part(x))


@primitive(
    label="ELU alpha={alpha:g}",
    domain=(away_from(0.0),),
    cases=(Case(), Case(alpha=0.5), Case(alpha=2.0)),
    reference=lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))),
)
def elu(x: Array, /, alpha: float = 1.0) -> Array:
    """x where x > 0, else alpha * (exp(x) - 1), for alpha >= 0.

    Raises:
        ValueError: `alpha` is below 0.

    Reference: Clevert et al. (2016), Eq. 15.
    """
    if not (isinstance(alpha, (int, float)) and alpha >= 0):
        raise SettingError(f"elu expects alpha >= 0; got {alpha!r:.80}")
    x = floats(x)
    below = np.expm1(np.minimum(x, zeros_like(x)))
    if alpha != 1:
        below = alpha * below
    return np.maximum(x, below) if alpha <= 1 else np.maximum(x, zeros_like(x)) + below  # the first is one pass less


elu.defvjp(lambda g, y, x, *, alpha: g * _exponential_slope(x, y, alpha, 1.0))


def _exponential_slope(x: Array, y: Array, alpha: float, scale: float) -> Array:
    """`scale` where x > 0, else y + alpha, which is alpha * exp(x)."""
    below = negative_part.of(y) + number(alpha, y.dtype)
    return below if alpha == scale else below + number(scale - alpha, y.dtype) * (x > 0).astype(y.dtype)


@primitive(
    label="SELU",
    domain=(away_from(0.0),),
    reference=lambda x: SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(np.minimum(x, 0))),
)
def selu(x: Array, /) -> Array:
    """scale * elu(x, alpha), the pair that keeps mean 0 and variance 1.  Reference: Klambauer et al. (2017), Eq. 2."""
    x = floats(x)
    zero, scale, slope = zeros_like(x), number(SELU_SCALE, x.dtype), number(SELU_SCALE * SELU_ALPHA, x.dtype)
    return scale * np.maximum(x, zero) + slope * np.expm1(np.minimum(x, zero))


selu.defvjp(lambda g, y, x: g * _exponential_slope(x, y, SELU_SCALE * SELU_ALPHA, SELU_SCALE))


@primitive(
    label="CELU alpha={alpha:g}",
    domain=(away_from(0.0),),
    cases=(Case(), Case(alpha=0.5)),
    reference=lambda x, alpha: np.maximum(x, 0) + alpha * np.expm1(np.minimum(x / alpha, 0)),
)
def celu(x: Array, /, alpha: float = 1.0) -> Array:
    """x where x > 0, else alpha * (exp(x / alpha) - 1), for alpha > 0.

    Raises:
        ValueError: `alpha` is not above 0.

    Reference: Barron (2017).
    """
    if not alpha > 0:
        raise SettingError(f"celu expects alpha > 0; got {alpha!r}")
    x = floats(x)
    below = np.maximum(np.minimum(x, zeros_like(x)), -200 * alpha)  # from there on exp is too small for any dtype
    return np.maximum(x, zeros_like(x)) + alpha * np.expm1(below / alpha)


celu.defvjp(lambda g, y, x, *, alpha: g * (negative_part(y) / alpha + 1))


@primitive(keeps_logits=True, reference=lambda x: 1 / (1 + np.exp(-x)))
def sigmoid(x: Array, /) -> Array:
    """1 / (1 + exp(-x)), accurate in both tails."""
    x = floats(x)
    return np.exp(np.minimum(x, zeros_like(x))) / (1 + np.exp(-np.abs(x)))


sigmoid.defvjp(lambda g, y, x: g * (y * (1 - y)))


@primitive(
    label="hard sigmoid",
    domain=(away_from(-3.0, 3.0),),
    reference=lambda x: np.clip(x + 3, 0, 6) / 6,
)
def hard_sigmoid(x: Array, /) -> Array:
    """relu6(x + 3) / 6.  Reference: Courbariaux et al. (2015), with Keras 3's slope."""
    return np.minimum(np.maximum(floats(x) + 3, 0), 6) / 6


hard_sigmoid.defvjp(lambda g, y, x: g / 6 * ((x > -3) & (x < 3)))


@primitive(reference=lambda x: np.logaddexp(x, 0))
def softplus(x: Array, /) -> Array:
    """log(1 + exp(x)), without overflow.  Reference: Dugas et al. (2001)."""
    x = floats(x)
    return np.maximum(x, zeros_like(x)) + np.log1p(np.exp(-np.abs(x)))


softplus.defvjp(lambda g, y, x: g * sigmoid(x))


@derived(reference=lambda x: x / (1 + np.exp(-x)))
def silu(x: Array, /) -> Array:
    """x * sigmoid(x), also called Swish.  Reference: Elfwing et al. (2018)."""
    return x * sigmoid(x)


@derived(reference=lambda x: x * np.tanh(np.log1p(np.exp(x))))
def mish(x: Array, /) -> Array:
    """x * tanh(softplus(x)).  Reference: Misra (2019)."""
    return x * tanh(softplus(x))


@derived(domain=(away_from(0.0),), reference=lambda x: x / (1 + np.abs(x)))
def softsign(x: Array, /) -> Array:
    """x / (1 + |x|).  Reference: Glorot and Bengio (2010)."""
    x = floats(x)
    return x / (1 + (x - 2 * negative_part(x)))


@derived(
    cases=(Case(), Case(approximate=True)),
    reference=lambda x, approximate: (
        0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        if approximate
        else 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))
    ),
)
def gelu(x: Array, /, approximate: bool = False) -> Array:
    """x * Phi(x), Phi the normal distribution; `approximate` by a tanh.  Reference: Hendrycks and Gimpel (2016).

    Raises:
        ValueError: `approximate` is neither True nor False.
    """
    if approximate is not True and approximate is not False:
        raise SettingError(f"gelu expects approximate=True or approximate=False; got {approximate!r}")
    x = floats(x)
    if approximate:
        return 0.5 * x * (1 + tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * square(x))))
    return 0.5 * x * (1 + erf(x * math.sqrt(0.5)))


_softmax_cases = (Case((3, 4)), Case((32, 10)), Case((2, 3, 4), axis=1), Case((4,)))


@primitive(
    label="softmax",
    keeps_logits=True,
    cases=_softmax_cases,
    reference=lambda x, axis: np.exp(x) / np.sum(np.exp(x), axis=axis, keepdims=True),
    expects="a shape with the axis, and not empty along it",
)
def softmax(x: Array, /, axis: int = -1) -> Array:
    """exp(x) / sum(exp(x)) along `axis`, without overflow.  Reference: Bridle (1990)."""
    x = in_columns(floats(x), axis)
    scaled = np.exp(x - np.maximum.reduce(x, axis=axis, keepdims=True))
    return in_rows(scaled / summed(scaled, axis, True))


softmax.defvjp(lambda g, y, x, *, axis: y * (g - sum(g * y, axis=axis, keepdims=True)))


def log_probabilities(x: Array, axis: int) -> Array:
    """log_softmax(x), which may lie in columns."""
    x = in_columns(floats(x), axis)
    shifted = x - np.maximum.reduce(x, axis=axis, keepdims=True)
    return shifted - np.log(summed(np.exp(shifted), axis, True))


@primitive(
    label="log softmax",
    cases=_softmax_cases,
    reference=lambda x, axis: x - np.log(np.sum(np.exp(x), axis=axis, keepdims=True)),
    expects="a shape with the axis, and not empty along it",
)
def log_softmax(x: Array, /, axis: int = -1) -> Array:
    """x - log(sum(exp(x))) along `axis`, without overflow."""
    return in_rows(log_probabilities(x, axis))


log_softmax.defvjp(lambda g, y, x, *, axis: g - exp(y) * sum(g, axis=axis, keepdims=True))
