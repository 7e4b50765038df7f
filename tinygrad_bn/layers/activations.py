"""Activations: the functions by name, and the layers that own a setting, a parameter or a generator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import le
from typing import Any, ClassVar

import numpy as np

from tinygrad_bn import names, ops
from tinygrad_bn.errors import AxisError, SettingError
from tinygrad_bn.layers.base import Layer, RandomLayer, initializing, positions
from tinygrad_bn.module import Module, Shape
from tinygrad_bn.module.settings import integer, not_below_zero

ActivationLike = str | Callable[[Any], Any] | Module | None

FUNCTIONS: dict[str, Callable[[Any], Any] | None] = {
    "celu": ops.celu,
    "elu": ops.elu,
    "exponential": ops.exp,
    "gelu": ops.gelu,
    "hard_sigmoid": ops.hard_sigmoid,
    "leaky_relu": ops.leaky_relu,
    "linear": None,
    "log_softmax": ops.log_softmax,
    "mish": ops.mish,
    "relu": ops.relu,
    "selu": ops.selu,
    "sigmoid": ops.sigmoid,
    "silu": ops.silu,
    "softmax": ops.softmax,
    "softplus": ops.softplus,
    "softsign": ops.softsign,
    "swish": ops.silu,
    "tanh": ops.tanh,
}
_LAYERS = {"prelu": "PReLU", "rrelu": "RReLU"}


@names.checked
def get(activation: ActivationLike, where: str = "") -> Callable[[Any], Any] | None:
    """The function of a name, the function or layer itself, or None for the identity.

    Raises:
        SettingError: `where` was given something else; the message lists the names.
    """
    if activation is None or (callable(activation) and not isinstance(activation, type)):
        return activation
    if isinstance(activation, str) and activation in _LAYERS:
        place, layer = f" in {where}" if where else "", _LAYERS[activation]
        raise SettingError(f"activation {activation!r}{place} is no function of x alone: give layers.{layer}() instead")
    if isinstance(activation, type) and issubclass(activation, Module):
        name = activation.__name__
        raise SettingError(f"{where or 'get'} expects a layer as activation; got the class {name}: write {name}()")
    return names.chosen("activation", activation, FUNCTIONS, where)


def _axes(layer: Layer, name: str, value: Any) -> Any:
    """None, one integer or several."""
    given = value if isinstance(value, (list, tuple)) else () if value is None else (value,)
    if not all(isinstance(axis, (int, np.integer)) and not isinstance(axis, bool) for axis in given):
        raise layer.error(AxisError, f"expects {name} to name axes of x, from 1 on; got {value!r}")
    return value


class ReLU(Layer):
    """max(x, 0).  Reference: Nair and Hinton (2010)."""

    def forward(self, x: Any) -> Any:
        return ops.relu(x)


class LeakyReLU(Layer):
    """x where x > 0, else alpha * x.  Reference: Maas et al. (2013)."""

    _checks: ClassVar = {"alpha": not_below_zero}

    def __init__(self, alpha: float = 0.3, **options: Any) -> None:
        super().__init__(**options)
        self.alpha = alpha

    def forward(self, x: Any) -> Any:
        return ops.leaky_relu(x, alpha=self.alpha)


class PReLU(Layer):
    """x where x > 0, else alpha * x with an alpha that is learned.  Reference: He et al. (2015), Eq. 1.

    Args:
        alpha_initializer: a name or an initializer; from zeros it starts as a ReLU.
        shared_axes: axes of x, the batch being axis 0, along which there is only one alpha.
        **options: of every `Layer`.
    """

    _checks: ClassVar = {"alpha_initializer": initializing, "shared_axes": _axes}
    _settled = ("alpha_initializer", "shared_axes")

    def __init__(
        self, alpha_initializer: Any = "zeros", shared_axes: int | Sequence[int] | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        self.alpha_initializer = alpha_initializer
        self.shared_axes = shared_axes

    def build(self, input_shape: Shape) -> None:
        shared = positions(self, "shared_axes", () if (axes := self.shared_axes) is None else axes, len(input_shape))
        shape = [1 if axis in shared else length for axis, length in enumerate(input_shape)]
        self.alpha = self.parameter("alpha", shape[1:], self.alpha_initializer)
        super().build(input_shape)

    def forward(self, x: Any) -> Any:
        self.insist(x)
        return ops.prelu(x, self.alpha)


class RReLU(RandomLayer):
    """x where x > 0, else alpha * x: in training alpha is drawn from [lower, upper), else it is their mean.

    Reference: Xu et al. (2015), with the slope itself drawn instead of its reciprocal.
    """

    _checks: ClassVar = {"lower": not_below_zero, "upper": not_below_zero}
    _agreements = ((("lower", "upper"), le, "lower not above upper"),)

    def __init__(
        self,
        lower: float = 1 / 8,
        upper: float = 1 / 3,
        seed: int | None = None,
        rng: np.random.Generator | None = None,
        **options: Any,
    ) -> None:
        super().__init__(seed, rng, **options)
        self.lower, self.upper = lower, upper

    def forward(self, x: Any) -> Any:
        return ops.rrelu(x, self.lower, self.upper, training=self.in_training, rng=self._rng)


class ELU(Layer):
    """x where x > 0, else alpha * (exp(x) - 1).  Reference: Clevert et al. (2016), Eq. 15."""

    _checks: ClassVar = {"alpha": not_below_zero}

    def __init__(self, alpha: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.alpha = alpha

    def forward(self, x: Any) -> Any:
        return ops.elu(x, alpha=self.alpha)


class SELU(Layer):
    """scale * elu(x, alpha), with the pair that keeps mean 0 and variance 1.  Reference: Klambauer et al. (2017)."""

    def forward(self, x: Any) -> Any:
        return ops.selu(x)


class Softmax(Layer):
    """exp(x) / sum(exp(x)) along `axis`."""

    _checks: ClassVar = {"axis": integer}

    def __init__(self, axis: int = -1, **options: Any) -> None:
        super().__init__(**options)
        self.axis = axis

    def forward(self, x: Any) -> Any:
        return ops.softmax(x, axis=self.axis)
