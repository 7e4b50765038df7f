"""What a comparison has found, and how the figures relate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Figures:
    """One contender in one case, in the suite's unit.

    Attributes:
        contender: its name.
        rounds: the median of each round.
        best: the fastest tenth percentile of any round.
        losses: of the first steps; empty where nothing is trained.
    """

    contender: str
    rounds: list[float]
    best: float
    losses: list[float]

    @property
    def median(self) -> float:
        """Of the rounds' medians."""
        return median(self.rounds)


def ratio(one: Figures, other: Figures) -> tuple[float, float]:
    """How many times as long one takes: the median over the rounds, and that of the best."""
    pairs = zip(one.rounds, other.rounds, strict=True)
    return median(_quotient(*pair) for pair in pairs), _quotient(one.best, other.best)


def fastest(figures: Sequence[Figures], names: Sequence[str]) -> Figures | None:
    """The fastest of those named that took part."""
    return min((entry for entry in figures if entry.contender in names), key=lambda entry: entry.median, default=None)


def _quotient(one: float, other: float) -> float:
    return one / other if other else float("nan")
