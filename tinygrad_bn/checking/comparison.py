"""Both sides of a derivative, along lines through the inputs, and what to make of their difference."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tinygrad_bn.checking.ladder import FIRST, RATIO, ROUNDING, RUNGS, Array, Ladder, Limit
from tinygrad_bn.checking.projections import Line, Projection, scales

Elements = NDArray[np.intp]


class Comparison:
    """The analytic and the numeric derivative along some lines, and the kind of verdict on each.

    Args:
        ladder: the changes of phi along the lines.
        analytic: the derivatives along them, by the rules.
        tolerance: to what part of itself a derivative has to be right.
        scale: how large derivatives are here: smaller ones have to be known to `tolerance` times this only.

    Attributes:
        kinds: OK, KINK, NOISE or WRONG for each line.
        analytic, numeric, bound: both values, and by how much the second may be off.
        left, right: the one-sided slopes.
        settled: where smaller steps would not tell more.
    """

    def __init__(self, ladder: Ladder, analytic: Array, tolerance: float, scale: float) -> None:
        central, bend, gap = ladder.central(), ladder.bend(), ladder.gap()
        finite = np.isfinite(analytic)
        size = np.maximum(np.abs(np.where(finite, analytic, 0.0)), scale)
        central.prefer(analytic, tolerance, tolerance * size)
        own = tolerance * np.fmax(np.abs(analytic), np.abs(central.value))
        unknown = np.isinf(central.bound) & ~np.isnan(analytic)
        agrees = unknown | (finite & (np.abs(analytic - central.value) <= central.bound + own))
        precise = central.bound <= tolerance * size
        kinked = np.abs(bend.value) > bend.bound + own
        jumps = ~kinked & ~(agrees & precise) & (np.abs(gap.value) > gap.bound)
        between = self._look_aside(analytic, tolerance, kinked, central, bend, *ladder.sides())
        at_kink = (kinked | jumps) & between
        self.analytic = analytic
        self.numeric = np.where(at_kink, (self.left + self.right) / 2, central.value)
        self.bound = np.where(at_kink, self._apart, central.bound)
        self.kinds = np.select([at_kink, kinked | ~agrees, precise], ["KINK", "WRONG", "OK"], "NOISE")
        sharp = bend.bound <= math.sqrt(tolerance) * np.where(kinked, np.abs(bend.value), size)
        fine = precise & (central.bound <= own + tolerance * size / 1000)
        self.settled = fine & sharp & (self.kinds != "WRONG")

    def _look_aside(
        self,
        analytic: Array,
        tolerance: float,
        kinked: NDArray[np.bool_],
        central: Limit,
        bend: Limit,
        before: Limit,
        after: Limit,
    ) -> NDArray[np.bool_]:
        """Find the one-sided slopes, and whether the analytic value lies between them."""
        self.left = np.where(kinked, central.value - bend.value / 2, before.value)
        self.right = np.where(kinked, central.value + bend.value / 2, after.value)
        self._apart = np.where(kinked, central.bound + bend.bound, before.bound + after.bound)
        slack = self._apart + tolerance * np.fmax(np.abs(self.left), np.abs(self.right))
        low, high = np.minimum(self.left, self.right) - slack, np.maximum(self.left, self.right) + slack
        inside: NDArray[np.bool_] = (low <= analytic) & (analytic <= high)
        return inside


class Argument:
    """One argument near its point: compares the two sides along lines that move it.

    Attributes:
        size: the number of its elements.
        scales: how far a step of 1 takes each of them.
    """

    def __init__(
        self,
        projection: Projection,
        position: int,
        rng: np.random.Generator,
        *,
        step: float,
        tolerance: float,
    ) -> None:
        x = projection.point[position]
        self.size, self.scales = x.size, scales(x)
        self._projection, self._position, self._rng, self._tolerance = projection, position, rng, tolerance
        slopes = np.abs(projection.gradient[position].reshape(-1) * self.scales)
        self._scale = max(float(np.max(slopes[np.isfinite(slopes)], initial=0.0)), projection.size)
        self._noise = projection.noise([self.direction(self._some(32)) for _ in range(2)])
        steps = np.array([step / RATIO**rung for rung in range(RUNGS)])
        telling = int(np.sum(ROUNDING * self._noise / steps <= math.sqrt(tolerance) * self._scale))
        self._steps = steps[: max(telling, FIRST)]

    def _some(self, count: int) -> Elements:
        return np.sort(self._rng.permutation(self.size)[:count])

    def elements(self, most: int | None) -> Elements:
        """All elements, or as many drawn at random."""
        return np.arange(self.size) if most is None or most >= self.size else self._some(most)

    def direction(self, elements: Elements) -> Line:
        """A line that moves these elements at once, up or down at random."""
        signs = self._rng.choice((-1.0, 1.0), elements.size)
        return Line((self._position, elements, signs * self.scales[elements]))

    def along_elements(self, elements: Elements) -> Comparison:
        """The comparison for each of these elements."""
        return self._compared([Line((self._position, e, self.scales[e])) for e in elements[:, None]], self._tolerance)

    def along(self, line: Line) -> Comparison:
        """The comparison along one line, as sharp as it takes to see one element on it that is wrong."""
        ((_, elements, amounts),) = line.parts
        share = math.sqrt(elements.size)
        return self._compared([Line((self._position, elements, amounts / share))], self._tolerance / share)

    def along_directions(self, count: int) -> tuple[int, Elements]:
        """Along how many random directions that move all elements the sides agree; and which element is to blame.

        No element is, while none of them disagrees; a direction through a kink tells nothing.
        """
        agreed = 0
        for _ in range(count):
            line = self.direction(np.arange(self.size))
            (kind,) = self.along(line).kinds
            if kind == "WRONG":
                return agreed, self._culprit(line)
            agreed += kind == "OK"
        return agreed, np.arange(0)

    def _culprit(self, line: Line) -> Elements:
        """The element that is to blame where the sides disagree along a line: by halving."""
        ((_, elements, amounts),) = line.parts
        while elements.size > 1:
            halves = list(zip(np.array_split(elements, 2), np.array_split(amounts, 2), strict=True))
            compared = [self.along(Line((self._position, *half))) for half in halves]
            apart = [
                float(abs(c.analytic[0] - c.numeric[0]) * math.sqrt(e.size))
                for c, (e, _) in zip(compared, halves, strict=True)
            ]
            elements, amounts = halves[int(np.argmax(np.nan_to_num(apart, nan=np.inf)))]
        return elements

    def _compared(self, lines: Sequence[Line], tolerance: float) -> Comparison:
        """Take smaller and smaller steps until every line is settled."""
        analytic = np.array([line.slope(self._projection.gradient) for line in lines])
        up, down = np.full((2, len(self._steps), len(lines)), np.nan)
        unsettled = np.arange(len(lines))
        for rung, step in enumerate(self._steps):
            for number in map(int, unsettled):
                up[rung, number] = self._projection.change(lines[number], step)
                down[rung, number] = self._projection.change(lines[number], -step)
            if rung + 1 >= FIRST:
                seen = slice(rung + 1)
                ladder = Ladder(up[seen], down[seen], self._steps[seen], self._noise)
                comparison = Comparison(ladder, analytic, tolerance, self._scale)
                unsettled = np.flatnonzero(~comparison.settled)
                if not unsettled.size:
                    break
        return comparison
