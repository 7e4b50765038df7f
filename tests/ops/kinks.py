"""The published rule for kinks and ties: which derivative a function has where it has none, or several.

This table is the one place that says so. The tests hold the code to it, and docs/semantics.md prints it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf, nan
from typing import Any

SELU = 1.0507009873554804934193349852946 * 1.6732632423543772848170429916717


@dataclass(frozen=True)
class Kink:
    """At the point `at`, the sum of what `expression` gives has the derivatives `derivative`, one per name.

    `torch` is the same expression in PyTorch; `theirs` its derivatives, where they differ.
    """

    expression: str
    at: dict[str, Any]
    derivative: dict[str, Any]
    torch: str
    theirs: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.expression} at {said(self.at)}"

    def row(self) -> str:
        """The line of the table in docs/semantics.md."""
        peer = said(self.theirs, "d") if self.theirs else "same"
        return f"| `{self.expression}` | `{said(self.at)}` | `{said(self.derivative, 'd')}` | {peer} |"


def said(values: dict[str, Any], prefix: str = "") -> str:
    return ", ".join(f"{prefix}{name} = {_number(value)}" for name, value in values.items())


def _number(value: Any) -> str:
    return f"[{', '.join(map(_number, value))}]" if isinstance(value, list) else f"{value:.6g}"


BRANCHES = "At 0 a piecewise activation takes its x <= 0 branch"

RULES = {
    BRANCHES: [
        Kink("relu(x)", {"x": 0.0}, {"x": 0.0}, "F.relu(x)"),
        Kink("leaky_relu(x)", {"x": 0.0}, {"x": 0.3}, "F.leaky_relu(x, 0.3)"),
        Kink("prelu(x, alpha)", {"x": 0.0, "alpha": 0.25}, {"x": 0.25, "alpha": 0.0}, "F.prelu(x, alpha)"),
        Kink("rrelu(x, training=False)", {"x": 0.0}, {"x": 11 / 48}, "F.rrelu(x)"),
        Kink("elu(x)", {"x": 0.0}, {"x": 1.0}, "F.elu(x)"),
        Kink("elu(x, alpha=0.5)", {"x": 0.0}, {"x": 0.5}, "F.elu(x, 0.5)"),
        Kink("selu(x)", {"x": 0.0}, {"x": SELU}, "F.selu(x)"),
        Kink("celu(x, alpha=0.5)", {"x": 0.0}, {"x": 1.0}, "F.celu(x, 0.5)"),
        Kink("softsign(x)", {"x": 0.0}, {"x": 1.0}, "F.softsign(x)"),
        Kink("hard_sigmoid(x)", {"x": -3.0}, {"x": 0.0}, "F.hardsigmoid(x)"),
        Kink("hard_sigmoid(x)", {"x": 3.0}, {"x": 0.0}, "F.hardsigmoid(x)"),
    ],
    "Distances from 0 have derivative 0 there": [
        Kink("abs(x)", {"x": 0.0}, {"x": 0.0}, "torch.abs(x)"),
        Kink("norm(x)", {"x": [0.0, 0.0]}, {"x": [0.0, 0.0]}, "torch.linalg.norm(x)"),
        Kink("norm(x, 1)", {"x": [0.0, 2.0]}, {"x": [0.0, 1.0]}, "torch.linalg.norm(x, 1)"),
        Kink("norm(x, inf)", {"x": [0.0, 0.0]}, {"x": [0.0, 0.0]}, "torch.linalg.norm(x, inf)"),
        Kink("norm(x, inf)", {"x": [2.0, -2.0]}, {"x": [0.5, -0.5]}, "torch.linalg.norm(x, inf)"),
        Kink("std(x)", {"x": [2.0, 2.0]}, {"x": [0.0, 0.0]}, "torch.std(x, correction=0)"),
        Kink("var(x)", {"x": [2.0, 2.0]}, {"x": [0.0, 0.0]}, "torch.var(x, correction=0)"),
    ],
    "Ties share evenly": [
        Kink("maximum(x, y)", {"x": 1.0, "y": 1.0}, {"x": 0.5, "y": 0.5}, "torch.maximum(x, y)"),
        Kink("minimum(x, y)", {"x": 1.0, "y": 1.0}, {"x": 0.5, "y": 0.5}, "torch.minimum(x, y)"),
        Kink("maximum(x, 0)", {"x": 0.0}, {"x": 0.5}, "torch.maximum(x, 0 * x.detach())"),
        Kink("max(x)", {"x": [1.0, 3.0, 3.0]}, {"x": [0.0, 0.5, 0.5]}, "torch.amax(x)"),
        Kink("min(x)", {"x": [1.0, 1.0, 1.0]}, {"x": [1 / 3, 1 / 3, 1 / 3]}, "torch.amin(x)"),
    ],
    "Where NaN has won nobody gets the derivative, for NaN is equal to nothing": [
        Kink("max(x)", {"x": [nan, 1.0, 2.0]}, {"x": [0.0, 0.0, 0.0]}, "torch.amax(x)", {"x": [nan, nan, nan]}),
        Kink("min(x)", {"x": [nan, 1.0, 2.0]}, {"x": [0.0, 0.0, 0.0]}, "torch.amin(x)", {"x": [nan, nan, nan]}),
    ],
    "`clip` passes the derivative at its bounds": [
        Kink("clip(x, -1, 1)", {"x": -1.0}, {"x": 1.0}, "torch.clip(x, -1, 1)"),
        Kink("clip(x, -1, 1)", {"x": 1.0}, {"x": 1.0}, "torch.clip(x, -1, 1)"),
        Kink("clip(x, a_min=0)", {"x": 0.0}, {"x": 1.0}, "torch.clip(x, 0)"),
        Kink("clip(x, 1, -1)", {"x": 0.0}, {"x": 0.0}, "torch.clip(x, 1, -1)"),
    ],
    "`prod` is right with zeros among the factors": [
        Kink("prod(x)", {"x": [2.0, 0.0, 3.0]}, {"x": [0.0, 6.0, 0.0]}, "torch.prod(x)"),
        Kink("prod(x)", {"x": [0.0, 0.0, 3.0]}, {"x": [0.0, 0.0, 0.0]}, "torch.prod(x)"),
    ],
    "Powers at 0: one-sided limits, and 0 where the limit would be no number": [
        Kink("sqrt(x)", {"x": 0.0}, {"x": inf}, "torch.sqrt(x)"),
        Kink("power(x, 2)", {"x": 0.0}, {"x": 0.0}, "x**2"),
        Kink("power(x, 1)", {"x": 0.0}, {"x": 1.0}, "x**1"),
        Kink("power(x, 0)", {"x": 0.0}, {"x": 0.0}, "x**0"),
        Kink("power(x, 0)", {"x": 1e-40}, {"x": 0.0}, "x**0"),
        Kink("power(x, 0.5)", {"x": 0.0}, {"x": inf}, "x**0.5"),
        Kink("power(x, y)", {"x": 0.0, "y": 2.0}, {"x": 0.0, "y": 0.0}, "x**y"),
        Kink("power(x, y)", {"x": 0.0, "y": 0.0}, {"x": 0.0, "y": 0.0}, "x**y"),
        Kink("power(x, y)", {"x": 0.0, "y": -1.0}, {"x": -inf, "y": -inf}, "x**y"),
        Kink("power(x, y)", {"x": 2.0, "y": 0.0}, {"x": 0.0, "y": 0.6931471805599453}, "x**y"),
    ],
    "The branch that `where` does not take gets 0; guard its argument, for 0 * inf is no number": [
        Kink("where(x > 1, x, 2 * x)", {"x": [1.0, 2.0]}, {"x": [2.0, 1.0]}, "torch.where(x > 1, x, 2 * x)"),
        Kink("where(x > 0, sqrt(x), 0.0)", {"x": 0.0}, {"x": nan}, "torch.where(x > 0, torch.sqrt(x), 0.0)"),
        Kink(
            "where(x > 0, sqrt(where(x > 0, x, 1.0)), 0.0)",
            {"x": 0.0},
            {"x": 0.0},
            "torch.where(x > 0, torch.sqrt(torch.where(x > 0, x, 1.0)), 0.0)",
        ),
        Kink("sqrt(relu(x))", {"x": -1.0}, {"x": nan}, "torch.sqrt(F.relu(x))", {"x": 0.0}),
    ],
    "Repeated indices accumulate": [
        Kink("take(x, [0, 0, 1])", {"x": [1.0, 2.0]}, {"x": [2.0, 1.0]}, "x[[0, 0, 1]]"),
    ],
}

KINKS = [kink for kinks in RULES.values() for kink in kinks]


def table() -> str:
    """The table as docs/semantics.md prints it."""
    lines = ["| function | at | derivative | PyTorch |", "|---|---|---|---|"]
    for rule, kinks in RULES.items():
        lines += [f"| **{rule}** | | | |", *(kink.row() for kink in kinks)]
    return "\n".join(lines)
