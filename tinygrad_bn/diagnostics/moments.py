"""What an activation makes of normally distributed numbers: mean, second moment, and the slope that comes back.

This is all that the theories of signal propagation take of an activation (Poole et al. 2016, Klambauer et al. 2017).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygrad_bn.names import checked
from tinygrad_bn.ops.activations import SELU_ALPHA, SELU_SCALE

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Map = Callable[["NDArray[Any]", "NDArray[Any]"], "Passed"]


class Passed(NamedTuple):
    """Of y = f(z) with z normal, element by element of the means and variances of z.

    Attributes:
        mean: E[y].
        square: E[y ** 2].
        slope: E[f'(z) ** 2], by which the variance of a gradient changes on its way back.
    """

    mean: NDArray[Any]
    square: NDArray[Any]
    slope: NDArray[Any]

    @property
    def variance(self) -> NDArray[Any]:
        """E[y ** 2] - E[y] ** 2."""
        return np.asarray(self.square - np.square(self.mean))


@checked
def selu_moments(mean: ArrayLike, variance: ArrayLike, alpha: float = SELU_ALPHA, scale: float = SELU_SCALE) -> Passed:
    """E[y], E[y ** 2] and E[y' ** 2] of y = selu(z), in closed form.

    Args:
        mean: of z.
        variance: of z, above 0.
        alpha: how far below 0 it goes, before the scale.
        scale: its slope above 0.

    Reference: Klambauer et al. (2017), Eq. 4 and 5; the third is E[selu'(z) ** 2], found in the same way.
    """
    mean, variance = np.broadcast_arrays(np.asarray(mean, np.float64), np.asarray(variance, np.float64))
    deviation = np.sqrt(variance)
    density = deviation * np.exp(-np.square(mean) / (2 * variance)) / math.sqrt(2 * math.pi)
    above = 0.5 * _erfc(-mean / (deviation * math.sqrt(2)))  # P(z > 0)
    below = 0.5 * _erfc(mean / (deviation * math.sqrt(2)))
    once, twice = _exponential_below(mean, variance, 1), _exponential_below(mean, variance, 2)
    return Passed(
        scale * (mean * above + density + alpha * (once - below)),
        scale * scale * ((np.square(mean) + variance) * above + mean * density + alpha**2 * (twice - 2 * once + below)),
        scale * scale * (above + alpha**2 * twice),
    )


def gaussian_moments(
    activation: Callable[[Any], Any], mean: ArrayLike, variance: ArrayLike, slope: Callable[[Any], Any]
) -> Passed:
    """E[y], E[y ** 2] and E[y' ** 2] of y = activation(z), by Gauss-Legendre quadrature on both sides of z = 0.

    A kink or a jump of the slope at 0 costs no accuracy; elsewhere it does.

    Args:
        activation: takes arrays of float64, of shape (nodes, ...) where the others are (...), element by element.
        mean: of z.
        variance: of z, not below 0.
        slope: its derivative, likewise.
    """
    mean, variance = np.broadcast_arrays(np.asarray(mean, np.float64), np.asarray(variance, np.float64))
    deviation = np.sqrt(variance)
    kink = np.clip(-mean / np.where(deviation > 0, deviation, 1.0), -_REACH, _REACH)
    nodes, weights = _legendre()
    nodes, weights = (each.reshape(-1, *[1] * kink.ndim) for each in (nodes, weights))
    sides = [
        (start + (end - start) * nodes, (end - start) * weights) for start, end in ((-_REACH, kink), (kink, _REACH))
    ]
    u, share = (np.concatenate(parts) for parts in zip(*sides, strict=True))
    share = share * np.exp(-0.5 * np.square(u)) / math.sqrt(2 * math.pi)
    z = mean + deviation * u
    y, back = activation(z), slope(z)
    return Passed(*((share * each).sum(axis=0) for each in (y, np.square(y), np.square(back))))


_REACH = 9.0  # standard deviations; what lies beyond has a probability of 2e-19


@cache
def _legendre() -> tuple[NDArray[Any], NDArray[Any]]:
    """Nodes and weights on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(80)
    return (nodes + 1) / 2, weights / 2


_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def _exponential_below(mean: NDArray[Any], variance: NDArray[Any], k: int) -> NDArray[Any]:
    """E[exp(k * z) where z < 0], which is exp(k * m + k**2 * v / 2) / 2 * erfc((m + k * v) / sqrt(2 * v)).

    Where m is large, that is an overflow times an underflow; there erfc(t) = exp(-t**2) * erfcx(t) takes the exponent
    with it.
    """
    t = (mean + k * variance) / np.sqrt(2 * variance)
    near = np.minimum(t, _FAR)
    inverse = 1 / (2 * np.square(np.maximum(t, _FAR)))
    series = (1 - inverse * (1 - inverse * (3 - inverse * (15 - 105 * inverse)))) / (
        np.maximum(t, _FAR) * math.sqrt(math.pi)
    )
    scaled = np.where(t < _FAR, np.exp(np.square(np.maximum(near, 0.0))) * _erfc(near), series)  # erfcx where t > 0
    exponent = np.where(t > 0, -np.square(mean) / (2 * variance), np.minimum(k * mean + k * k * variance / 2, 0.0))
    return np.asarray(0.5 * np.exp(exponent) * scaled)


_FAR = 25.0  # from here on the asymptotic series of erfcx is right to 1e-12, and up to here exp does not overflow
