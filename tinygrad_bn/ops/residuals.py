"""Residuals: what a forward computed on the way, kept for as long as its result lives, for who would compute it again.

They change how long a rule takes, never what it gives: where there are none, as while a text is read, it computes.
"""

from __future__ import annotations

from weakref import ref

import numpy as np

from tinygrad_bn.primitives import Array

_KEPT: dict[int, tuple[ref[Array], tuple[Array, ...]]] = {}


def keep(result: Array, *residuals: Array) -> Array:
    """The result, with which the residuals are kept if it is an array."""
    if type(result) is np.ndarray:
        key = id(result)
        _KEPT[key] = ref(result, lambda _: _KEPT.pop(key, None)), residuals
    return result


def kept(result: Array) -> tuple[Array, ...] | None:
    """What was kept with a result that is still the same array, or None."""
    found = _KEPT.get(id(result))
    return None if found is None else found[1]
