"""The ndarray methods that people type, on a Tensor; NumPy's meaning throughout."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_bn import ops
from tinygrad_bn.primitives import Traced
from tinygrad_bn.tensors.arrays import of_numbers
from tinygrad_bn.tensors.protocol import dot

if TYPE_CHECKING:  # numpy.typing costs more to import than all of ours
    from numpy.typing import DTypeLike

    from tinygrad_bn.tensors import Tensor


class Methods(Traced):
    """See `Tensor`."""

    __slots__ = ()

    def sum(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """See `tg.sum`."""
        return _applied(ops.sum, self, axis, keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """See `tg.mean`."""
        return _applied(ops.mean, self, axis, keepdims)

    def max(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """See `tg.max`."""
        return _applied(ops.max, self, axis, keepdims)

    def min(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """See `tg.min`."""
        return _applied(ops.min, self, axis, keepdims)

    def prod(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """See `tg.prod`."""
        return _applied(ops.prod, self, axis, keepdims)

    def var(self, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Tensor:
        """See `tg.var`."""
        return _applied(ops.var, self, axis, ddof, keepdims)

    def std(self, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Tensor:
        """See `tg.std`."""
        return _applied(ops.std, self, axis, ddof, keepdims)

    def all(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """Whether every element is true."""
        return _applied(ops.all, self, axis, keepdims)

    def any(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """Whether some element is true."""
        return _applied(ops.any, self, axis, keepdims)

    def argmax(self, axis: int | None = None) -> Tensor:
        """See `tg.argmax`."""
        return _applied(ops.argmax, self, axis)

    def argmin(self, axis: int | None = None) -> Tensor:
        """See `tg.argmin`."""
        return _applied(ops.argmin, self, axis)

    def cumsum(self, axis: int | None = None) -> Tensor:
        """See `tg.cumsum`."""
        return _applied(ops.cumsum, self, axis)

    def clip(self, min: float | None = None, max: float | None = None) -> Tensor:
        """See `tg.clip`."""
        return _applied(ops.clip, self, min, max)

    def dot(self, other: Any) -> Tensor:
        """See `tg.matmul`."""
        return dot(self, other)

    def reshape(self, *shape: Any) -> Tensor:
        """See `tg.reshape`; the shape as one tuple or as several numbers."""
        return _applied(ops.reshape, self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> Tensor:
        """See `tg.transpose`; the axes as one tuple, as several numbers, or none to reverse them."""
        given = len(axes) == 1 and not isinstance(axes[0], (int, np.integer))
        return _applied(ops.transpose, self, axes[0] if given else axes or None)

    def flatten(self) -> Tensor:
        """All elements along one axis."""
        return _applied(ops.reshape, self, (-1,))

    ravel = flatten

    def squeeze(self, axis: Any = None) -> Tensor:
        """See `tg.squeeze`."""
        return _applied(ops.squeeze, self, axis)

    def copy(self) -> Tensor:
        """The same values in memory of their own; gradients flow through."""
        return _applied(ops.copy, self)

    def astype(self, dtype: DTypeLike) -> Tensor:
        """The values in another dtype; gradients flow between floating ones."""
        dtype = of_numbers(dtype, "astype")
        return _applied(ops.astype if dtype.kind == "f" else ops.discretize, self, dtype)


for _method in vars(Methods).values():
    if isinstance(_method, FunctionType):
        _method.__qualname__ = f"Tensor.{_method.__name__}"  # as Python's messages name it


def _applied(function: Callable[..., Any], *args: Any) -> Tensor:
    """What one of our functions makes of arguments of which one is a Tensor."""
    result: Tensor = function(*args)
    return result
