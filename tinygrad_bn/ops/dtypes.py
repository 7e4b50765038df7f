"""What integers and truth values are taken for: what NumPy takes them for."""

from __future__ import annotations

import numpy as np

from tinygrad_bn.primitives import Array

_USUAL = (np.dtype(np.float32), np.dtype(np.float64))  # asked for first: to know a dtype's kind takes twice as long


def floats(x: Array) -> Array:
    """x itself if it is floating, else as float64, as NumPy's mean takes it: for whatever computes with fractions.

    An integer's own dtype may be too small for what is added to it or taken from it on the way.
    """
    if x.dtype in _USUAL or x.dtype.kind == "f":
        return x
    if x.dtype.kind not in "iub":
        raise TypeError  # which the function that asks says in its words
    return x.astype(np.float64)


def factors(x: Array) -> Array:
    """x itself if it is floating, else in the dtype in which NumPy multiplies many of its kind."""
    return x if x.dtype.kind == "f" else x.astype(np.prod(np.empty(0, x.dtype)).dtype)
