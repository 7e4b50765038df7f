"""Files that are written as a whole or not at all, pictures among them."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from errno import EEXIST, ENOENT
from itertools import count
from pathlib import Path
from stat import S_IMODE
from typing import TYPE_CHECKING

from tinygrad_bn import names
from tinygrad_bn.errors import SettingError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@contextmanager
def replacing(path: str | os.PathLike[str], *, durable: bool = False) -> Iterator[Path]:
    """Where to write what `path` is to hold: a file beside it, with its suffix, that takes its place if nothing fails.

    After a failure the old file is as it was, and nothing lies beside it; nor does anything after the next call for
    this path where this process was killed. A link stays, and what it leads to is replaced. The new file may be read
    and written by whom the old one could be.

    Args:
        path: of the file.
        durable: wait until all is on the disk, so that a power failure too leaves the old file or the new one.

    Raises:
        TypeError, ValueError, FileNotFoundError: see `file_path`.
        FileExistsError: what is there is no plain file, but a folder, a pipe or a device.
    """
    path = file_path(path)
    target = _replaceable(path)
    part = target.with_name(f".{os.getpid()}-{next(_numbers)}.{path.name}")
    _remove_abandoned(target.with_name(path.name))
    mark = None
    try:
        mark = _marked(part, 0o600 if target.exists() else 0o666)
        yield part
        if os.name == "posix" and target.exists():
            _hand_over(target.stat(), part)
        if durable:
            _flush(part)
        part.replace(target)
        if durable and os.name == "posix":
            _flush(target.parent)  # the new name too
    except OSError as error:
        if str(error.filename) == str(part):  # which nobody has heard of
            error.filename = str(path)
            del error.filename2
        raise
    finally:
        part.unlink(missing_ok=True)
        if mark is not None:
            os.close(mark)


def with_suffix(path: str | os.PathLike[str], suffixes: Collection[str]) -> Path:
    """A path that a file can have, which ends in one of these suffixes, in small letters or not.

    Raises:
        ValueError: it ends otherwise.
    """
    path = file_path(path)
    names.expect("suffix", path.suffix.lower(), suffixes, repr(str(path)))
    return path


def file_path(path: str | os.PathLike[str]) -> Path:
    """A path that a file can have.

    Raises:
        TypeError: it is none.
        ValueError: it is empty, or names a folder by its dots.
        FileNotFoundError: its folder is not there.
    """
    expected = "the path of a file is expected, such as 'model.npz'"
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"{expected}; got {path!r:.60}")
    found = Path(path)
    if not found.name:
        raise SettingError(f"{expected}; got {os.fspath(path)!r}")
    if not found.parent.is_dir():
        raise FileNotFoundError(ENOENT, f"the folder {str(found.parent)!r} is not there", os.fspath(path))
    return found


def _replaceable(path: Path) -> Path:
    """The file, there or not, that a path leads to: links are part of the way. What is no plain file is refused."""
    target = Path(os.path.realpath(path))
    if (path.exists() and not path.is_file()) or target.is_symlink():  # a link that is still one leads round in circles
        raise FileExistsError(EEXIST, "only a plain file is replaced, which this is not", str(path))
    return file_path(target)


def _hand_over(old: os.stat_result, new: Path) -> None:
    """Let a file belong to whom another does, where we may, and be open to the same."""
    with suppress(OSError):
        os.chown(new, old.st_uid, old.st_gid)
    with suppress(OSError):  # a file system without them
        new.chmod(S_IMODE(old.st_mode))


_numbers = count()
"""Two threads may write at the same time."""


def _marked(part: Path, mode: int) -> int | None:
    """A new file that this process holds locked until it ends, in whatever way; None where there are no such locks."""
    try:
        from fcntl import LOCK_EX, flock
    except ImportError:
        return None
    while True:
        mark = os.open(part, os.O_CREAT | os.O_WRONLY, mode)
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
    """An empty figure, so many inches large, that is written at the end: to .svg, always the same bytes, or .png, .pdf.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
        ValueError: a suffix of which matplotlib knows no form.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("plots need matplotlib: pip install 'tinygrad_bn[plot]'", name=error.name) from error
    settings = {"svg.hashsalt": "tinygrad_bn", "svg.fonttype": "path", "font.size": 9.5, "axes.axisbelow": True}
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(width, height), layout="constrained")
        with_suffix(path, [f".{form}" for form in figure.canvas.get_supported_filetypes()])
        yield figure
        with replacing(path) as part:
            figure.savefig(part, dpi=144, metadata={"Date": None} if part.suffix.lower() == ".svg" else None)
