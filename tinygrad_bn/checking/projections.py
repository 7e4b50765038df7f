"""A scalar to differentiate: all results of a subject, or all its derivatives, weighted by fixed random numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_bn.autodiff.gradients import gradients
from tinygrad_bn.checking.subjects import Point, Subject
from tinygrad_bn.mode import frozen_state
from tinygrad_bn.tensors import Tensor

Part = tuple[int, NDArray[np.intp], NDArray[np.float64]]
SPACINGS = (177 * 2.0**-30, 177 * 2.0**-21)
"""Between values that tell the noise. An odd multiple of small powers of 2, which float32 numbers are multiples of."""
TINY = 2.0**-1022
FAR = (1.0, 32.0, 1024.0, -1024.0, 2.0**300)
"""How far an argument is moved to see which results depend on it."""
OTHERS = 6
"""Other weights under which the rules are asked, to see what of their answers is rounding."""
_LARGEST = 900
_ORDERS = (4, 6, 8)
_USUAL = [math.sqrt(math.comb(2 * order, order) * 2 / math.pi) for order in _ORDERS]  # of normal numbers' differences


class Line:
    """x + t * d. Each part of the direction d says which argument, which of its elements, and how far they go."""

    def __init__(self, *parts: Part) -> None:
        self.parts = parts

    def at(self, point: Point, t: float) -> Point:
        """The point at t."""
        moved = list(point)
        for argument, elements, amounts in self.parts:
            moved[argument] = moved[argument].copy()
            moved[argument].reshape(-1)[elements] += t * amounts
        return moved

    def slope(self, gradient: Sequence[NDArray[np.float64]]) -> float:
        """The derivative along the line that a gradient amounts to."""
        parts = (gradient[argument].reshape(-1)[elements] @ amounts for argument, elements, amounts in self.parts)
        return float(sum(parts))

    def largest(self, gradient: Sequence[NDArray[np.float64]]) -> float:
        """The derivative up to which that by its elements is a number; -1 where it is, and none along the line only."""
        if all(np.isfinite(gradient[argument].reshape(-1)[elements]).all() for argument, elements, _ in self.parts):
            return -1.0
        return min(float(np.min(np.abs(amounts))) for _, _, amounts in self.parts) * (np.finfo(float).max / 16)


def length(x: NDArray[np.float64]) -> float:
    """sqrt(sum(x * x)), of numbers so large or small too that their squares are none."""
    largest = float(np.max(np.abs(x), initial=0.0))
    return largest * float(np.linalg.norm(x / largest)) if 0 < largest < math.inf else largest


def scales(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far a step of 1 takes each element: by its size, a power of 2.

    That is at least a thousandth of the size of x on the whole, which also stands in for 0; and 1 if all of x is 0. It
    is never so small that small parts of it underflow.
    """
    size = np.abs(x.reshape(-1))
    whole = length(size) / math.sqrt(size.size) or 1.0
    return np.exp2(np.round(np.log2(np.maximum(np.where(size > 0, np.maximum(size, whole / 1000), whole), TINY))))


class Projection:
    """phi = sum of weights * results near the point of a subject; above another projection: of that one's gradient.

    The weights have random signs and sizes between .5 and 1.5, so that nothing cancels and nothing is too small to see.

    Attributes:
        point: the values of the arguments.
        unit: by what power of 2 the weights are less than said, so that nothing overflows that need not; mostly 1.
        size: how large phi is, that is the length of the vector of its terms.
        gradient: the analytic derivative by each argument; zero where there is none.
        used: for each argument, whether the graph connects it with the results.
        wavering: the largest difference between two runs at the same point; 0 for a function.
    """

    def __init__(self, subject: Subject, below: Projection | None, rng: np.random.Generator) -> None:
        self._subject, self._below, self.point = subject, below, subject.point
        self._base = self._values(self.point)
        self._weights = [
            rng.choice((-1.0, 1.0), value.shape) * rng.uniform(0.5, 1.5, value.shape) for value in self._base
        ]
        _refuse_nonfinite(self._base)
        self.unit = _power_of_two([w * y / 2 for w, y in zip(self._weights, self._base, strict=True)])
        self._weights = [w * self.unit for w in self._weights]
        terms = np.abs(self._weighted(self._base))
        self.size = length(terms)
        coarseness = [np.full(y.size, np.finfo(y.dtype).eps) for y in self._base]
        self._rounding = terms * np.concatenate(coarseness)
        self.gradient, self.used = self._pulled(self.point)
        again = [*self._values(self.point), *self._pulled(self.point)[0]]
        self.wavering = _difference([*self._base, *self.gradient], again)

    def _tensors(self, leaves: Sequence[Tensor], results: Sequence[Tensor]) -> Sequence[Tensor]:
        if self._below is None:
            return results
        found = self._below._swept(leaves, results, create_graph=True)
        return [Tensor(np.zeros(x.shape)) if g is None else g for g, x in zip(found, leaves, strict=True)]

    def _swept(
        self, leaves: Sequence[Tensor], results: Sequence[Tensor], *, weights: Any = None, create_graph: bool
    ) -> Sequence[Any]:
        terms = self._tensors(leaves, results)
        weights = self._weights if weights is None else weights
        found: Sequence[Any] = gradients(
            terms, leaves, grad_outputs=weights, create_graph=create_graph, allow_unused=True
        )
        return found

    def _values(self, point: Point) -> list[NDArray[Any]]:
        with frozen_state(), np.errstate(all="ignore"):
            return [term.value.copy() for term in self._tensors(*self._subject.run(point))]

    def _pulled(self, point: Point, weights: Any = None) -> tuple[list[NDArray[np.float64]], list[bool]]:
        with frozen_state(), np.errstate(all="ignore"):
            found = self._swept(*self._subject.run(point), weights=weights, create_graph=False)
            used = [g is not None for g in found]
            pairs = zip(found, self.point, strict=True)
            return [np.zeros(x.shape) if g is None else np.array(g.value, np.float64) for g, x in pairs], used

    def _weighted(self, values: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
        return np.concatenate([(w * y).reshape(-1) for w, y in zip(self._weights, values, strict=True)])

    def _changes(self, line: Line, t: float) -> NDArray[np.float64]:
        """What each term of phi gains from 0 to t; nan where the results have other shapes."""
        values = self._values(line.at(self.point, t))
        if [value.shape for value in values] != [value.shape for value in self._base]:
            return np.full(self._rounding.size, math.nan)
        with np.errstate(all="ignore"):
            return self._weighted([y - y_0 for y, y_0 in zip(values, self._base, strict=True)])

    def change(self, line: Line, t: float) -> float:
        """phi(t) - phi(0) along a line. The results are subtracted first: those that stay put cancel exactly."""
        return float(np.sum(self._changes(line, t)))

    def moved(self, line: Line) -> tuple[NDArray[np.bool_], float]:
        """Which results depend on what a line moves, and the slope of phi over the first move that tells in it.

        A small move may drown in their rounding, a large one does not.
        """
        moved, secant = np.zeros(self._rounding.size, bool), 0.0
        for t in FAR:
            changes = self._changes(line, t)
            moved |= changes != 0
            if not secant and math.isfinite(change := float(np.sum(changes))):
                secant = abs(change / t)
        return moved, secant

    def slope(self, line: Line, t: float) -> float:
        """The derivative at t along a line, by the rules."""
        return line.slope(self._pulled(line.at(self.point, t))[0])

    @cached_property
    def residues(self) -> list[list[NDArray[np.float64]]]:
        """By how much `gradient` is not linear in the weights: nothing for a derivative, but for its rounding.

        What is left where terms cancel is rounding alone, and this is as large as it.
        """
        rng = np.random.default_rng(0)
        found = []
        for _ in range(OTHERS):
            others = [w * rng.choice((-1.0, 1.0), w.shape) * rng.uniform(0.5, 1.0, w.shape) for w in self._weights]
            between = [w / 2 + other / 2 for w, other in zip(self._weights, others, strict=True)]
            answers = [self.gradient, *(self._pulled(self.point, weights)[0] for weights in (others, between))]
            found.append([middle - g / 2 - other / 2 for g, other, middle in zip(*answers, strict=True)])
        return found

    def noise(self, line: Line) -> NDArray[np.float64]:
        """How much the term of each result wavers about a smooth function: what the calmer side of 0 says, or rounding.

        High differences of values close together leave nothing of what is smooth, and few of them reach across a kink;
        what wavers is as large in the differences of one order as in those of another. Where nothing is left at all,
        the values may lie on one stair of a coarse function: then further apart. A result that has no values there
        wavers without limit, and one that does not move along the line relative to its size as the others do.

        Reference: Moré and Wild (2011), Estimating computational noise.
        """
        calmest = np.full(self._rounding.size, math.inf)
        for side in (1, -1):
            typical = np.zeros(self._rounding.size)
            for spacing in SPACINGS:
                values = np.array([self._changes(line, side * position * spacing) for position in range(1, 16)])
                typical = np.where(typical == 0, _typical(values), typical)
                if typical.all():
                    break
            calmest = np.fmin(calmest, typical)
        heard = (calmest > 0) & np.isfinite(calmest) & (self._rounding > 0)
        if heard.any():
            calmest[calmest == 0] = (self._rounding * np.median((calmest / self._rounding)[heard]))[calmest == 0]
        wavering: NDArray[np.float64] = np.maximum(self._rounding, calmest)
        return wavering


def _typical(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """By how much the values of each column waver, by their differences of several orders; nan where one is missing."""
    with np.errstate(all="ignore"):
        spreads = [np.mean(np.abs(np.diff(values, order, axis=0)), axis=0) for order in _ORDERS]
    found: NDArray[np.float64] = np.min([s / usual for s, usual in zip(spreads, _USUAL, strict=True)], axis=0)
    return found


def _power_of_two(terms: Sequence[NDArray[Any]]) -> float:
    """1, or what brings terms so large that their slopes might overflow down to where they do not."""
    largest = max((float(np.max(np.abs(term))) for term in terms if term.size), default=0.0)
    return 2.0 ** min(0, _LARGEST - math.frexp(largest)[1])


def _refuse_nonfinite(values: Sequence[NDArray[Any]]) -> None:
    bad = sum(int(value.size - np.isfinite(value).sum()) for value in values)
    if bad:
        raise FloatingPointError(
            f"a check of gradients expects finite results at the inputs; {bad} elements are not. "
            "tg.debug() names the operation that made the first of them"
        )


def _difference(first: Sequence[NDArray[Any]], second: Sequence[NDArray[Any]]) -> float:
    """The largest difference between the arrays of two runs; inf where not even the shapes agree."""
    if [a.shape for a in first] != [b.shape for b in second]:
        return math.inf
    with np.errstate(all="ignore"):
        unlike = [np.abs(a - b)[(a != b) & ~(np.isnan(a) & np.isnan(b))] for a, b in zip(first, second, strict=True)]
    return float(np.nan_to_num(np.max(np.concatenate([*unlike, [0.0]])), nan=np.inf))
