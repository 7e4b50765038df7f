"""The slope of a function of one number at 0, from its values alone, with a bound on the error."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

STEP = 0.016  # less than the distance that domains keep from kinks, ties and jumps
HALVINGS = 5


class Slope(NamedTuple):
    value: float
    bound: float


def slope(phi: Callable[[float], float], scale: float) -> Slope:
    """Central differences of `phi` at 0, extrapolated to a step of 0, and a bound on the error.

    The error of a central difference is a series in the square of the step, so each halving of the step removes one
    more term (Richardson). What the last two extrapolations differ by bounds what is left of the series; rounding is
    bounded by the size `scale` of the terms that phi adds up.

    Reference: Ridders (1982), "Accurate computation of F'(x) and F'(x) F''(x)".
    """
    best = Slope(np.nan, np.inf)
    above: list[float] = []
    for k in range(HALVINGS):
        h = STEP / 2**k
        row = [(phi(h) - phi(-h)) / (2 * h)]
        rounding = 16 * np.finfo(np.float64).eps * scale / h
        for j, coarser in enumerate(above, start=1):
            row.append(row[-1] + (row[-1] - coarser) / (4**j - 1))
            series = max(abs(row[j] - row[j - 1]), abs(row[j] - coarser))
            if series + rounding < best.bound:
                best = Slope(row[j], series + rounding)
        above = row
    return best
