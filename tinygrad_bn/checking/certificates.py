"""What a check of gradients found: a verdict for each argument, and the certificate that holds them."""

from __future__ import annotations

import math
import os
from typing import Any, Literal, TypeAlias

from tinygrad_bn.errors import GradientError
from tinygrad_bn.files import picture

Kind: TypeAlias = Literal["OK", "UNUSED", "KINK", "NOISE", "NONDETERMINISTIC", "WRONG"]

MEANING: dict[Kind, str] = {
    "OK": "both sides agree",
    "UNUSED": "the results do not depend on it, and both sides say so",
    "KINK": "the function has a kink or a jump there, and the analytic value lies between the one-sided slopes",
    "NOISE": "the numeric side is too coarse to tell: is something computed in float32, or without a value near by?",
    "NONDETERMINISTIC": "two runs at the same inputs differ: draw random numbers through tg (seed=, rng=), change "
    "nothing in place",
    "WRONG": "the two sides disagree by more than the numeric side may be off",
}
"""What each kind of verdict says, the best first. The first three are good."""

UNKNOWN = "{} elements are small next to others, or vanish: both sides agree, but not known to {:g} of themselves"
"""What is said of elements that are OK and yet not known to the tolerance."""

SEVERITY = {kind: position for position, kind in enumerate(MEANING)}
_SMALLEST = 1e-18
_NUMBERS = ("analytic", "numeric", "bound")


class Verdict:
    """What is known of the derivative by one argument: the worst of its elements, and how many were looked at.

    Attributes:
        kind: OK, UNUSED, KINK, NOISE, NONDETERMINISTIC or WRONG; see `MEANING`.
        order: of the derivative.
        element: the index of the element that the numbers are of; None where two runs differ.
        analytic, numeric: its derivative by the rules and by differences, of a weighted sum of all results.
        bound: by how much the numeric value may be off; where two runs differ, by how much they do.
        slopes: at a kink, the derivatives on the left and on the right.
        found: how many of the elements looked at have this verdict.
        unknown: how many of the elements that are OK are not known to the tolerance: the numeric side sees no more than
            their leading digits, next to larger derivatives; or they vanish, and it sees only that they are small.
        checked, size: how many elements were looked at one by one, and how many there are.
        directions: along how many random directions that move all of the elements both sides agreed as well.
    """

    def __init__(
        self,
        kind: Kind,
        order: int,
        *,
        element: tuple[int, ...] | None = None,
        analytic: float = math.nan,
        numeric: float = math.nan,
        bound: float = math.inf,
        slopes: tuple[float, float] | None = None,
        found: int = 0,
        unknown: int = 0,
        checked: int = 0,
        size: int = 0,
        directions: int = 0,
    ) -> None:
        self.kind, self.order, self.element = kind, order, element
        self.analytic, self.numeric, self.bound, self.slopes = analytic, numeric, bound, slopes
        self.found, self.unknown, self.checked, self.size = found, unknown, checked, size
        self.directions = directions

    @property
    def good(self) -> bool:
        """Whether nothing speaks against the derivative: OK, UNUSED or KINK."""
        return self.kind in ("OK", "UNUSED", "KINK")

    @property
    def severity(self) -> int:
        """0 for the best kind of verdict, and so on."""
        return SEVERITY[self.kind]

    def or_worse(self, other: Verdict) -> Verdict:
        """The worse of the two, which keeps in mind how many elements the other does not know."""
        worse = max(self, other, key=lambda verdict: verdict.severity)
        worse.unknown = max(self.unknown, other.unknown)
        return worse

    def __bool__(self) -> bool:
        return self.good

    def __repr__(self) -> str:
        numbers = ", ".join(f"{name}={getattr(self, name):.10g}" for name in _NUMBERS)
        return f"Verdict({self.kind}, element={self.element}, {numbers})"

    def to_dict(self) -> dict[str, Any]:
        """All fields, as plain values."""
        return dict(vars(self))


class Certificate:
    """The report of `gradcheck`: true when every verdict is good.

    Attributes:
        verdicts: by the name of an argument, or by a parameter's path.
        skipped: the arguments that were not differentiated, and why.
        order: up to which derivatives were asked for.
        tolerance: to what part of itself a derivative has to be right.
        seed: of the weights, and of the choice of elements and directions.
        runs: how often the function was run.
    """

    def __init__(
        self,
        verdicts: dict[str, Verdict],
        skipped: dict[str, str],
        *,
        order: int,
        tolerance: float,
        seed: int,
        runs: int,
    ) -> None:
        self.verdicts, self.skipped = verdicts, skipped
        self.order, self.tolerance, self.seed, self.runs = order, tolerance, seed, runs

    def __bool__(self) -> bool:
        return all(self.verdicts.values())

    def __str__(self) -> str:
        heads = ("argument", "verdict", "order", "element", "analytic", "numeric", "+-", "checked")
        rows = [heads, *(_row(name, verdict) for name, verdict in self.verdicts.items())]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        kinds = sorted({verdict.kind for verdict in self.verdicts.values()} - {"OK"}, key=list(MEANING).index)
        notes = [f"{kind}: {MEANING[kind]}" for kind in kinds]
        unknown = {name: verdict.unknown for name, verdict in self.verdicts.items() if verdict.unknown}
        notes += [f"{name}: {UNKNOWN.format(count, self.tolerance)}" for name, count in unknown.items()]
        notes += [f"not differentiated: {name} ({why})" for name, why in self.skipped.items()]
        said = "good" if self else "NOT GOOD"
        but = f" but for {sum(unknown.values())} elements" if unknown else ""
        last = f"{said} to {self.tolerance:g}{but}, order {self.order}, seed {self.seed}, {self.runs} runs"
        return "\n".join([*lines, *notes, last])

    __repr__ = __str__

    def raise_if_wrong(self) -> None:
        """Return quietly if every verdict is good.

        Raises:
            GradientError: one is not; the message names the argument, the element, both values and the bound.
        """
        bad = [(name, verdict) for name, verdict in self.verdicts.items() if not verdict]
        if bad:
            raise GradientError("\n".join(_complaint(*pair) for pair in bad) + f"\n\n{self}")

    def to_dict(self) -> dict[str, Any]:
        """All fields, as plain values."""
        return {**vars(self), "verdicts": {name: verdict.to_dict() for name, verdict in self.verdicts.items()}}

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw, for each argument, how far apart the two sides are and the bound, as .svg, .png or .pdf.

        Raises:
            ModuleNotFoundError: matplotlib is not installed.
        """
        with picture(path, 7, 1.2 + 0.35 * len(self.verdicts)) as figure:
            axes = figure.add_subplot(xscale="log", xlabel="difference of the two sides (dot), bound (bar)")
            for row, (name, verdict) in enumerate(self.verdicts.items()):
                color = "tab:green" if verdict else "tab:red"
                axes.plot([_SMALLEST, _drawn(verdict.bound)], [row, row], color="0.75", linewidth=6)
                axes.plot(_drawn(abs(verdict.analytic - verdict.numeric)), row, "o", color=color)
                axes.annotate(f" {name}: {verdict.kind}", (_SMALLEST, row), xytext=(0, 5), textcoords="offset points")
            axes.set_ylim(len(self.verdicts) - 0.3, -0.8)
            axes.set_yticks([])


def _drawn(size: float) -> float:
    """A size on a logarithmic axis, where it has to end somewhere; nan is drawn nowhere."""
    return min(max(size, _SMALLEST), 1 / _SMALLEST) if size == size else size


def _row(name: str, verdict: Verdict) -> tuple[str, ...]:
    element = "" if verdict.element is None else str(verdict.element)
    numeric = "{:.6g} | {:.6g}".format(*verdict.slopes) if verdict.slopes else f"{verdict.numeric:.10g}"
    checked = f"{verdict.checked} of {verdict.size}"
    if verdict.directions:
        checked += f", {verdict.directions} directions of all"
    numbers = (f"{verdict.analytic:.10g}", numeric, f"{verdict.bound:.1e}")
    return name, verdict.kind, str(verdict.order), element, *numbers, checked


def _complaint(name: str, verdict: Verdict) -> str:
    what = f"the derivative of order {verdict.order} by {name}" if verdict.order > 1 else f"the derivative by {name}"
    if verdict.kind == "NONDETERMINISTIC":
        return f"{what} cannot be checked: {MEANING[verdict.kind]}; they are {verdict.bound:.3g} apart"
    where = f"element {verdict.element}: analytic {verdict.analytic:.10g}, numeric {verdict.numeric:.10g}"
    bounded = f"{where} +- {verdict.bound:.1e}"
    if verdict.kind == "WRONG":
        return f"{what} is wrong at {bounded} ({verdict.found} of {verdict.checked} elements looked at are wrong)"
    return f"{what} cannot be checked at {bounded}; {MEANING[verdict.kind]}"
