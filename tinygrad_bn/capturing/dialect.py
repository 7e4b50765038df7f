"""The dialect: how a NumPy call is written so that its result lands in a given array.

A call that is not here comes in memory of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_bn.capturing.flow import Step, Value

Form = tuple[Callable[..., Any], str]
"""A function, and the call: {f} is the function, {0}, {1}, ... the step's arguments, {out} the result's memory."""

KEYWORD = frozenset({np.maximum, np.minimum, np.fmax, np.fmin})
"""The ufuncs of two arrays that NumPy 2.4 wants `out` for by its name."""


def writes_out(step: Step) -> bool:
    """Whether the result can be told where to go."""
    return form(step) is not None


def form(step: Step) -> Form | None:
    """How the step is written with a place for its result, or None."""
    function, args = step.function, step.args
    if isinstance(function, np.ufunc):
        return _ufunc(function, step) if not step.options and function.nout == 1 else None
    if _is_reduction(function):
        return _reduction(step)
    if function in (np.ndarray.dot, np.dot):
        return (np.ndarray.dot, "{0}.dot({1}, {out})") if _is_product(step) else None
    if function == np.ndarray.astype and len(args) == 2 and not step.options:
        return np.copyto, "{f}({out}, {0}, 'unsafe')"
    if function in (np.copy, np.ndarray.copy) and not step.options:  # in the order of the place
        return np.copyto, "{f}({out}, {0})"
    return None


def _ufunc(function: np.ufunc, step: Step) -> Form | None:
    if function == np.matmul:  # of matrices dot gives the same bits; of vectors it does not
        matrices = _is_product(step) and all(value.sample.ndim == 2 for value in step.inputs)
        return (np.ndarray.dot, "{0}.dot({1}, {out})") if matrices else (function, "{f}({0}, {1}, {out})")
    if len(step.args) != function.nin:
        return None
    said = ", ".join(f"{{{position}}}" for position in range(function.nin))
    return function, f"{{f}}({said}, out={{out}})" if function in KEYWORD else f"{{f}}({said}, {{out}})"


def _is_product(step: Step) -> bool:
    """Whether it is a product that BLAS can write into a plain array: of matrices, or a matrix and a vector."""
    x, y = step.args if len(step.args) == 2 else (None, None)
    if not (isinstance(x, Value) and isinstance(y, Value)) or step.options:
        return False
    plain = x.dtype == y.dtype == step.result.dtype and step.result.sample.flags.c_contiguous
    return plain and (x.sample.ndim, y.sample.ndim) in ((2, 2), (2, 1), (1, 2))


def _is_reduction(function: Any) -> bool:
    return isinstance(getattr(function, "__self__", None), np.ufunc) and function.__name__ == "reduce"


def _reduction(step: Step) -> Form | None:
    x = step.args[0]
    if step.options.keys() - {"axis", "keepdims"} or len(step.args) > 2 or not isinstance(x, Value):
        return None
    if not (step.result.shape and x.sample.flags.c_contiguous):
        return None  # given memory for its result, older versions of NumPy add up in another order
    axis = step.args[1] if len(step.args) == 2 else step.options.get("axis", 0)
    kept = bool(step.options.get("keepdims", False))
    return step.function, f"{{f}}({{0}}, {axis!r}, None, {{out}}, {kept})"
