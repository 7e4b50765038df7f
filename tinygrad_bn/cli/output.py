"""Where a command writes to, a folder or a file: tried before the work begins."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tinygrad_bn.cli import Failure, Misuse


def output_folder(path: Path, option: str = "--out") -> Path:
    """The folder at `path`, which `option` names, made if it is not there, and fit to be written into.

    Raises:
        Misuse: `path`, or something above it, is a file.
        Failure: the folder cannot be made or written into.
    """
    with failing(path):
        blocked = next((place for place in (path, *path.parents) if place.exists() and not place.is_dir()), None)
        if blocked is not None:
            raise Misuse(f"{option} expects a folder; {blocked} is a file")
        Path(os.path.realpath(path)).mkdir(parents=True, exist_ok=True)  # where a link leads to, if it is one
        _try(path)
    return path


def output_file(path: Path) -> Path:
    """The file `path`, which is there or can be made, in a folder that is there.

    Raises:
        Misuse: `path` is a folder, a pipe or a device.
        Failure: its folder is missing or cannot be written into.
    """
    if path.is_dir():
        raise Misuse(f"expects a file to write to; {path} is a folder")
    if path.exists() and not path.is_file():
        raise Misuse(f"expects a file to write to; {path} is no plain file")
    with failing(path.parent):
        _try(Path(os.path.realpath(path)).parent)
    return path


def _try(folder: Path) -> None:
    trial = folder / f".{os.getpid()}.trial"
    trial.touch()
    trial.unlink()


@contextmanager
def failing(folder: Path) -> Iterator[None]:
    """Within it, what the system forbids or cannot do is told as a Failure to write into `folder`."""
    try:
        yield
    except OSError as error:
        raise Failure(f"cannot write into {folder}: {error.strerror or error}") from error
