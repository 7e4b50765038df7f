"""What things are set to, and what functions and constructors ask of their arguments.

Each `owner` is an object, or the name of a function.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from tinygrad_bn.errors import SettingError
from tinygrad_bn.mode import changed


class Described:
    """A thing that is what its attributes say: it shows them, and tells when one is set."""

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        changed()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


def number(
    owner: object,
    name: str,
    value: Any,
    expected: str = "a finite number",
    holds: Callable[[Any], bool] = lambda _: True,
) -> Any:
    """`value`, if it is a finite number for which the condition holds.

    Raises:
        SettingError: it is not; the message says what `owner` expects, in the words of `expected`.
    """
    plain = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if plain and math.isfinite(value) and holds(value):
        return value
    raise SettingError(f"{_called(owner)} expects {name} to be {expected}; got {value!r}")


def flag(owner: object, name: str, value: Any) -> bool:
    """`value` as a bool, if it is one.

    Raises:
        SettingError: it is not.
    """
    if isinstance(value, (bool, np.bool)):
        return bool(value)
    raise SettingError(f"{_called(owner)} expects {name} to be True or False; got {value!r}")


def above_zero(owner: object, name: str, value: Any) -> float:
    """`value` as a float, if it is a finite number above 0. Raises as `number`."""
    return float(number(owner, name, value, "a finite number above 0", lambda v: v > 0))


def not_below_zero(owner: object, name: str, value: Any) -> float:
    """`value` as a float, if it is a finite number of at least 0. Raises as `number`."""
    return float(number(owner, name, value, "a finite number not below 0", lambda v: v >= 0))


def natural(owner: object, name: str, value: Any, least: int = 1) -> int:
    """`value`, if it is an integer not below `least`. Raises as `number`."""
    expected = "a positive integer" if least == 1 else f"an integer not below {least}"
    return int(number(owner, name, value, expected, lambda n: isinstance(n, (int, np.integer)) and bool(n >= least)))


def floating(owner: object, dtype: Any) -> np.dtype[Any]:
    """The floating dtype that `dtype` stands for.

    Raises:
        SettingError: it stands for none.
    """
    found: np.dtype[Any] | None = None
    with suppress(TypeError):  # there is no such dtype
        found = np.dtype(dtype)
    if found is None or found.kind != "f":
        raise SettingError(f"{_called(owner)} expects dtype to be floating; got {found or repr(dtype)}")
    return found


def _called(owner: object) -> str:
    return owner if isinstance(owner, str) else type(owner).__name__
