"""Stochastic gradient descent."""

from __future__ import annotations

from tinygrad_bn.optimizers.base import Optimizer, Rate
from tinygrad_bn.primitives import Array


class SGD(Optimizer):
    """velocity = momentum * velocity - learning_rate * g; w = w + velocity.

    With `nesterov`, w = w + momentum * velocity - learning_rate * g, with the new velocity. Without momentum there is
    no velocity, and w = w - learning_rate * g.

    The learning rate is part of the velocity, as in Keras and in the paper: a new rate acts at once on the step, and
    fades into the velocity. PyTorch multiplies by it at the end; for a constant rate the two are the same.

    Args:
        momentum: of the old velocity, in [0, 1).
        nesterov: look ahead by one step.
        learning_rate, weight_decay, clipvalue, clipnorm, global_clipnorm: see `Optimizer`.

    Reference: Sutskever et al. (2013), Eqs. 1-4.
    """

    momentum = Rate(below=1.0)

    def __init__(
        self,
        learning_rate: float = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        *,
        weight_decay: float | None = None,
        clipvalue: float | None = None,
        clipnorm: float | None = None,
        global_clipnorm: float | None = None,
    ) -> None:
        super().__init__(
            learning_rate,
            weight_decay=weight_decay,
            clipvalue=clipvalue,
            clipnorm=clipnorm,
            global_clipnorm=global_clipnorm,
        )
        self.momentum = momentum
        self._nesterov = bool(nesterov)

    @property
    def nesterov(self) -> bool:
        """Whether it looks ahead; fixed at construction."""
        return self._nesterov

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
