"""The laws that arrays are drawn from: how to draw, and what each element is like."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Generator = np.random.Generator
Shape = tuple[int, ...]

TRUNCATED_STDDEV: Final = 0.87962566103423978
"""The standard deviation of a standard normal variable that is kept only within [-2, 2]."""


class Law(NamedTuple):
    """What an array is drawn from.

    Attributes:
        name: such as "uniform".
        mean: of each element.
        variance: of each element.
        bounds: no element lies outside them; they may be infinite.
        density: of each element, at points within the bounds; None where only the bounds themselves are drawn.
        draw: a float64 array of a shape, all elements together.
    """

    name: str
    mean: float
    variance: float
    bounds: tuple[float, float]
    density: Callable[[NDArray[Any]], NDArray[Any]] | None
    draw: Callable[[Shape, Generator], NDArray[Any]]


def constant(value: float) -> Law:
    """Always `value`."""
    return Law(f"constant {value:g}", value, 0.0, (value, value), None, lambda shape, _: np.full(shape, value))


def uniform(low: float, high: float) -> Law:
    """Evenly from `low` to `high`."""
    if low == high:
        return constant(low)
    width = high - low
    return Law(
        "uniform",
        (low + high) / 2,
        width * width / 12,
        (low, high),
        lambda x: np.full(np.shape(x), 1 / width),
        lambda shape, rng: rng.uniform(low, high, shape),
    )


def normal(mean: float, stddev: float) -> Law:
    """mean + stddev * z with z standard normal."""
    if stddev == 0:
        return constant(mean)
    return Law(
        "normal",
        mean,
        stddev * stddev,
        (-math.inf, math.inf),
        lambda x: _bell((x - mean) / stddev) / stddev,
        lambda shape, rng: mean + stddev * rng.standard_normal(shape),
    )


def truncated_normal(mean: float, stddev: float) -> Law:
    """mean + stddev * z with z standard normal within [-2, 2]: `stddev` is that of the law before it is truncated."""
    if stddev == 0:
        return constant(mean)
    kept = math.erf(math.sqrt(2)) * stddev
    return Law(
        "normal truncated at 2 standard deviations",
        mean,
        (TRUNCATED_STDDEV * stddev) ** 2,
        (mean - 2 * stddev, mean + 2 * stddev),
        lambda x: _bell((x - mean) / stddev) / kept,
        lambda shape, rng: mean + stddev * _within_two(shape, rng),
    )


def orthogonal(gain: float, rows: int, columns: int) -> Law:
    """`gain` times a matrix with orthonormal columns or rows, whichever are fewer, uniform among all of them.

    Each element is a coordinate of a unit vector that is uniform on the sphere: its square has the beta distribution.

    Reference: Mezzadri (2007), section 4: the factor Q of a normal matrix is uniform once R has a positive diagonal.
    """
    length, radius = max(rows, columns, 1), abs(gain)

    def draw(shape: Shape, rng: Generator) -> NDArray[Any]:
        q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
        q = q * np.sign(np.diagonal(r))
        matrix: NDArray[Any] = gain * (q if rows >= columns else q.T)
        return matrix.reshape(shape)

    def density(x: NDArray[Any]) -> NDArray[Any]:
        factor = math.exp(math.lgamma(length / 2) - math.lgamma((length - 1) / 2)) / (math.sqrt(math.pi) * radius)
        heights: NDArray[Any] = factor * np.power(1 - np.square(x / radius), (length - 3) / 2)
        return heights

    continuous = density if length > 1 and radius > 0 else None
    return Law("orthogonal", 0.0, gain * gain / length, (-radius, radius), continuous, draw)


def _bell(z: NDArray[Any]) -> NDArray[Any]:
    """The density of the standard normal law."""
    heights: NDArray[Any] = np.exp(-0.5 * np.square(z)) / math.sqrt(2 * math.pi)
    return heights


def _within_two(shape: Shape, rng: Generator) -> NDArray[Any]:
    """Standard normal values; those beyond 2 are drawn again until there are none."""
    drawn = np.asarray(rng.standard_normal(shape))
    while (beyond := np.abs(drawn) > 2).any():
        drawn[beyond] = rng.standard_normal(np.count_nonzero(beyond))
    return drawn
