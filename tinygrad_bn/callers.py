"""Callers: the line outside this package that a message is about."""

from __future__ import annotations

import sys
import warnings
from functools import cache
from types import FrameType

_PACKAGE = __name__.partition(".")[0]


def frame_outside(*modules: str) -> FrameType | None:
    """The innermost frame that is in none of these modules of the package, or, without any, outside it."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _is_inside(frame.f_globals.get("__name__", ""), modules):
        frame = frame.f_back
    return frame


@cache
def _is_inside(name: str, modules: tuple[str, ...] = ()) -> bool:
    return f"{name}.".startswith(tuple(f"{_PACKAGE}.{module}." for module in modules) or f"{_PACKAGE}.")


def is_ours(frame: FrameType) -> bool:
    """Whether a frame runs a text of this package."""
    return _is_inside(frame.f_globals.get("__name__", ""))


def users_line() -> str:
    """The innermost line of code outside this package, as "file:line"."""
    frame = frame_outside()
    return "in the package" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"


def warn(message: str) -> None:
    """A UserWarning that shows the user's line."""
    level, frame, users = 1, sys._getframe(1), frame_outside()
    while frame is not users and frame.f_back is not None:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level + 1)
