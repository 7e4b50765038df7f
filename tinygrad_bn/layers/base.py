"""What all layers share: a name, a dtype, and learning the input shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_bn import initializers, names
from tinygrad_bn.errors import NotBuiltError, SettingError, ShapeError
from tinygrad_bn.module import Module
from tinygrad_bn.tensors import Tensor, as_array
from tinygrad_bn.variables import Parameter

Shape = tuple[int | None, ...]
"""The length of each axis, None for the batch."""


class Layer(Module):
    """A module that learns its input shape, and so the shapes of its parameters, at its first call.

    A subclass keeps the arguments of its constructor under their own names, makes its parameters in `build`, and
    computes in `forward`. All layers take these arguments, by name:

    Args:
        name: what messages call it while it is not part of a model, which knows it by its path.
        dtype: of its parameters and results; inputs are cast to it.
        trainable: whether its parameters are learned.
        input_shape: of one sample, without the batch axis; where it is given, nothing has to be called first.

    Attributes:
        input_shape: with None for the batch axis; None where it is not known yet.
        built: whether it has its parameters.
    """

    built: bool = False
    input_shape: Shape | None = None

    def __init__(self, **options: Any) -> None:
        allowed = {"name": None, "dtype": np.float32, "trainable": True, "input_shape": None}
        for option in options.keys() - allowed.keys():
            raise TypeError(names.unknown("argument", option, {*allowed, *_arguments(type(self))}, type(self).__name__))
        chosen = {**allowed, **options}
        self.name: str | None = chosen["name"]
        self.dtype = np.dtype(chosen["dtype"])
        if self.dtype.kind != "f":
            raise SettingError(f"{type(self).__name__} expects dtype to be a floating one; got {self.dtype}")
        self.trainable = bool(chosen["trainable"])
        if chosen["input_shape"] is not None:
            self.input_shape = (None, *_lengths(self, chosen["input_shape"]))

    def build(self, input_shape: Shape) -> None:
        """Make the parameters for inputs of this shape. A subclass makes its own first, and then calls this."""
        self.input_shape = tuple(input_shape)
        self.built = True

    def output_shape(self, input_shape: Shape) -> Shape:
        """The shape of the results for inputs of this shape."""
        return input_shape

    def accept(self, x: Any) -> Any:
        """`x` as an array or Tensor of the layer's dtype; the first one tells the input shape."""
        if not isinstance(x, (Tensor, np.ndarray)):
            x = as_array(x)
        if x.dtype != self.dtype:
            x = x.astype(self.dtype)
        if not self.built:
            if x.ndim == 0:
                raise self.expects("x of shape (batch, ...)", x)
            self.build((None, *x.shape[1:]))
        return x

    def ensure_built(self, path: str = "") -> None:
        if not self.built and self.input_shape is not None:
            self.build(self.input_shape)
        if not self.built and type(self).build is not Layer.build:
            called = f'{type(self).__name__} "{path or self.name}"' if path or self.name else type(self).__name__
            raise NotBuiltError(
                f"{called} has no parameters yet, because it does not know its input shape: "
                "call it on data first, or give input_shape, here or by an Input layer in front"
            )

    def known_output_shape(self) -> Shape | None:
        return None if self.input_shape is None else self.output_shape(self.input_shape)

    def parameter(self, name: str, shape: Sequence[int], initializer: Any) -> Parameter:
        """A new parameter of this layer."""
        return Parameter(initializers.get(initializer)(shape, dtype=self.dtype), self.trainable, name)


def _arguments(kind: type[Layer]) -> tuple[str, ...]:
    code = kind.__init__.__code__
    return code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]


def _lengths(layer: Layer, shape: Any) -> tuple[int, ...]:
    try:
        lengths = tuple(length.__index__() for length in shape)
    except (TypeError, AttributeError):
        lengths = (0,)
    if min(lengths, default=1) < 1:
        raise ShapeError(f"{type(layer).__name__} expects a shape of one sample, such as (28, 28); got {shape!r}")
    return lengths
