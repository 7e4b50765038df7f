"""Mean and variance of data that come in parts, or are taken in parts so that float64 copies stay small."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROWS = 4096


class PooledMoments:
    """Count, mean and summed squared deviations of all values together, in float64, whatever the parts.

    A constant has exactly itself as mean, and deviates by exactly 0. Where a value is not finite, or too large to be
    squared, the squares are not finite either, and nothing else tells.

    Reference: Chan, Golub and LeVeque (1983), Eq. 2.1.
    """

    def __init__(self) -> None:
        self.count = 0
        self.squares: Any = 0.0
        self._origin: Any = 0.0
        self._mean: Any = 0.0  # above the origin

    @property
    def mean(self) -> NDArray[Any]:
        """The mean; the axes that were added up stay behind with length 1."""
        found: NDArray[Any] = self._origin + self._mean
        return found

    def variance(self, ddof: int = 0) -> NDArray[Any]:
        """The squares divided by count - ddof."""
        found: NDArray[Any] = self.squares / (self.count - ddof)
        return found

    def add(self, x: NDArray[Any], axis: int | tuple[int, ...]) -> None:
        """Take in the values of x along `axis`."""
        with np.errstate(over="ignore", invalid="ignore"):
            x = x.astype(np.float64)
            if not self.count:
                self._origin = x.min(axis=axis, keepdims=True)
            x -= self._origin
            mean = x.mean(axis=axis, keepdims=True)
            x -= mean
            count = x.size // mean.size
            step, total = mean - self._mean, self.count + count
            self.squares = self.squares + np.square(x).sum(axis=axis, keepdims=True)
            self.squares += np.square(step) * (self.count * count / total)
            self._mean = self._mean + step * (count / total)
            self.count = total


def pooled(x: NDArray[Any], axis: int | tuple[int, ...] = 0) -> PooledMoments:
    """Those of the values of x along `axis`, of which the first axis is one."""
    found = PooledMoments()
    for block in blocks(x):
        found.add(block, axis)
    return found


def blocks(x: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """The rows of x, some thousands at a time."""
    return (x[start : start + _ROWS] for start in range(0, len(x), _ROWS))
