"""By what factor a quantity changes from layer to layer, and how well a number of layers can tell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np


class Trend(NamedTuple):
    """A factor per step, with the interval that holds it with a confidence of 95%.

    Attributes:
        factor: per step; NaN where there are not two values.
        low, high: the interval; from 0 to infinity where there are not three values.
        total: the last value, relative to the first.
    """

    factor: float
    low: float
    high: float
    total: float

    @property
    def is_steady(self) -> bool:
        """Whether the interval leaves 1 out: the values do not only differ, they grow or fall from step to step."""
        return self.low > 1 or self.high < 1


def trend(values: Sequence[float]) -> Trend:
    """The slope of the regression of log(values) on their position, as a factor.

    The deviations are those of a product: each step brings its own, and all later values inherit it. So the interval
    takes the logarithms' *differences* as independent, not the logarithms themselves, for which it would be far too
    narrow: the slope is their mean with weights that are largest in the middle.
    """
    usable = len(values) > 1 and all(0 < value < math.inf for value in values)
    if not usable:
        return Trend(math.nan, 0.0, math.inf, values[-1] / values[0] if len(values) > 1 and values[0] else math.nan)
    steps = np.diff(np.log(values))
    n = len(steps)
    weights = np.arange(1, n + 1) * np.arange(n, 0, -1.0)  # what least squares gives to the steps
    weights /= weights.sum()
    slope, total = float(weights @ steps), float(steps.sum())
    if n == 1:
        return Trend(math.exp(slope), 0.0, math.inf, math.exp(total))
    reach = _student(n - 1) * float(steps.std(ddof=1)) * math.sqrt(weights @ weights)
    return Trend(*(_exp(log) for log in (slope, slope - reach, slope + reach, total)))


def _exp(log: float) -> float:
    return math.exp(log) if log < 700 else math.inf


_NORMAL: Final = 1.959963984540054  # the 97.5% quantile of the normal distribution


def _student(freedom: int) -> float:
    """The 97.5% quantile of Student's t distribution.  Reference: Abramowitz and Stegun (1964), 26.7.5."""
    if freedom <= 2:
        return (12.706, 4.303)[freedom - 1]
    z, n = _NORMAL, freedom
    terms = (
        z,
        (z**3 + z) / (4 * n),
        (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2),
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3),
    )
    return sum(terms)
