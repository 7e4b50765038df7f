"""Adagrad and RMSprop: steps divided by the root of a sum, or of a running mean, of squared gradients."""

from __future__ import annotations

from typing import Unpack

from tinygrad_bn import ops
from tinygrad_bn.module.settings import flag, not_below_zero
from tinygrad_bn.optimizers.base import Optimizer, Schedule
from tinygrad_bn.optimizers.rates import Rate
from tinygrad_bn.optimizers.settings import Settings
from tinygrad_bn.primitives import Array


class Adagrad(Optimizer):
    """accumulator = accumulator + g ** 2; w = w - learning_rate * g / sqrt(accumulator + epsilon).

    Args:
        learning_rate: a number, or a schedule.
        initial_accumulator_value: what the accumulator starts with.
        epsilon: keeps steps finite where gradients vanish.
        settings: weight_decay, clipvalue, clipnorm, global_clipnorm, nonfinite: see `Optimizer`.

    Reference: Duchi et al. (2011), section 5.
    """

    epsilon = Rate()

    def __init__(
        self,
        learning_rate: float | Schedule = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__(learning_rate, **settings)
        self._start = not_below_zero(self, "initial_accumulator_value", initial_accumulator_value)
        self.epsilon = epsilon

    @property
    def initial_accumulator_value(self) -> float:
        """What the accumulator starts with; fixed at construction."""
        return self._start

    @property
    def slots(self) -> tuple[str, ...]:
        return ("accumulator",)

    def start(self, slot: str) -> float:
        return self._start

    def update(
        self, parameter: Array, gradient: Array, accumulator: Array, *, learning_rate: Array, epsilon: Array
    ) -> tuple[Array, ...]:
        accumulator = accumulator + ops.square(gradient)
        return parameter - learning_rate * gradient / ops.sqrt(accumulator + epsilon), accumulator


class RMSprop(Optimizer):
    """velocity = rho * velocity + (1 - rho) * g ** 2; w = w - learning_rate * g / sqrt(velocity + epsilon).

    With `momentum`, momentum * (the last step) is added to the step. With `centered`, the square of the running mean
    of g is taken off the velocity under the root, which makes a variance of it.

    Args:
        learning_rate: a number, or a schedule.
        rho: the weight of the old mean, in [0, 1).
        momentum: of the last step, in [0, 1).
        epsilon: keeps steps finite where gradients vanish.
        centered: divide by a standard deviation.
        settings: weight_decay, clipvalue, clipnorm, global_clipnorm, nonfinite: see `Optimizer`.

    Reference: Tieleman and Hinton (2012), lecture 6.5; Graves (2013), Eqs. 38-45, for `centered` and `momentum`.
    """

    rho, momentum = Rate(below=1.0), Rate(below=1.0)
    epsilon = Rate()

    def __init__(
        self,
        learning_rate: float | Schedule = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__(learning_rate, **settings)
        self._centered = flag(self, "centered", centered)
        self.rho, self.momentum, self.epsilon = rho, momentum, epsilon

    @property
    def centered(self) -> bool:
        """Whether it divides by a standard deviation; fixed at construction."""
        return self._centered

    @property
    def slots(self) -> tuple[str, ...]:
        return ("velocity", *["average"] * self.centered, *["step"] * (self.momentum > 0))

    def numbers(self, step: int) -> dict[str, float]:
        return {**super().numbers(step), "new": 1 - self.rho}

    def update(
        self,
        parameter: Array,
        gradient: Array,
        velocity: Array,
        *others: Array,
        learning_rate: Array,
        rho: Array,
        new: Array,
        momentum: Array,
        epsilon: Array,
    ) -> tuple[Array, ...]:
        slots = dict(zip(self.slots[1:], others, strict=True))
        velocity = rho * velocity + new * ops.square(gradient)
        spread = velocity
        if "average" in slots:
            slots["average"] = rho * slots["average"] + new * gradient
            spread = ops.maximum(velocity - ops.square(slots["average"]), 0.0)  # below 0 it is by rounding alone
        step = learning_rate * gradient / ops.sqrt(spread + epsilon)
        if "step" in slots:
            slots["step"] = step = momentum * slots["step"] + step
        return parameter - step, velocity, *slots.values()
