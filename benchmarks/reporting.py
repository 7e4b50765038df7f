"""Figures as rows, as a table on the screen, and as a page."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from textwrap import fill
from typing import Any

from benchmarks.contenders import versions
from benchmarks.figures import Figures, fastest, ratio
from benchmarks.suites import Suite

_INTRODUCTION = """\
# Benchmarks

Every contender runs in a process of its own, and they take turns. Those that train start from the same weights, and
their first losses are checked to agree. A figure is the median over the rounds of a round's median; a ratio is the
median over the rounds of the ratio within a round, so it holds where the machine's speed drifts. *Best* is the fastest
tenth percentile of any round; in brackets, the ratio of the best. Each framework uses as many threads as it chooses.

This page was written by

    {command}

on {machine}.
"""


@dataclass(frozen=True)
class Result:
    """What one case of a suite has shown; `skipped` says by name why a contender did not take part."""

    suite: Suite
    case: str
    figures: Sequence[Figures]
    skipped: dict[str, str] = field(default_factory=dict)

    def ratios(self, entry: Figures) -> dict[str, tuple[float, float] | None]:
        """By the title of the column, the ratios of the medians and of the best; None where no rival took part."""
        found = {}
        for title, names in self.suite.against.items():
            rival = fastest(self.figures, [name.format(entry.contender) for name in names])
            found[title] = None if rival is None else ratio(entry, rival)
        return found

    def rows(self) -> list[dict[str, Any]]:
        """The figures as plain values."""
        place = {"suite": self.suite.name, "workload": self.case, "unit": self.suite.unit}
        return [
            {
                **place,
                "contender": entry.contender,
                "median": entry.median,
                "best": entry.best,
                "ratios": self.ratios(entry),
                "rounds": entry.rounds,
                "losses": entry.losses,
            }
            for entry in self.figures
        ]

    def cells(self) -> list[list[str]]:
        """The figures as text, a list for each contender."""
        return [
            [
                self.case,
                entry.contender,
                _number(entry.median),
                _number(entry.best),
                *("" if pair is None else f"{pair[0]:.2f} ({pair[1]:.2f})" for pair in self.ratios(entry).values()),
            ]
            for entry in self.figures
        ]


def headings(suite: Suite) -> list[str]:
    """Those of the columns of `cells`."""
    return ["workload", "contender", f"median, {suite.unit}", "best", *suite.against]


def aligned(suite: Suite, cells: Sequence[str]) -> str:
    """A line of the table on the screen."""
    widths = [max(map(len, names)) for names in (suite.cases, suite.contenders)]
    texts = [f"{cell:{width}}" for cell, width in zip(cells, widths, strict=False)]
    texts += [f"{cell:>{max(13, len(title))}}" for cell, title in zip(cells[2:], headings(suite)[2:], strict=True)]
    return "  ".join(texts).rstrip()


def busy(results: Iterable[Result]) -> str:
    """What makes the figures doubtful, or nothing."""
    slowed = [
        f"{result.case} {entry.contender}"
        for result in results
        for entry in result.figures
        if 0 < 2 * entry.best < entry.median
    ]
    return f"the machine was busy: the median is more than twice the best of {', '.join(slowed)}" if slowed else ""


def machine(results: Iterable[Result]) -> str:
    """Processor, system, and the versions of what was measured."""
    contenders = {entry.contender for result in results for entry in result.figures}
    packages = "".join(f", {package} {version}" for package, version in versions(contenders).items())
    system = f"{platform.system()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} cores of {_processor()}, {system}{packages}"


def page(results: Sequence[Result], command: str) -> str:
    """All figures, and how they came about, in Markdown."""
    parts = [_INTRODUCTION.format(command=command, machine=machine(results))]
    for suite, group in groupby(results, key=lambda result: result.suite):
        titles = headings(suite)
        parts.append(f"\n## {suite.name}: {suite.title}\n\n{fill(suite.about, 120)}\n\n")
        parts.append(f"{_line(titles)}{_line(['---'] * len(titles))}")
        for result in group:
            parts.extend(map(_line, result.cells()))
    skipped = [f"{result.case}: {name} ({reason})" for result in results for name, reason in result.skipped.items()]
    if skipped:
        parts.append(f"\nNot measured: {'; '.join(skipped)}.\n")
    if doubt := busy(results):
        parts.append(f"\nDoubtful: {doubt}.\n")
    return "".join(parts)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def _number(value: float) -> str:
    """Three digits, or all before the point."""
    places = 0 if abs(value) >= 1000 else 1 if abs(value) >= 100 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{places}f}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
