"""What stands in for values that were overwritten between the forward and the backward pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from tinygrad_bn.errors import StaleGraphError
from tinygrad_bn.tensors import Tensor
from tinygrad_bn.tensors.graph import made, source


class Overwritten(np.lib.mixins.NDArrayOperatorsMixin):
    """A Tensor whose values are gone: a rule may ask for its shape, and is refused once it reads a number."""

    def __init__(self, tensor: Tensor, vertex: Tensor) -> None:
        self.shape, self.dtype, self.ndim, self.size = tensor.shape, tensor.dtype, tensor.ndim, tensor.size
        self._tensor, self._vertex = tensor, vertex

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        """Raise StaleGraphError: who needs whose values, and who has written."""
        tensor, needing = self._tensor, made(self._vertex).__name__
        name = getattr(tensor, "path", None) or getattr(tensor, "name", None) or f"a variable of shape {tensor.shape}"
        writer = tensor.version.writer if tensor.version else ""
        raise StaleGraphError(
            f"the derivative of {needing} needs the values that {name} had in the forward pass, but {writer} has "
            "written to it since; run the forward pass again, or let it use a .copy()"
        )

    __array_ufunc__ = __array__ = __getattr__ = __getitem__ = __len__ = __iter__ = __bool__ = _refuse


def readable(known: Sequence[Any], vertex: Tensor) -> list[Any]:
    """`known`, the result and the arguments of `vertex`, with an `Overwritten` for each that was written to since."""
    return [
        Overwritten(thing, vertex)
        if isinstance(thing, Tensor) and thing.version is not None and thing.version.updated > vertex.serial
        else value
        for value, thing in zip(known, (vertex, *source(vertex)[1]), strict=True)
    ]
