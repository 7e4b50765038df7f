"""What the settings of a check may be."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_bn.errors import SettingError


def refuse_settings(order: Any, seed: Any, step: Any, tolerance: Any, max_elements: Any) -> None:
    """Raise if a setting of `gradcheck` is out of range."""
    refuse_seed(seed, "gradcheck")
    _expect(_whole(order, 1), "gradcheck", "order expects an integer, at least 1", order)
    _expect(_part(step), "gradcheck", "step expects a number above 0 and below 1", step)
    _expect(_part(tolerance), "gradcheck", "tolerance expects a number above 0 and below 1", tolerance)
    fine = max_elements is None or _whole(max_elements, 1)
    _expect(fine, "gradcheck", "max_elements expects an integer, at least 1, or None for all", max_elements)


def refuse_seed(seed: Any, where: str) -> None:
    """Raise if no generator can be made of it."""
    _expect(_whole(seed, 0), where, "seed expects an integer, at least 0", seed)


def _expect(fine: bool, where: str, expected: str, came: Any) -> None:
    if not fine:
        raise SettingError(f"{where}: {expected}; got {came!r}")


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and bool(value >= least)


def _part(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and bool(0 < value < 1)
