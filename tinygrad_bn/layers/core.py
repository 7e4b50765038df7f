"""The layers that networks are made of: Input, Dense, Flatten, Activation."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from tinygrad_bn import constraints, initializers, ops, regularizers
from tinygrad_bn.layers.activations import FUNCTIONS, ActivationLike, get
from tinygrad_bn.layers.base import Layer, sample_shape
from tinygrad_bn.module import Module, Shape, spelled
from tinygrad_bn.module.settings import flag, natural
from tinygrad_bn.variables import Parameter

_RULES: dict[str, Any] = {"initializer": initializers, "regularizer": regularizers, "constraint": constraints}


class Input(Layer):
    """x itself. It says what one sample looks like: `shape`, without the batch axis."""

    def __init__(self, shape: Any, **options: Any) -> None:
        super().__init__(**options)
        self.shape = sample_shape(self, shape)
        self.build((None, *self.shape))

    def forward(self, x: Any) -> Any:
        self.insist(x)
        return x


class _Activating(Layer):
    """A layer that ends in an activation; one that is a layer too is built with it, and not learned where it is not."""

    def __init__(self, activation: ActivationLike, **options: Any) -> None:
        super().__init__(**options)
        self.activation = activation

    def _checked(self, name: str, value: Any) -> Any:
        if name == "activation":
            get(value, type(self).__name__)
            if isinstance(value, Module) and not self.trainable:
                value.trainable = False
            if self.built and self.batch_shape is not None:
                self._build_activation(value, self.batch_shape)
        return super()._checked(name, value)

    def build(self, input_shape: Shape) -> None:
        self._build_activation(self.activation, input_shape)
        super().build(input_shape)

    def _build_activation(self, activation: ActivationLike, input_shape: Shape) -> None:
        if isinstance(activation, Layer) and not activation.built:
            activation.build(self.output_shape(input_shape))

    def _activated(self, x: Any) -> Any:
        activate = self.activation
        if isinstance(activate, str):
            activate = FUNCTIONS[activate]
        return x if activate is None else activate(x)


class Dense(_Activating):
    """activation(x @ kernel + bias).

    `x` is (batch, ..., fan_in) and the result is (batch, ..., units); `kernel` is (fan_in, units), `bias` is (units,).

    Args:
        units: how many neurons.
        activation: a name, a function or a layer; None for none.
        use_bias: whether there is a bias; before batch normalization beta takes its place.
        kernel_initializer: a name or an initializer.
        bias_initializer: a name or an initializer.
        kernel_regularizer, bias_regularizer: a name, a regularizer or a function; None for no penalty.
        kernel_constraint, bias_constraint: a name, a constraint or a function; None for no limits.
        **options: of every `Layer`.

    Raises:
        ValueError: an unknown name, or `units` is not a positive integer.
    """

    _axes_at_least = ("batch", "...", "features")
    _checks: ClassVar = {"units": natural, "use_bias": flag}
    _settled = ("units", "use_bias", "kernel_initializer", "bias_initializer")

    def __init__(
        self,
        units: int,
        activation: ActivationLike = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        *,
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(activation, **options)
        self.units = units
        self.use_bias = use_bias
        self.kernel_initializer, self.bias_initializer = kernel_initializer, bias_initializer
        self.kernel_regularizer, self.bias_regularizer = kernel_regularizer, bias_regularizer
        self.kernel_constraint, self.bias_constraint = kernel_constraint, bias_constraint

    def _checked(self, name: str, value: Any) -> Any:
        weights, _, kind = name.partition("_")
        if weights in ("kernel", "bias") and kind in _RULES:
            rule = _RULES[kind].get(value, type(self).__name__)
            self._rule(vars(self).get(weights), kind, rule)
        return super()._checked(name, value)

    def _rule(self, parameter: Parameter | None, kind: str, rule: Any) -> None:
        """Let a parameter that is there already follow a new rule."""
        if parameter is not None and kind == "regularizer":
            parameter.regularizer = rule
        elif parameter is not None and kind == "constraint":
            parameter.constraint = self.applicable(rule, parameter)

    def build(self, input_shape: Shape) -> None:
        if len(input_shape) < 2:
            raise self.expects(f"x of shape ({', '.join(self._axes_at_least)})", input_shape)
        self.kernel = self.parameter("kernel", (input_shape[-1], self.units), *self._kernel_rules)
        self.bias = self.parameter("bias", (self.units,), *self._bias_rules) if self.use_bias else None
        super().build(input_shape)

    @property
    def _kernel_rules(self) -> tuple[Any, Any, Any]:
        return self.kernel_initializer, self.kernel_regularizer, self.kernel_constraint

    @property
    def _bias_rules(self) -> tuple[Any, Any, Any]:
        return self.bias_initializer, self.bias_regularizer, self.bias_constraint

    def forward(self, x: Any) -> Any:
        kernel, bias, shape = self.kernel, self.bias, x.shape
        if len(shape) < 2 or shape[-1] != kernel.shape[0]:
            wanted = (*(self.batch_shape or (None,))[:-1], kernel.shape[0])  # whoever has replaced the kernel
            raise self.expects(f"x of shape {spelled(wanted)}", x)
        y = ops.matmul(x, kernel) if bias is None else ops.affine(x, kernel, bias)
        return self._activated(y)

    def output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units)


class Flatten(Layer):
    """x with all axes but the batch in one: (batch, ...) becomes (batch, features)."""

    def __init__(self, input_shape: Any = None, **options: Any) -> None:
        super().__init__(input_shape=input_shape, **options)

    def forward(self, x: Any) -> Any:
        self.insist(x)
        return ops.reshape(x, shape=(x.shape[0], math.prod(x.shape[1:])))

    def output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], math.prod(length for length in input_shape[1:] if length is not None))


class Activation(_Activating):
    """activation(x), the activation given as a name, a function or a layer."""

    def __init__(self, activation: ActivationLike, **options: Any) -> None:
        super().__init__(activation, **options)

    def forward(self, x: Any) -> Any:
        return self._activated(x)
