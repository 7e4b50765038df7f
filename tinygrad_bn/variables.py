"""Variables: the Tensors that can be updated. Parameters are learned, states are kept."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_bn.errors import DtypeError, ShapeError
from tinygrad_bn.mode import current
from tinygrad_bn.tensors import Tensor, Version, as_array, next_serial

if TYPE_CHECKING:  # numpy.typing costs more to import than all of ours
    from numpy.typing import NDArray


class Variable(Tensor):
    """A Tensor whose values can be replaced, in place, by `assign`; its version counts the updates."""

    __slots__ = ("name",)
    version: Version

    def __init__(self, data: Any, requires_grad: bool = False, name: str | None = None) -> None:
        super().__init__(np.array(as_array(data)), requires_grad)
        self.version = Version()
        self.name = name

    def assign(self, data: Any, writer: str = "assign") -> None:
        """Replace the values; no gradient flows from the old or into the new ones.

        Args:
            data: a Tensor or array of this shape, or a number for all elements; it is cast to this dtype.
            writer: who is writing, for the message to whoever still needed the old values.

        Raises:
            ShapeError: `data` has another shape.
            DtypeError: `data` is floating and this is not.
        """
        name = self.name or "assign"
        value = data.value if isinstance(data, Tensor) else as_array(data, name=name)
        if value.shape != self.shape and value.ndim:
            raise ShapeError(f"{name} expects values of shape {self.shape}; got {value.shape}")
        if value.dtype is not self.dtype and not np.can_cast(value.dtype, self.dtype, "same_kind"):
            raise DtypeError(f"{name} expects values that can be cast to {self.dtype}; got {value.dtype}")
        recorder = current().recorder
        if recorder is not None:
            recorder.assigned(self, data)
        np.copyto(self.writing(writer), value, casting="same_kind")

    def writing(self, writer: str) -> NDArray[Any]:
        """The memory of the values, which `writer` is about to change: all who remember them are told."""
        journal = current().journal
        if journal is not None and not journal.noted(self):
            journal.note(self, partial(_restore, self, self.value.copy()))
        self.version.updated = next_serial()
        self.version.writer = writer
        return self.value

    def __reduce__(self) -> tuple[Any, ...]:
        return _remade, (type(self), self.value.copy(), self._wanted, self.name)


class Parameter(Variable):
    """A variable that a `Module` finds and an optimizer learns, unless `trainable` is off."""

    __slots__ = ()

    def __init__(self, data: Any, *, name: str | None = None, trainable: bool = True) -> None:
        super().__init__(data, trainable, name)

    @property
    def trainable(self) -> bool:
        """Whether it is learned: the same bit as `requires_grad`."""
        return self.requires_grad

    @trainable.setter
    def trainable(self, wanted: bool) -> None:
        self.requires_grad = wanted


class State(Variable):
    """A variable that a `Module` keeps without learning it, such as a moving average."""

    __slots__ = ()


def _remade(kind: type[Variable], value: NDArray[Any], wanted: bool, name: str | None) -> Variable:
    variable = kind(value, name=name)
    variable.requires_grad = wanted
    return variable


def _restore(variable: Variable, value: NDArray[Any]) -> None:
    np.copyto(variable.writing("frozen_state"), value)
