"""Adam and its kin: steps along a running mean of the gradients, divided by the root of one of their squares."""

from __future__ import annotations

import math
from functools import cache
from itertools import accumulate
from operator import mul
from typing import Any, Unpack

from tinygrad_bn import ops
from tinygrad_bn.errors import SettingError
from tinygrad_bn.module.settings import flag
from tinygrad_bn.optimizers.base import Optimizer, Schedule
from tinygrad_bn.optimizers.rates import Rate
from tinygrad_bn.optimizers.settings import ClippingSettings, Settings
from tinygrad_bn.primitives import Array


class Moments(Optimizer):
    """m = m + (g - m) * (1 - beta_1); v = v + (g ** 2 - v) * (1 - beta_2): running means, which start at 0.

    A subclass divides the one by the root of the other.
    """

    beta_1, beta_2 = Rate(below=1.0), Rate(below=1.0)
    epsilon = Rate()

    def __init__(
        self,
        learning_rate: float | Schedule = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__(learning_rate, **settings)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon

    @property
    def slots(self) -> tuple[str, ...]:
        return ("momentum", "velocity")

    def numbers(self, step: int) -> dict[str, float]:
        rates: dict[str, Any] = self._rates
        return {"new_1": 1 - rates["beta_1"], "new_2": 1 - rates["beta_2"], "epsilon": rates["epsilon"]}

    def moments(
        self, gradient: Array, momentum: Array, velocity: Array, new_1: Array, new_2: Array
    ) -> tuple[Array, Array]:
        """The running means with the new gradient in them, of which they take the shares `new_1` and `new_2`."""
        momentum = momentum + (gradient - momentum) * new_1
        return momentum, velocity + (ops.square(gradient) - velocity) * new_2


class Adam(Moments):
    """m and v are running means of g and g ** 2; w = w - alpha * m / (sqrt(v) + epsilon).

    alpha = learning_rate * sqrt(1 - beta_2 ** t) / (1 - beta_1 ** t) in step t = 1, 2, ... makes up for the means'
    start at 0. This is the form at the end of the paper's section 2, and Keras's: epsilon stands beside the root of
    the velocity as it is. PyTorch corrects the velocity first, so that its epsilon, 1e-8 there, weighs more early on.

    Args:
        learning_rate: a number, or a schedule.
        beta_1: the weight of the old mean of gradients, in [0, 1).
        beta_2: the weight of the old mean of squares, in [0, 1).
        epsilon: keeps steps finite where gradients vanish.
        amsgrad: divide by the root of the largest v so far.  Reference: Reddi et al. (2018).
        settings: weight_decay, clipvalue, clipnorm, global_clipnorm, nonfinite: see `Optimizer`.

    Reference: Kingma and Ba (2015), Algorithm 1.
    """

    def __init__(
        self,
        learning_rate: float | Schedule = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, **settings)
        self._amsgrad = flag(self, "amsgrad", amsgrad)

    @property
    def amsgrad(self) -> bool:
        """Whether the step is divided by the root of the largest velocity so far; fixed at construction."""
        return self._amsgrad

    @property
    def slots(self) -> tuple[str, ...]:
        return (*super().slots, *["largest_velocity"] * self.amsgrad)

    def numbers(self, step: int) -> dict[str, float]:
        rates: dict[str, Any] = self._rates
        taken = step + 1
        correction = math.sqrt(1 - rates["beta_2"] ** taken) / (1 - rates["beta_1"] ** taken)
        return {**super().numbers(step), "alpha": self.rate_at(step) * correction}

    def update(
        self,
        parameter: Array,
        gradient: Array,
        momentum: Array,
        velocity: Array,
        *largest: Array,
        alpha: Array,
        new_1: Array,
        new_2: Array,
        epsilon: Array,
    ) -> tuple[Array, ...]:
        momentum, velocity = self.moments(gradient, momentum, velocity, new_1, new_2)
        largest = tuple(ops.maximum(old, velocity) for old in largest)
        root = ops.sqrt(largest[0] if largest else velocity)
        return parameter - momentum * alpha / (root + epsilon), momentum, velocity, *largest


class AdamW(Adam):
    """w = w - learning_rate * weight_decay * w, and then the step of `Adam`.

    Args:
        learning_rate: a number, or a schedule.
        weight_decay: never of gamma, beta and alpha.
        beta_1, beta_2, epsilon, amsgrad: see `Adam`.
        settings: clipvalue, clipnorm, global_clipnorm, nonfinite: see `Optimizer`.

    Reference: Loshchilov and Hutter (2019), Algorithm 2.
    """

    def __init__(
        self,
        learning_rate: float | Schedule = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **settings: Unpack[ClippingSettings],
    ) -> None:
        if weight_decay is None:
            raise SettingError("AdamW expects weight_decay to be a number; got None. Without decay it is Adam")
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay=weight_decay, **settings)


class Nadam(Moments):
    """Adam that looks ahead: in the step, the mean of gradients is already the next one.

    With u(t) = beta_1 * (1 - 0.96 ** t / 2) and U(t) = u(1) * ... * u(t), in step t = 1, 2, ...:
    w = w - learning_rate * m_hat / (sqrt(v / (1 - beta_2 ** t)) + epsilon), where
    m_hat = u(t + 1) * m / (1 - U(t + 1)) + (1 - u(t)) * g / (1 - U(t)).

    Args:
        learning_rate: a number, or a schedule.
        beta_1, beta_2, epsilon: see `Adam`.
        settings: weight_decay, clipvalue, clipnorm, global_clipnorm, nonfinite: see `Optimizer`.

    Reference: Dozat (2016), Algorithm 2, with the warming of its section 3.1.
    """

    def numbers(self, step: int) -> dict[str, float]:
        taken, beta_1 = step + 1, self.beta_1
        now, ahead = (beta_1 * (1 - 0.5 * 0.96**t) for t in (taken, taken + 1))
        total, next_total = (beta_1**t * _warming(t) for t in (taken, taken + 1))
        return {
            **super().numbers(step),
            "learning_rate": self.rate_at(step),
            "of_momentum": ahead / (1 - next_total),
            "of_gradient": (1 - now) / (1 - total),
            "correction": 1 - self.beta_2**taken,
        }

    def update(
        self,
        parameter: Array,
        gradient: Array,
        momentum: Array,
        velocity: Array,
        *,
        learning_rate: Array,
        of_momentum: Array,
        of_gradient: Array,
        correction: Array,
        new_1: Array,
        new_2: Array,
        epsilon: Array,
    ) -> tuple[Array, ...]:
        momentum, velocity = self.moments(gradient, momentum, velocity, new_1, new_2)
        ahead = momentum * of_momentum + gradient * of_gradient
        return parameter - ahead * learning_rate / (ops.sqrt(velocity / correction) + epsilon), momentum, velocity


_WARM = 1000
"""From this step on the factors of the product below round to 1."""


def _warming(step: int) -> float:
    """The product of 1 - 0.96 ** t / 2 over t = 1, ..., step."""
    return _products()[min(step, _WARM)]


@cache
def _products() -> list[float]:
    return list(accumulate((1 - 0.5 * 0.96**t for t in range(1, _WARM + 1)), mul, initial=1.0))
