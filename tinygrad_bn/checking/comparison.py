"""Both sides of a derivative, along lines through the inputs, and what to make of their difference."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from tinygrad_bn.checking.ladder import FIRST, RATIO, ROUNDING, RUNGS, Array, Ladder, Limit
from tinygrad_bn.checking.projections import Line, Projection, length, scales

Elements = NDArray[np.intp]
Which = NDArray[np.bool_]
VANISHING = 4.0
"""How many times the noise of phi a derivative may be that is nothing but the rounding of terms that cancel."""
CLEAR = 2.0**-10
"""What part of a derivative may be rounding if it is one and not what is left where terms cancel."""
WITHIN = np.cos(np.arange(9) * math.pi / 8 + 0.01)
"""Where within a secant the rules are asked: at both ends and between them, nowhere at the point itself."""


class Comparison:
    """The analytic and the numeric derivative along some lines, and the kind of verdict on each.

    A difference has to tell a derivative to `tolerance` times its own size: next to a much larger one, an error in it
    would not show. Two cases are let pass as OK, and counted: where the difference is that sharp next to the largest
    derivative and still shows the leading digits of this one; and where by the rules the derivative vanishes, and the
    numeric side sees nothing of it either. A derivative that is merely hidden by the rounding of phi does not vanish:
    one that does is the rounding of terms that cancel, or 0 where phi, moved further, has slopes that would be seen.

    Args:
        ladder: the changes of phi along the lines.
        noise: how much phi wavers along each.
        analytic: the derivatives along them, by the rules.
        tolerance: to what part of itself a derivative has to be right.
        scale: how large derivatives are here.
        usual: how large derivatives are along each line, if by the rules this one vanishes; 0 if it does not, and inf
            if it is the rounding of terms that cancel.
        largest: of an infinite derivative, up to what numeric value it is none that merely is too large for a number.

    Attributes:
        kinds: OK, KINK, NOISE or WRONG for each line.
        analytic, numeric, bound: both values, and by how much the second may be off.
        left, right: the one-sided slopes.
        known: whether an OK means right to `tolerance`; otherwise only in its leading digits, or that it vanishes.
        settled: where smaller steps would not tell more.
    """

    def __init__(
        self,
        ladder: Ladder,
        noise: Array,
        analytic: Array,
        tolerance: float,
        scale: float,
        usual: Array,
        largest: Array,
    ) -> None:
        self._ladder, self._tolerance = ladder, tolerance
        central, bend, gap = ladder.central(), ladder.bend(), ladder.gap()
        own = tolerance * np.fmax(np.abs(analytic), np.abs(central.value))
        unknown = np.isinf(central.bound) & ~np.isnan(analytic)
        unknown |= np.isinf(analytic) & (np.abs(central.value) > largest)
        agrees = unknown | (np.isfinite(analytic) & (np.abs(analytic - central.value) <= central.bound + own))
        self.known = ~unknown & (central.bound <= own)
        leading = central.bound <= math.sqrt(tolerance) * np.fmax(np.abs(analytic), np.abs(central.value))
        vanishes = (np.abs(analytic) <= VANISHING * noise) & (central.bound <= tolerance * usual)
        passed = ~unknown & (leading | vanishes) & (central.bound <= tolerance * scale)
        kinked = np.abs(bend.value) > bend.bound + own
        jumps = ~kinked & ~(agrees & self.known) & (np.abs(gap.value) > gap.bound)
        between, sharp = self._look_aside(analytic, kinked, central, bend, *ladder.sides(), scale)
        at_kink = (kinked | jumps) & sharp & between
        self.analytic = analytic
        self.numeric = np.where(at_kink, (self.left + self.right) / 2, central.value)
        self.bound = np.where(at_kink, self._apart, central.bound)
        choices = [at_kink, kinked & sharp | ~agrees, self.known | passed]
        self.kinds = np.select(choices, ["KINK", "WRONG", "OK"], "NOISE")
        size = np.where(kinked, np.abs(bend.value), np.maximum(np.abs(analytic), scale))
        fine = self.known | (passed & (ladder.rounding() >= central.bound / RATIO))
        self.settled = fine & (bend.bound <= math.sqrt(tolerance) * size) & (self.kinds != "WRONG")
        self._beside = kinked & sharp

    def _look_aside(
        self, analytic: Array, kinked: Which, central: Limit, bend: Limit, before: Limit, after: Limit, scale: float
    ) -> tuple[Which, Which]:
        """Find the one-sided slopes, and whether the analytic value lies between them, and whether they are clear."""
        self.left = np.where(kinked, central.value - bend.value / 2, before.value)
        self.right = np.where(kinked, central.value + bend.value / 2, after.value)
        self._apart = np.where(kinked, central.bound + bend.bound, before.bound + after.bound)
        size = np.fmax(np.abs(self.left), np.abs(self.right))
        slack = self._apart + self._tolerance * size
        low, high = np.minimum(self.left, self.right) - slack, np.maximum(self.left, self.right) + slack
        clear = self._apart <= math.sqrt(self._tolerance) * np.where(kinked, size, np.fmax(size, scale))
        return (low <= analytic) & (analytic <= high), clear

    def acquit(self, lines: Sequence[Line], slope: Callable[[Line, float], float]) -> None:
        """Call NOISE what is WRONG only if the steps taken resolve the function, where they do not by its own rules.

        By the mean value theorem the slope of a secant lies between the smallest and the largest derivative within it.
        So a wrong derivative is one that the rules, asked at several places within the smallest telling secant, keep
        away from its slope. Where their derivatives reach over it, the function may well do between the samples what
        they say.
        """
        steps, secants, off = self._ladder.telling(np.abs(self.analytic - self.numeric))
        for number in map(int, np.flatnonzero((self.kinds == "WRONG") & np.isfinite(self.analytic) & ~self._beside)):
            line, step, slack = lines[number], steps[number], off[number] + self._tolerance * abs(secants[number])
            if np.isnan(step) or explained(secants[number], slack, [slope(line, place * step) for place in WITHIN]):
                self.kinds[number] = "NOISE"


def explained(secant: float, slack: float, slopes: Sequence[float]) -> bool:
    """Whether slopes within a secant reach to its own, or vary so much that others between them may."""
    low, high = min(slopes), max(slopes)
    spread = high - low + slack
    return not (secant < low - spread or secant > high + spread)


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
        self._noise = projection.noise(self.direction(self._some(32)))
        self._steps = step * rng.integers(65, 128) / 128 / RATIO ** np.arange(RUNGS)

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
        share = 2.0 ** round(math.log2(elements.size) / 2)
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
        """Take smaller and smaller steps until every line is settled, or noise hides the rest."""
        samples = _Samples(self._projection, lines, self._noise)
        unsettled = np.arange(len(lines))
        for rung, step in enumerate(self._steps):
            samples.take(step, unsettled)
            if rung + 1 < FIRST:
                continue
            comparison = samples.compared(tolerance, self._scale)
            if rung + 1 == FIRST and not comparison.known.all():
                samples.look_closer(np.flatnonzero(~comparison.known))
                comparison = samples.compared(tolerance, self._scale)
            hidden = ROUNDING * samples.noise / step > math.sqrt(tolerance) * self._scale
            unsettled = np.flatnonzero(~comparison.settled & ~hidden)
            if not unsettled.size:
                break
        comparison.acquit(lines, self._projection.slope)
        return comparison


class _Samples:
    """What phi does along some lines at the steps taken so far.

    Attributes:
        noise: how much phi wavers along each line: as much as all results together, until one looks closer.
    """

    def __init__(self, projection: Projection, lines: Sequence[Line], wavering: Array) -> None:
        self._projection, self._lines, self._wavering = projection, lines, wavering
        self._analytic = np.array([line.slope(projection.gradient) for line in lines])
        residues = np.abs([[line.slope(residue) for line in lines] for residue in projection.residues])
        rounded = np.max(residues, axis=0) > CLEAR * np.abs(self._analytic)
        self._usual = np.where(rounded, math.inf, 0.0)
        self._largest = np.array([line.largest(projection.gradient) for line in lines])
        self._steps: list[float] = []
        self._up: list[Array] = []
        self._down: list[Array] = []
        self.noise = np.full(len(lines), length(wavering))

    def take(self, step: float, numbers: NDArray[np.intp]) -> None:
        """One more step, for the lines of these numbers."""
        for side, changes in ((step, self._up), (-step, self._down)):
            changes.append(np.full(len(self._lines), np.nan))
            changes[-1][numbers] = [self._projection.change(self._lines[number], side) for number in numbers]
        self._steps.append(step)

    def look_closer(self, numbers: NDArray[np.intp]) -> None:
        """Let only those results waver that depend on what the lines of these numbers move."""
        for number in numbers:
            moved, secant = self._projection.moved(self._lines[number])
            self.noise[number] = length(self._wavering[moved])
            if self._analytic[number] == 0:
                self._usual[number] = max(self._usual[number], secant)

    def compared(self, tolerance: float, scale: float) -> Comparison:
        """What the steps so far say."""
        ladder = Ladder(np.array(self._up), np.array(self._down), np.array(self._steps), self.noise)
        return Comparison(ladder, self.noise, self._analytic, tolerance, scale, self._usual, self._largest)
