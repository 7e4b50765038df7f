"""Regularizers: penalties that keep weights small.

    Dense(100, kernel_regularizer="l2")
    Dense(100, kernel_regularizer=tg.regularizers.L1(0.001))

An optimizer adds the derivative of the penalty to the gradient of the loss, after clipping, so `loss.backward()` does
without it. A regularizer of your own is a function of the weights, in ordinary operators and tg functions, that gives
one number.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import numpy as np

from tinygrad_bn import names, ops
from tinygrad_bn.autodiff.gradients import gradients
from tinygrad_bn.errors import ShapeError
from tinygrad_bn.mode import using
from tinygrad_bn.module.settings import Described, not_below_zero
from tinygrad_bn.primitives import Array
from tinygrad_bn.tensors import Tensor
from tinygrad_bn.variables import Parameter, Rule


class Regularizer(Described):
    """A penalty on weights: one number. A subclass keeps its arguments under their own names, and defines the call."""

    def __call__(self, weights: Array) -> Array:
        """The penalty."""
        raise NotImplementedError(f"{type(self).__name__} defines no __call__(weights)")


class L1(Regularizer):
    """l1 * sum(|w|): it drives weights to 0, and many of them all the way.  Reference: Tibshirani (1996)."""

    _checks: ClassVar = {"l1": not_below_zero}

    def __init__(self, l1: float = 0.01) -> None:
        self.l1 = l1

    def __call__(self, weights: Array) -> Array:
        return self.l1 * ops.sum(ops.abs(weights))


class L2(Regularizer):
    """l2 * sum(w ** 2): its derivative is 2 * l2 * w.  Reference: Hoerl and Kennard (1970)."""

    _checks: ClassVar = {"l2": not_below_zero}

    def __init__(self, l2: float = 0.01) -> None:
        self.l2 = l2

    def __call__(self, weights: Array) -> Array:
        return self.l2 * ops.sum(ops.square(weights))


class L1L2(Regularizer):
    """l1 * sum(|w|) + l2 * sum(w ** 2).  Reference: Zou and Hastie (2005)."""

    _checks: ClassVar = {"l1": not_below_zero, "l2": not_below_zero}

    def __init__(self, l1: float = 0.0, l2: float = 0.0) -> None:
        self.l1, self.l2 = l1, l2

    def __call__(self, weights: Array) -> Array:
        if not self.l1:
            return L2(self.l2)(weights)
        if not self.l2:
            return L1(self.l1)(weights)
        return L1(self.l1)(weights) + L2(self.l2)(weights)


l1, l2, l1_l2 = L1, L2, L1L2
_BY_NAME: dict[str, type[Regularizer]] = {"l1": L1, "l2": L2, "l1_l2": L1L2}


@names.checked
def get(regularizer: str | Rule | type[Regularizer] | None, where: str = "") -> Rule | None:
    """The regularizer of a name, "l1", "l2" or "l1_l2", or of a class; a function or None as it is.

    Raises:
        SettingError: `where` was given something else; the message lists the names.
    """
    if regularizer is None or (callable(regularizer) and not isinstance(regularizer, type)):
        return regularizer
    return names.resolve("regularizer", regularizer, Regularizer, _BY_NAME, where)


def penalty(parameters: Iterable[Parameter]) -> Tensor | None:
    """The sum of the penalties on those that are trainable and have a regularizer; None where there are none.

    Raises:
        ShapeError: a regularizer gave more than one number.
    """
    total: Tensor | None = None
    for parameter in dict.fromkeys(parameters):
        if parameter.regularizer is not None and parameter.trainable:
            own = _penalty(parameter, parameter.regularizer)
            total = own if total is None else total + own
    return total


def slope(parameter: Parameter) -> Tensor | None:
    """The derivative of the penalty on a parameter, where it has one.

    Raises:
        ShapeError: the regularizer gave more than one number.
    """
    if parameter.regularizer is None:
        return None
    with using(gradients=True):
        own = _penalty(parameter, parameter.regularizer)
        found: Tensor | None = gradients(own, parameter, allow_unused=True)
    return found


def _penalty(parameter: Parameter, regularizer: Rule) -> Tensor:
    found = regularizer(parameter)
    own = found if isinstance(found, Tensor) else Tensor(np.asarray(found, parameter.dtype))
    if own.size != 1:
        raise ShapeError(
            f"{parameter.name or 'a parameter'} expects {regularizer!r} to give one number; got shape {own.shape}"
        )
    return own


names.answer_for(__name__)
