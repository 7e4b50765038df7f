"""Residuals: what a forward computed on the way, kept for as long as its result lives, for who would compute it again.

They change how long a rule takes, not what it gives: where there are none, as while a text is read, it computes. None
are kept with results on plain arrays, nor where no gradients are remembered. They are of the arguments as those were:
who writes to an array before the backward pass need not find that in the gradient.
"""

from __future__ import annotations

from typing import Any
from weakref import ref

import numpy as np

from tinygrad_bn.mode import current

KEPT: dict[int, tuple[ref[Any], tuple[Any, ...]]] = {}


def keep(result: Any, *residuals: Any) -> Any:
    """The result, with which the residuals are kept if it is an array and gradients are wanted."""
    if type(result) is np.ndarray and current().gradients:
        key = id(result)
        KEPT[key] = ref(result, lambda _: KEPT.pop(key, None)), residuals
    return result


def kept(result: Any) -> tuple[Any, ...] | None:
    """What was kept with a result that is still the same array, or None."""
    found = KEPT.get(id(result))
    return None if found is None else found[1]


def forget(result: Any) -> None:
    """Nobody will ask: `result` belongs to no Tensor."""
    KEPT.pop(id(result), None)
