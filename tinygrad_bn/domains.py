"""Where a function is smooth, and which shapes and settings are worth trying: for samplers, checks and docs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # loading numpy.typing and numpy.random would cost more than all of ours
    from numpy.typing import NDArray

    Sampler = Callable[[np.random.Generator, tuple[int, ...]], NDArray[Any]]


class Domain:
    """A set of numbers on which a function is smooth.

    Attributes:
        name: what it is called, in words.
        sample: draws an array of a shape from it, with a generator.
        differentiable: whether there are derivatives by such a number.
        extremes: the large and small numbers at which a value and its derivatives must still be finite.
    """

    __slots__ = ("differentiable", "extremes", "name", "sample")

    def __init__(
        self, name: str, sample: Sampler, *, differentiable: bool = True, extremes: tuple[float, ...] = ()
    ) -> None:
        self.name = name
        self.sample = sample
        self.differentiable = differentiable
        self.extremes = extremes

    def __repr__(self) -> str:
        return self.name


class Case:
    """One thing worth checking: the arrays' shapes (none: any that broadcast) and the settings."""

    __slots__ = ("settings", "shapes")

    def __init__(self, *shapes: tuple[int, ...], **settings: Any) -> None:
        self.shapes = shapes
        self.settings = settings

    def __repr__(self) -> str:
        said = [str(shape) for shape in self.shapes] + [f"{k}={v!r}" for k, v in self.settings.items()]
        return f"Case({', '.join(said)})"


_LARGE = (-1e4, -700.0, 700.0, 1e4)


def interval(low: float, high: float) -> Domain:
    """All numbers from `low` to `high`."""
    return Domain(f"in [{low:g}, {high:g}]", lambda rng, shape: rng.uniform(low, high, shape), extremes=(low, high))


def away_from(*points: float, gap: float = 0.1) -> Domain:
    """All numbers at least `gap` from each of the `points`, where a function has its kinks."""

    def sample(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[Any]:
        x = rng.uniform(-4.0, 4.0, shape)
        for point in points:
            x = np.where(np.abs(x - point) < gap, point + gap * np.where(x < point, -1.0, 1.0), x)
        return x

    return Domain(f"away from {', '.join(f'{p:g}' for p in points)}", sample, extremes=_LARGE)


def integers(low: int, high: int) -> Domain:
    """The integers from `low` to `high - 1`, such as labels and indices."""
    return Domain(
        f"integers {low} to {high - 1}", lambda rng, shape: rng.integers(low, high, shape), differentiable=False
    )


def _distinct(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[Any]:
    size = int(np.prod(shape))
    x = rng.permutation(size) - size / 2 + rng.uniform(-0.2, 0.2, size)
    return (x / max(size, 1) * 4.0).reshape(shape)


def _uniform(low: float, high: float) -> Sampler:
    return lambda rng, shape: rng.uniform(low, high, shape)


real = Domain("any number", _uniform(-2.0, 2.0), extremes=_LARGE)
"""Any number; samples lie in [-2, 2]."""
positive = Domain("above 0", _uniform(0.2, 3.0), extremes=(1e-4, 1e4))
"""Numbers above 0."""
exponent = Domain(
    "any number that is not too large to exponentiate", _uniform(-2.0, 2.0), extremes=(-1e4, -700.0, 80.0)
)
"""Exponents: e to the power of 89 is too large for float32."""
distinct = Domain("without ties", _distinct, extremes=_LARGE)
"""Any numbers, no two alike: for maxima and minima."""
boolean = Domain("true or false", lambda rng, shape: rng.random(shape) < 0.5, differentiable=False)
"""Truth values."""
