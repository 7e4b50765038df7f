"""Plain text tables: ASCII, as wide as their cells; and numbers as text and JSON have them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite
from typing import Any


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The rows under the header and a rule; the first column is set left, the others right.

    A header may have several lines; they stand at the bottom of their cells.
    """
    titles = [title.split("\n") for title in header]
    depth = max(map(len, titles))
    padded = [[""] * (depth - len(lines)) + lines for lines in titles]
    head, body = list(zip(*padded, strict=True)), [tuple(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*head, *body, strict=True)]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return "\n".join([*(_line(cells, widths) for cells in head), rule, *(_line(cells, widths) for cells in body)])


def number(value: float) -> str:
    """Two significant digits, which is what comparing magnitudes takes."""
    return f"{value:.2g}"


def finite(value: Any) -> Any:
    """The value as JSON takes it: None for a number that is not finite."""
    return None if isinstance(value, float) and not isfinite(value) else value


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    return "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]).rstrip()
