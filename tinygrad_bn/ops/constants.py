"""Arrays that never change, made once for each shape.

NumPy compares, multiplies and adds two arrays of one shape several times faster than an array and a number.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from tinygrad_bn.primitives import Array

_LARGEST = 2**20


@lru_cache(maxsize=32)
def _filled(shape: int | tuple[int, ...], dtype: np.dtype[Any], number: float) -> Array:
    return _fixed(np.full(shape, number, dtype))


def _fixed(array: Array) -> Array:
    array.flags.writeable = False
    return array


def full_like(x: Array, number: float) -> Array:
    """The number in the shape of x, not to be written."""
    return _filled(x.shape, x.dtype, number) if x.size <= _LARGEST else np.broadcast_to(x.dtype.type(number), x.shape)


def zeros_like(x: Array) -> Array:
    """0 in the shape of x; the number alone where that would take much memory."""
    return _filled(x.shape, x.dtype, 0) if x.size <= _LARGEST else 0


def ones(shape: int | tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """1 in this shape, not to be written."""
    return _filled(shape, dtype, 1)


@lru_cache(maxsize=256)
def number(value: float, dtype: np.dtype[Any]) -> Array:
    """The number as an array of no dimensions, not to be written: NumPy computes faster with that than with a float."""
    return _fixed(np.array(value, dtype))


@lru_cache(maxsize=16)
def arange(n: int) -> Array:
    """0, 1, ..., n - 1, not to be written."""
    return _fixed(np.arange(n))


@lru_cache(maxsize=16)
def arange_in_columns(n: int, rows: int) -> Array:
    """The same in each of so many rows, which lie in memory column by column."""
    return _fixed(np.asfortranarray(np.broadcast_to(arange(n), (rows, n))))
