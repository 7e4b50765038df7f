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
    blocked = next((place for place in (path, *path.parents) if place.exists() and not place.is_dir()), None)
    if blocked is not None:
        raise Misuse(f"--out expects a folder; {blocked} is a file")
    try:
        path.mkdir(parents=True, exist_ok=True)
        with replacing(path / "trial") as part:
            part.touch()
        (path / "trial").unlink()
    except OSError as error:
        raise Failure(f"cannot write into {path}: {error.strerror or error}") from error
    return path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Where to write what `path` is to hold: a file beside it that takes its place at the end, if nothing fails."""
    beside = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
