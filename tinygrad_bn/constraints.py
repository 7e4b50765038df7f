"""Constraints: weights are kept where they are allowed to be.

    Dense(100, kernel_constraint=tg.constraints.MaxNorm(3))
    Dense(100, kernel_constraint="non_neg")

An optimizer applies them at the end of each step. A constraint of your own is a function of the weights, in ordinary
operators and tg functions, that gives the weights to go on with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from tinygrad_bn import names, ops
from tinygrad_bn.errors import SettingError
from tinygrad_bn.module.settings import Described, above_zero
from tinygrad_bn.primitives import Array
from tinygrad_bn.variables import Rule

Axis = int | Sequence[int]


class Constraint(Described):
    """The allowed weights nearby. A subclass keeps its arguments under their own names, and defines the call."""

    def __call__(self, weights: Array) -> Array:
        """The weights to go on with."""
        raise NotImplementedError(f"{type(self).__name__} defines no __call__(weights)")


def _axis(owner: Constraint, name: str, axis: Any) -> Axis:
    """An axis as an int, or several as a list.

    Raises:
        SettingError: it is neither.
    """
    several = isinstance(axis, (list, tuple))
    given = axis if several else (axis,)
    if not given or not all(isinstance(a, (int, np.integer)) and not isinstance(a, bool) for a in given):
        raise SettingError(f"{type(owner).__name__} expects {name} to be an integer or several; got {axis!r}")
    return [int(a) for a in given] if several else int(axis)


class MaxNorm(Constraint):
    """w * max_value / max(norm(w), max_value): longer weights are shortened to `max_value`, others keep every bit.

    Keras divides by norm(w) + 1e-7 instead, and so shortens all weights a little at each step.

    Args:
        max_value: the largest norm that is allowed.
        axis: the axis, or several, that norms are taken along: with 0, of all weights into one unit of a Dense.

    Reference: Srebro et al. (2005); Srivastava et al. (2014), section 5.1.
    """

    _checks: ClassVar = {"max_value": above_zero, "axis": _axis}

    def __init__(self, max_value: float = 2, axis: Axis = 0) -> None:
        self.max_value, self.axis = max_value, axis

    def __call__(self, weights: Array) -> Array:
        return weights * (self.max_value / ops.maximum(_norm(weights, self.axis), self.max_value))


class NonNeg(Constraint):
    """max(w, 0)."""

    def __call__(self, weights: Array) -> Array:
        return ops.maximum(weights, 0.0)


class UnitNorm(Constraint):
    """w / norm(w); 0 stays 0. Keras divides by norm(w) + 1e-7, which leaves short weights shorter than 1.

    Args:
        axis: the axis, or several, that norms are taken along: with 0, of all weights into one unit of a Dense.

    Reference: Salimans and Kingma (2016), section 2, where it is part of the network.
    """

    _checks: ClassVar = {"axis": _axis}

    def __init__(self, axis: Axis = 0) -> None:
        self.axis = axis

    def __call__(self, weights: Array) -> Array:
        norm = _norm(weights, self.axis)
        return weights / ops.where(norm == 0, 1.0, norm)


max_norm, non_neg, unit_norm = MaxNorm, NonNeg, UnitNorm
_BY_NAME: dict[str, type[Constraint]] = {"max_norm": MaxNorm, "non_neg": NonNeg, "unit_norm": UnitNorm}


@names.checked
def get(constraint: str | Rule | type[Constraint] | None, where: str = "") -> Rule | None:
    """The constraint of a name such as "max_norm", or of a class; a function or None as it is.

    Raises:
        SettingError: `where` was given something else; the message lists the names.
    """
    if constraint is None or (callable(constraint) and not isinstance(constraint, type)):
        return constraint
    return names.resolve("constraint", constraint, Constraint, _BY_NAME, where)


def _norm(weights: Array, axis: Axis) -> Array:
    return ops.norm(weights, axis=axis if isinstance(axis, int) else tuple(axis), keepdims=True)


names.answer_for(__name__)
