"""What parameters bring to a step: regularizers add to the gradients, constraints have the last word."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from tinygrad_bn.mode import using
from tinygrad_bn.primitives import Array
from tinygrad_bn.regularizers import slope
from tinygrad_bn.tensors import Tensor
from tinygrad_bn.variables import Parameter


def regularized(parameters: Collection[Parameter], gradients: Sequence[Array]) -> Sequence[Array]:
    """The gradients of these parameters, arrays or Tensors, with the derivatives of the penalties."""
    if all(parameter._regularizer is None for parameter in parameters):
        return gradients
    return [
        gradient if parameter.regularizer is None else _sum(gradient, slope(parameter))
        for parameter, gradient in zip(parameters, gradients, strict=True)
    ]


def _sum(gradient: Array, own: Tensor | None) -> Array:
    if own is None:
        return gradient
    return gradient + (own if isinstance(gradient, Tensor) else own.value)


def constrained(parameter: Parameter, value: Any) -> Any:
    """The values, a Tensor or an array of what is to be those of the parameter, kept where they are allowed to be."""
    if parameter.constraint is None:
        return value
    tensor = value if isinstance(value, Tensor) else Tensor(value)
    with using(gradients=False):
        return parameter.constraint(tensor if tensor.dtype == parameter.dtype else tensor.astype(parameter.dtype))
