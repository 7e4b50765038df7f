"""What the constructors of layers and initializers ask of their arguments."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_bn.errors import SettingError


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
    raise SettingError(f"{type(owner).__name__} expects {name} to be {expected}; got {value!r}")


def natural(owner: object, name: str, value: Any) -> int:
    """`value`, if it is an integer above 0. Raises as `number`."""
    return int(number(owner, name, value, "a positive integer", lambda n: int(n) == n > 0 and not isinstance(n, float)))
