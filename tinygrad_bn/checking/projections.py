"""A scalar to differentiate: all results of a subject, or all its derivatives, weighted by fixed random numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_bn.autodiff.gradients import gradients
from tinygrad_bn.checking.subjects import Point, Subject
from tinygrad_bn.mode import frozen_state
from tinygrad_bn.tensors import Tensor

Part = tuple[int, NDArray[np.intp], NDArray[np.float64]]
_MEDIAN_OF_FOURTH_DIFFERENCE = 0.6745 * math.sqrt(math.comb(8, 4))  # of numbers drawn from the normal distribution


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
        return math.fsum(
            gradient[argument].reshape(-1)[elements] @ amounts for argument, elements, amounts in self.parts
        )


def scales(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far a step of 1 takes each element: by its size, a power of 2.

    That is at least a thousandth of the size of x on the whole, which also stands in for 0; and 1 if all of x is 0.
    """
    size = np.abs(x.reshape(-1))
    whole = math.sqrt(np.mean(np.square(size))) or 1.0
    return np.exp2(np.round(np.log2(np.where(size > 0, np.maximum(size, whole / 1000), whole))))


class Projection:
    """phi = sum of weights * results near the point of a subject; above another projection: of that one's gradient.

    The weights have random signs and sizes between .5 and 1.5, so that nothing cancels and nothing is too small to see.

    Attributes:
        point: the values of the arguments.
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
        terms = [float(np.linalg.norm(w * y)) for w, y in zip(self._weights, self._base, strict=True)]
        self.size = math.hypot(*terms)
        self._rounding = math.hypot(*(size * np.finfo(y.dtype).eps for size, y in zip(terms, self._base, strict=True)))
        self.gradient, self.used = self._pulled()
        again = [*self._values(self.point), *self._pulled()[0]]
        self.wavering = _difference([*self._base, *self.gradient], again)

    def _tensors(self, leaves: Sequence[Tensor], results: Sequence[Tensor]) -> Sequence[Tensor]:
        if self._below is None:
            return results
        found = self._below._swept(leaves, results, create_graph=True)
        return [Tensor(np.zeros(x.shape)) if g is None else g for g, x in zip(found, leaves, strict=True)]

    def _swept(self, leaves: Sequence[Tensor], results: Sequence[Tensor], *, create_graph: bool) -> Sequence[Any]:
        terms = self._tensors(leaves, results)
        found: Sequence[Any] = gradients(
            terms, leaves, grad_outputs=self._weights, create_graph=create_graph, allow_unused=True
        )
        return found

    def _values(self, point: Point) -> list[NDArray[Any]]:
        with frozen_state(), np.errstate(all="ignore"):
            return [term.value.copy() for term in self._tensors(*self._subject.run(point))]

    def _pulled(self) -> tuple[list[NDArray[np.float64]], list[bool]]:
        with frozen_state(), np.errstate(all="ignore"):
            found = self._swept(*self._subject.run(self.point), create_graph=False)
            used = [g is not None for g in found]
            pairs = zip(found, self.point, strict=True)
            return [np.zeros(x.shape) if g is None else np.array(g.value, np.float64) for g, x in pairs], used

    def change(self, line: Line, t: float) -> float:
        """phi(t) - phi(0) along a line. The results are subtracted first: those that stay put cancel exactly."""
        values = self._values(line.at(self.point, t))
        if [value.shape for value in values] != [value.shape for value in self._base]:
            return math.nan
        with np.errstate(all="ignore"):
            terms = zip(self._weights, values, self._base, strict=True)
            return float(sum(np.sum(w * (y - y_0)) for w, y, y_0 in terms))

    def noise(self, lines: Iterable[Line]) -> float:
        """How much phi wavers about a smooth function, at least by rounding: the calmest of the lines says.

        Fourth differences of values close together leave nothing of what is smooth, and few of them reach across a
        kink. Where nothing is left at all, the values may lie on one stair of a coarse function: then further apart.

        Reference: Moré and Wild (2011), Estimating computational noise.
        """
        wavering = []
        for line in lines:
            for spacing in (2.0**-20, 2.0**-14):
                values = [self.change(line, position * spacing) for position in range(1, 14)]
                typical = float(np.median(np.abs(np.diff(values, 4))))
                if typical > 0:
                    break
            wavering.append(typical / _MEDIAN_OF_FOURTH_DIFFERENCE)
        return max(self._rounding, min((w for w in wavering if math.isfinite(w)), default=0.0))


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
