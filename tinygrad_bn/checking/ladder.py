"""Slopes from values alone, with an error bound: differences on a ladder of steps, extrapolated to step 0."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RATIO = 4.0
"""Between one step of the ladder and the next."""
RUNGS = 18
"""Steps at most: the last is 2 ** -34 of the first, and with the default first step still exact beside x."""
FIRST = 3
"""Steps before anything is concluded."""
ROUNDING = 8.0
"""By how many times its measured noise a value is allowed to be off."""


class Limit:
    """The limit of a quantity as the step goes to 0: Richardson's extrapolation over every window of steps.

    Each window of two steps or more gives a value, and as its bound twice the larger change that the last extrapolation
    made, plus what rounding may do at the window's smallest step. Large steps may agree with each other by chance, or
    because they all reach across a kink or a wave, and yet be far from the limit: a window is out where one of smaller
    steps contradicts it, that is, where the two are further apart than both bounds allow. Of the others the one with
    the smallest bound is taken.

    Args:
        samples: the quantity, of shape (steps, lines); nan where it is not known.
        powers: of the step in its expansion.
        rounding: what rounding may do to it, of the same shape.

    Attributes:
        value, bound: of the window taken, of shape (lines,); where none is known, nan and inf.

    Reference: Ridders (1982), Accurate computation of F'(x) and F'(x)F''(x).
    """

    def __init__(self, samples: Array, powers: Sequence[int], rounding: Array) -> None:
        values, bounds, reaches = [], [], []
        finer = samples
        for power in powers[: len(samples) - 1]:
            coarser, factor = finer, RATIO**power
            finer = (factor * coarser[1:] - coarser[:-1]) / (factor - 1)
            change = np.maximum(np.abs(finer - coarser[1:]), np.abs(finer - coarser[:-1]))
            values.append(finer)
            bounds.append(2 * change + rounding[-len(finer) :])
            reaches.append(np.arange(len(finer)))
        value, bound = np.concatenate(values), np.concatenate(bounds)
        bound = np.where(np.isfinite(value) & np.isfinite(bound), bound, np.inf)
        kept = np.where(_overruled(value, bound, np.concatenate(reaches)), np.inf, bound)
        window = np.argmin(kept, axis=0)[None]
        self.bound = np.take_along_axis(kept, window, 0)[0]
        self.value = np.where(np.isfinite(self.bound), np.take_along_axis(value, window, 0)[0], np.nan)


def _overruled(value: Array, bound: Array, reach: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Which windows are contradicted by one that starts at a smaller step."""
    found = np.zeros(value.shape, bool)
    for judge in range(len(value)):
        apart = np.abs(value - value[judge]) > bound + bound[judge]
        found |= apart & (reach < reach[judge])[:, None]
    return found


class Ladder:
    """What some functions phi(t) do near t = 0, from their changes phi(+-step) - phi(0).

    Args:
        up, down: the changes, of shape (steps, lines); nan where they were not taken.
        steps: each a quarter of the one before.
        noise: how much a value of each phi wavers, of shape (lines,).
    """

    def __init__(self, up: Array, down: Array, steps: Array, noise: Array) -> None:
        self._up, self._down, self._steps, self._noise = up, down, steps[:, None], ROUNDING * noise

    def central(self) -> Limit:
        """The derivative: the limit of (phi(h) - phi(-h)) / 2h, which has even powers of h only."""
        return Limit((self._up - self._down) / (2 * self._steps), (2, 4, 6), self._noise / self._steps)

    def rounding(self) -> Array:
        """What rounding may do to a slope at the smallest step."""
        off: Array = self._noise / self._steps[-1]
        return off

    def telling(self, apart: Array) -> tuple[Array, Array, Array]:
        """The smallest step of each line whose slope is off by less than half of `apart`; that slope; how far off.

        All three are nan where no step is.
        """
        slopes, off = (self._up - self._down) / (2 * self._steps), self._noise / self._steps
        fine = np.isfinite(slopes) & (off <= apart / 2)
        last = (len(slopes) - 1 - np.argmax(fine[::-1], axis=0))[None]
        steps = np.broadcast_to(self._steps, slopes.shape)
        step, slope, by = (np.take_along_axis(np.where(fine, v, np.nan), last, 0)[0] for v in (steps, slopes, off))
        return step, slope, by

    def bend(self) -> Limit:
        """The slope on the right less that on the left: the limit of (phi(h) - 2 phi(0) + phi(-h)) / h."""
        return Limit((self._up + self._down) / self._steps, (1, 3, 5), 2 * self._noise / self._steps)

    def gap(self) -> Limit:
        """The value on the right less that on the left: the limit of phi(h) - phi(-h)."""
        return Limit(self._up - self._down, (1, 3, 5), np.broadcast_to(self._noise, self._up.shape))

    def sides(self) -> tuple[Limit, Limit]:
        """The slopes on the left and on the right, where phi may jump at 0: from values on that side alone."""
        width = self._steps[:-1] - self._steps[1:]
        left = Limit(-(self._down[:-1] - self._down[1:]) / width, (1, 2, 3), self._noise / width)
        right = Limit((self._up[:-1] - self._up[1:]) / width, (1, 2, 3), self._noise / width)
        return left, right
