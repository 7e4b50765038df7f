"""Slopes from values alone, with an error bound: differences on a ladder of steps, extrapolated to step 0."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RATIO = 4.0
"""Between one step of the ladder and the next."""
RUNGS = 12
"""Steps at most: the last is 2 ** -22 of the first."""
FIRST = 3
"""Steps before anything is concluded."""
ROUNDING = 8.0
"""By how many times its measured noise a value is allowed to be off."""


class Limit:
    """The limit of a quantity as the step goes to 0: Richardson's extrapolation over every window of steps.

    Each window of two steps or more gives a value, and as its bound twice the larger change that the last extrapolation
    made, plus what rounding may do at the window's smallest step. The window with the smallest bound is taken: where
    a kink lies near by, that is one whose steps do not reach it.

    Args:
        samples: the quantity, of shape (steps, lines); nan where it is not known.
        powers: of the step in its expansion.
        rounding: what rounding may do to it, of shape (steps, 1).

    Attributes:
        value, bound: of the window taken, of shape (lines,); where none is known, nan and inf.

    Reference: Ridders (1982), Accurate computation of F'(x) and F'(x)F''(x).
    """

    def __init__(self, samples: Array, powers: Sequence[int], rounding: Array) -> None:
        values, bounds = [], []
        finer = samples
        for power in powers[: len(samples) - 1]:
            coarser, factor = finer, RATIO**power
            finer = (factor * coarser[1:] - coarser[:-1]) / (factor - 1)
            change = np.maximum(np.abs(finer - coarser[1:]), np.abs(finer - coarser[:-1]))
            values.append(finer)
            bounds.append(2 * change + rounding[-len(finer) :])
        self._values = np.concatenate(values)
        self._bounds = np.nan_to_num(np.concatenate(bounds), nan=np.inf)
        self._take(np.argmin(self._bounds, axis=0))

    def _take(self, window: NDArray[np.intp]) -> None:
        self._window = window
        self.bound = np.take_along_axis(self._bounds, window[None], 0)[0]
        value = np.take_along_axis(self._values, window[None], 0)[0]
        self.value = np.where(np.isfinite(self.bound), value, np.nan)

    def prefer(self, target: Array, tolerance: float, precise: Array) -> None:
        """Take a window that has the target within its bound, if it is `precise` and contradicts the one taken.

        Steps that reach across a kink very near by can agree with each other better than those that do not.
        """
        slack = tolerance * np.maximum(np.abs(self._values), np.abs(target))
        holds = np.abs(self._values - target) <= self._bounds + slack
        contradicts = np.abs(self._values - self.value) > self._bounds + self.bound
        fits = holds & contradicts & (self._bounds <= precise)
        window = np.argmin(np.where(fits, self._bounds, np.inf), axis=0)
        self._take(np.where(fits.any(axis=0), window, self._window))


class Ladder:
    """What some functions phi(t) do near t = 0, from their changes phi(+-step) - phi(0).

    Args:
        up, down: the changes, of shape (steps, lines); nan where they were not taken.
        steps: each a quarter of the one before.
        noise: how much a value of phi wavers.
    """

    def __init__(self, up: Array, down: Array, steps: Array, noise: float) -> None:
        self._up, self._down, self._steps, self._noise = up, down, steps[:, None], ROUNDING * noise

    def central(self) -> Limit:
        """The derivative: the limit of (phi(h) - phi(-h)) / 2h, which has even powers of h only."""
        return Limit((self._up - self._down) / (2 * self._steps), (2, 4, 6), self._noise / self._steps)

    def bend(self) -> Limit:
        """The slope on the right less that on the left: the limit of (phi(h) - 2 phi(0) + phi(-h)) / h."""
        return Limit((self._up + self._down) / self._steps, (1, 3, 5), 2 * self._noise / self._steps)

    def gap(self) -> Limit:
        """The value on the right less that on the left: the limit of phi(h) - phi(-h)."""
        return Limit(self._up - self._down, (1, 3, 5), self._noise * np.ones_like(self._steps))

    def sides(self) -> tuple[Limit, Limit]:
        """The slopes on the left and on the right, where phi may jump at 0: from values on that side alone."""
        width = self._steps[:-1] - self._steps[1:]
        left = Limit(-(self._down[:-1] - self._down[1:]) / width, (1, 2, 3), self._noise / width)
        right = Limit((self._up[:-1] - self._up[1:]) / width, (1, 2, 3), self._noise / width)
        return left, right
