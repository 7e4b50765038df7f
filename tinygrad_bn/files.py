"""Files that are written as a whole or not at all, pictures among them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Where to write what `path` is to hold: a file beside it, with its suffix, that takes its place if nothing fails.

    After a failure the old file is as it was, and nothing lies beside it.
    """
    path = Path(path)
    part = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def picture(path: str | os.PathLike[str], width: float, height: float) -> Iterator[Figure]:
    """An empty figure, so many inches large, that is written at the end: to .svg, always the same bytes; .png or .pdf.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("plots need matplotlib: pip install 'tinygrad_bn[plot]'", name=error.name) from error
    settings = {"svg.hashsalt": "tinygrad_bn", "svg.fonttype": "path", "font.size": 9.5, "axes.axisbelow": True}
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        with replacing(path) as part:
            figure.savefig(part, dpi=144, metadata={"Date": None} if part.suffix.lower() == ".svg" else None)
