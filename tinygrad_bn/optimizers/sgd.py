"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Unpack

from tinygrad_bn.errors import SettingError
from tinygrad_bn.module.settings import flag
from tinygrad_bn.optimizers.base import Optimizer, Schedule
from tinygrad_bn.optimizers.rates import Rate
from tinygrad_bn.optimizers.settings import Settings
from tinygrad_bn.primitives import Array


class SGD(Optimizer):
    """velocity = momentum * velocity - learning_rate * g; w = w + velocity.

    With `nesterov`, w = w + momentum * velocity - learning_rate * g, with the new velocity. Without momentum there is
    no velocity, and w = w - learning_rate * g.

    The learning rate is part of the velocity, as in Keras and in the paper: a new rate acts at once on the step, and
    fades into the velocity. PyTorch multiplies by it at the end; for a constant rate the two are the same.

    Args:
        learning_rate: a number, or a schedule.
        momentum: of the old velocity, in [0, 1).
        nesterov: look ahead by one step.
        settings: weight_decay, clipvalue, clipnorm, global_clipnorm, nonfinite: see `Optimizer`.

    Reference: Sutskever et al. (2013), Eqs. 1-4.
    """

    momentum = Rate(below=1.0)

    def __init__(
        self,
        learning_rate: float | Schedule = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__(learning_rate, **settings)
        self._nesterov = flag(self, "nesterov", nesterov)
        self.momentum = momentum

    @property
    def nesterov(self) -> bool:
        """Whether it looks ahead; fixed at construction."""
        return self._nesterov

    def _expect_rates(self, rates: Mapping[str, float | None]) -> None:
        if rates.get("momentum") == 0 and self.nesterov:
            raise SettingError(f"{type(self).__name__} expects a momentum above 0 with nesterov; got 0")

    @property
    def slots(self) -> tuple[str, ...]:
        return ("velocity",) if self.momentum else ()

    def update(
        self, parameter: Array, gradient: Array, velocity: Array | None = None, *, learning_rate: Array, momentum: Array
    ) -> tuple[Array, ...]:
        step = learning_rate * gradient
        if velocity is None:
            return (parameter - step,)
        velocity = momentum * velocity - step
        return parameter + (momentum * velocity - step if self.nesterov else velocity), velocity
