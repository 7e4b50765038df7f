"""What parameters bring to a step: regularizers add to the gradients, constraints have the last word."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_bn.errors import DtypeError, ShapeError
from tinygrad_bn.mode import using
from tinygrad_bn.primitives import Array
from tinygrad_bn.regularizers import slope
from tinygrad_bn.tensors import Tensor
from tinygrad_bn.variables import Parameter

if TYPE_CHECKING:
    from tinygrad_bn.optimizers.base import Optimizer


def regularized(parameters: Collection[Parameter], gradients: Sequence[Array]) -> Sequence[Array]:
    """The gradients of these parameters, arrays or Tensors, with the derivatives of the penalties."""
    penalized = [parameter for parameter in parameters if parameter._regularizer is not None]
    if not penalized:
        return gradients
    return [
        gradient if parameter.regularizer is None else _sum(gradient, slope(parameter))
        for parameter, gradient in zip(parameters, gradients, strict=True)
    ]


def _sum(gradient: Array, own: Tensor | None) -> Array:
    if own is None:
        return gradient
    return gradient + (own if isinstance(gradient, Tensor) else own.value)


def constrained(optimizer: Optimizer, parameter: Parameter, value: Any) -> Any:
    """The values, a Tensor or an array of what is to be those of the parameter, kept where they are allowed to be.

    Raises:
        ShapeError, DtypeError: the constraint cannot take the values, or gives some of another shape.
    """
    constraint = parameter.constraint
    if constraint is None:
        return value
    tensor = value if isinstance(value, Tensor) else Tensor(value)
    which = f"the constraint of {optimizer._paths.get(parameter) or parameter.name or 'a parameter'}"
    try:
        with using(gradients=False):
            tensor = tensor if tensor.dtype == parameter.dtype else tensor.astype(parameter.dtype)
            allowed = constraint(tensor if tensor.value.flags.c_contiguous else tensor.copy())  # as it will lie
    except (ShapeError, DtypeError) as error:
        error.args = (f"{optimizer._name}: {which}, {constraint!r}, failed: {error}",)
        raise
    shape = np.shape(allowed) if not isinstance(allowed, Tensor) else allowed.shape
    if shape != parameter.shape:
        expected = f"{optimizer._name} expects {which} to give values of shape {parameter.shape}"
        raise ShapeError(f"{expected}; {constraint!r} gave {shape}")
    return allowed
