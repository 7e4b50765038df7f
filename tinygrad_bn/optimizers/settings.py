"""The arguments that all optimizers take, and those of each."""

from __future__ import annotations

from typing import TypedDict

_TAKES_ANY_NAME = 0x08  # the code flag of a function with **arguments


class ClippingSettings(TypedDict, total=False):
    """The arguments about clipping, which all optimizers take."""

    clipvalue: float | None
    clipnorm: float | None
    global_clipnorm: float | None
    nonfinite: str


class Settings(ClippingSettings, total=False):
    """The arguments that all optimizers take."""

    weight_decay: float | None


def arguments(kind: type) -> tuple[list[str], bool]:
    """The names of the arguments of its constructor, and whether it takes any others."""
    known: list[str] = []
    for base in kind.__mro__:
        constructor = vars(base).get("__init__")
        if constructor is not None:
            code = constructor.__code__
            named = code.co_argcount + code.co_kwonlyargcount
            known += [name for name in code.co_varnames[1:named] if name not in known]
            if not code.co_flags & _TAKES_ANY_NAME:
                break
            if "Unpack" not in str(constructor.__annotations__.get(code.co_varnames[named])):
                return known, True
    return known, False
