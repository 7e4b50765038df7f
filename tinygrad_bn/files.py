"""Files that are written as a whole or not at all, pictures among them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import ENOENT
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from tinygrad_bn.errors import SettingError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@contextmanager
def replacing(path: str | os.PathLike[str], *, durable: bool = False) -> Iterator[Path]:
    """Where to write what `path` is to hold: a file beside it, with its suffix, that takes its place if nothing fails.

    After a failure the old file is as it was, and nothing lies beside it; nor does anything after the next call for
    this path where this process was killed.

    Args:
        path: of the file.
        durable: wait until all is on the disk, so that a power failure too leaves the old file or the new one.
    """
    path = _expected(path)
    part = path.with_name(f".{os.getpid()}-{next(_numbers)}.{path.name}")
    _remove_abandoned(path)
    mark = None
    try:
        mark = _marked(part)
        yield part
        if durable:
            _flush(part)
        part.replace(path)
        if durable and os.name == "posix":
            _flush(path.parent)  # the new name too
    except OSError as error:
        if str(error.filename) == str(part):  # which nobody has heard of
            error.filename = str(path)
            del error.filename2
        raise
    finally:
        part.unlink(missing_ok=True)
        if mark is not None:
            os.close(mark)


def _expected(path: str | os.PathLike[str]) -> Path:
    """A path that a file can have.

    Raises:
        ValueError: it is empty, or names a folder by its dots.
        FileNotFoundError: its folder is not there.
    """
    found = Path(path)
    if not found.name:
        raise SettingError(f"the path of a file is expected, such as 'model.npz'; got {os.fspath(path)!r}")
    if not found.parent.is_dir():
        raise FileNotFoundError(ENOENT, f"the folder {str(found.parent)!r} is not there", os.fspath(path))
    return found


_numbers = count()
"""Two threads may write at the same time."""


def _marked(part: Path) -> int | None:
    """A new file that this process holds locked until it ends, in whatever way; None where there are no such locks."""
    try:
        from fcntl import LOCK_EX, flock
    except ImportError:
        return None
    while True:
        mark = os.open(part, os.O_CREAT | os.O_WRONLY, 0o666)
        with suppress(OSError):  # a file system without locks: nothing there is ever found abandoned
            flock(mark, LOCK_EX)
        if part.exists():
            return mark
        os.close(mark)  # between these two lines it was taken for abandoned


def _remove_abandoned(path: Path) -> None:
    """Remove what killed processes have left beside `path`: parts of it that nobody holds locked."""
    try:
        from fcntl import LOCK_EX, LOCK_NB, flock
    except ImportError:
        return
    form = re.compile(rf"\.\d+-\d+\.{re.escape(path.name)}")
    for name in filter(form.fullmatch, os.listdir(path.parent)):
        with suppress(OSError):  # it is held, or gone, or another's: whoever may not clean up may still write
            mark = os.open(path.with_name(name), os.O_WRONLY)
            try:
                flock(mark, LOCK_EX | LOCK_NB)
                path.with_name(name).unlink()
            finally:
                os.close(mark)


def _flush(path: Path) -> None:
    """Wait until the file, or folder, is on the disk."""
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


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
