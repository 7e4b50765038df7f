"""A picture of each case: a bar for every contender."""

from __future__ import annotations

from pathlib import Path

from benchmarks.figures import Figures, fastest, ratio
from benchmarks.reporting import Result
from tinygrad_bn.files import picture

_OURS, _BASE, _PEER = "#117733", "#777777", "#56B4E9"


def plot(result: Result, folder: Path) -> Path:
    """Draw a case as SUITE-CASE.svg into the folder: relative to the suite's base where that took part."""
    suite, figures = result.suite, result.figures
    path = folder / f"{suite.name}-{result.case.replace(' ', '-')}.svg"
    base = fastest(figures, [suite.base]) if suite.base else None
    bars = [ratio(entry, base) if base else (entry.median, entry.best) for entry in figures]
    scale = f"times {base.contender}" if base else suite.unit
    with picture(path, 7.6, 0.9 + 0.3 * len(figures)) as figure:
        axes = figure.subplots()
        names = [entry.contender for entry in figures]
        drawn = axes.barh(names, [median for median, _ in bars], color=[_colour(result, entry) for entry in figures])
        axes.bar_label(drawn, [f"{median:.2f}" for median, _ in bars], padding=4)
        axes.plot([best for _, best in bars], names, "|", color="black", markersize=9)
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.set_xlabel(f"{scale}; the stroke marks the best")
        axes.set_title(f"{result.case}: {suite.title}", loc="left", fontweight="bold", fontsize=10)
        axes.grid(axis="x", alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    return path


def _colour(result: Result, entry: Figures) -> str:
    if entry.contender == result.suite.base:
        return _BASE
    return _OURS if entry.contender in result.suite.ours else _PEER
