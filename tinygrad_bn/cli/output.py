"""The folder that a command writes into: made and tried before the work begins, its files all or nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tinygrad_bn.cli import Failure, Misuse


def output_folder(path: Path) -> Path:
    """The folder at `path`, made if it is not there, and fit to be written into.

    Raises:
        Misuse: `path`, or something above it, is a file.
        Failure: the folder cannot be made or written into.
    """
    with failing(path):
        blocked = next((place for place in (path, *path.parents) if place.exists() and not place.is_dir()), None)
        if blocked is not None:
            raise Misuse(f"--out expects a folder; {blocked} is a file")
        path.mkdir(parents=True, exist_ok=True)
        trial = path / f".{os.getpid()}.trial"
        trial.touch()
        trial.unlink()
    return path


@contextmanager
def failing(folder: Path) -> Iterator[None]:
    """Within it, what the system forbids or cannot do is told as a Failure to write into `folder`."""
    try:
        yield
    except OSError as error:
        raise Failure(f"cannot write into {folder}: {error.strerror or error}") from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Where to write what `path` is to hold: a file beside it that takes its place at the end, if nothing fails."""
    beside = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
