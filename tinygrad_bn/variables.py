"""Variables: the Tensors that can be updated. Parameters are learned, states are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np

from tinygrad_bn import ops
from tinygrad_bn.errors import DtypeError, ShapeError
from tinygrad_bn.memory import address, aligned
from tinygrad_bn.mode import changed, current
from tinygrad_bn.names import checked
from tinygrad_bn.tensors import Tensor, Version, as_array, next_serial

if TYPE_CHECKING:  # numpy.typing costs more to import than all of ours
    from numpy.typing import NDArray

Rule: TypeAlias = Callable[[Any], Any]
"""A function of the values of a parameter, in ordinary operators and tg functions."""


class Variable(Tensor):
    """A Tensor whose values can be replaced, in place, by `assign`; its version counts the updates.

    They lie in rows, in C order, whatever they are made from, so that what computes with them has one order.

    Attributes:
        name: what messages call it.
        path: where a module that was last asked for its variables has it; messages prefer this.
        moves: how often any variable's memory has been moved, by `side_by_side`.
    """

    __slots__ = ("name", "path")
    version: Version
    moves: ClassVar[int] = 0

    def __init__(self, data: Any, requires_grad: bool = False, name: str | None = None) -> None:
        super().__init__(np.array(as_array(data), order="C"), requires_grad)
        self.version = Version()
        self.name = name
        self.path: str | None = None

    def assign(self, data: Any, writer: str = "assign", *, where: Any = True) -> None:
        """Replace the values; no gradient flows from the old or into the new ones.

        Args:
            data: a Tensor or array of this shape, or a number for all elements; it is cast to this dtype.
            writer: who is writing, for the message to whoever still needed the old values.
            where: a Tensor or array of truths, of this shape: the values stay as they are in the places of the others.

        Raises:
            ShapeError: `data` or `where` has another shape.
            DtypeError: `data` is floating and this is not, or `where` is not made of truths.
        """
        name, own = self.name or "assign", self.value
        if type(data) is np.ndarray:
            value = data
        else:
            value = data.value if isinstance(data, Tensor) else as_array(data, None, name, np.float64)
        if value.shape != own.shape and value.ndim:
            raise ShapeError(f"{name} expects values of shape {own.shape}; got {value.shape}")
        if value.dtype is not own.dtype and not np.can_cast(value.dtype, own.dtype, "same_kind"):
            raise DtypeError(f"{name} expects values that can be cast to {own.dtype}; got {value.dtype}")
        places = True if where is True else _mask(where, own, name)
        recorder = current().recorder
        if recorder is not None:
            given = data if isinstance(data, Tensor) else value
            data = given if given.dtype == own.dtype else given.astype(own.dtype)
            if where is not True:
                data = ops.where(where, data, self)
            if not recorder.assigned(self, data, writer):
                return
        memory = self.writing(writer)
        if places is True:
            memory[...] = value  # a mask takes three times as long
        else:
            np.copyto(memory, value, "same_kind", places)

    def writing(self, writer: str) -> NDArray[Any]:
        """The memory of the values, which `writer` is about to change: all who remember them are told."""
        written((self,), writer)
        return self.value

    def __reduce__(self) -> tuple[Any, ...]:
        return _remade, (type(self), self.value.copy(), self._wanted, self.name, dict(self.version.writers))


class Parameter(Variable):
    """A variable that a `Module` finds and an optimizer learns, unless `trainable` is off.

    Args:
        data: the values that it starts with.
        name: what messages call it.
        trainable: whether it is learned.
        regularizer: a function that gives a penalty on the values, one number, for optimizers to make small.
        constraint: a function that gives the allowed values nearby, which optimizers apply after each step.
    """

    __slots__ = ("_constraint", "_regularizer")

    @checked
    def __init__(
        self,
        data: Any,
        *,
        name: str | None = None,
        trainable: bool = True,
        regularizer: Rule | None = None,
        constraint: Rule | None = None,
    ) -> None:
        super().__init__(data, trainable, name)
        self.regularizer, self.constraint = regularizer, constraint

    @property
    def trainable(self) -> bool:
        """Whether it is learned: the same bit as `requires_grad`."""
        return self.requires_grad

    @trainable.setter
    def trainable(self, wanted: bool) -> None:
        self.requires_grad = wanted

    @property
    def regularizer(self) -> Rule | None:
        """The penalty on its values; see `tg.regularizers`."""
        return self._regularizer

    @regularizer.setter
    def regularizer(self, regularizer: Rule | None) -> None:
        self._regularizer = self._callable("regularizer", regularizer)
        changed()

    @property
    def constraint(self) -> Rule | None:
        """What keeps its values where they are allowed; see `tg.constraints`."""
        return self._constraint

    @constraint.setter
    def constraint(self, constraint: Rule | None) -> None:
        self._constraint = self._callable("constraint", constraint)
        changed()

    def _callable(self, kind: str, rule: Rule | None) -> Rule | None:
        if rule is not None and (not callable(rule) or isinstance(rule, type)):
            raise TypeError(
                f"{self.name or 'a parameter'} expects as {kind} a function of its values, or None; got {rule!r}. "
                f"tg.{kind}s.get finds one by its name"
            )
        return rule

    def __reduce__(self) -> tuple[Any, ...]:
        return *super().__reduce__(), (None, {"regularizer": self.regularizer, "constraint": self.constraint})


class State(Variable):
    """A variable that a `Module` keeps without learning it, such as a moving average."""

    __slots__ = ()

    @property
    def trainable(self) -> bool:
        """False: no optimizer learns it."""
        return False


_TRUTHS = np.dtype(np.bool)


def _mask(where: Any, own: NDArray[Any], name: str) -> Any:
    """The truths of `where`, if they go with the values `own` of the variable `name`. Raises as `assign`."""
    places = where.value if isinstance(where, Tensor) else where
    dtype = getattr(places, "dtype", None)
    if dtype != _TRUTHS:
        raise DtypeError(f"{name} expects where to be an array of truths; got {dtype or type(places).__name__}")
    if places.shape != own.shape:
        raise ShapeError(f"{name} expects where to have the shape {own.shape}; got {places.shape}")
    return places.copy() if own.dtype == _TRUTHS else places  # it may show `own`, and is read while that is written


def written(variables: Iterable[Variable], writer: str) -> None:
    """`writer` is about to change the values of these: all who remember them are told."""
    journal = current().journal
    if journal is not None:
        for variable in variables:
            if not journal.noted(variable):
                old, writers = variable.value.copy(), variable.version.writers.copy()
                journal.note(variable, partial(_undoing, variable, old, writers))
    serial = next_serial()
    for variable in variables:
        version = variable.version
        version.updated = serial
        version.writer = writer
        version.writers[writer] += 1


def side_by_side(variables: Sequence[Variable]) -> NDArray[Any] | None:
    """The values of variables of one dtype as one flat array, which shares their memory; so do their views.

    Those that have never been moved are moved together; None where others lie apart already.
    """
    values = [variable.value for variable in variables]
    if all(value.base is None and value.flags.c_contiguous for value in values):
        flat = aligned(sum(value.nbytes for value in values)).view(values[0].dtype)
        np.concatenate([value.ravel() for value in values], out=flat)
        start = 0
        for variable, value in zip(variables, values, strict=True):
            _move(variable, flat[start : start + value.size].reshape(value.shape))
            start += value.size
        Variable.moves += 1
        return flat
    return adjacent(variables)


def _move(variable: Variable, memory: NDArray[Any]) -> None:
    """Let the variable, and whoever shows its values, have them in this memory, where they are already."""
    old, variable.value = variable.value, memory
    for view in list(variable.version.views):
        shown = view.value
        view.value = np.ndarray(shown.shape, shown.dtype, memory, address(shown) - address(old), shown.strides)
        view.value.flags.writeable = shown.flags.writeable


def adjacent(variables: Sequence[Variable]) -> NDArray[Any] | None:
    """The flat array that the values of these lie in one after the other, or None where they do not."""
    values = [variable.value for variable in variables]
    home = values[0].base
    if home is None:
        return None
    start = end = address(values[0])
    for value in values:
        if value.base is not home or address(value) != end:
            return None
        end += value.nbytes
    dtype = values[0].dtype
    return np.ndarray(((end - start) // dtype.itemsize,), dtype, home, start - address(home))


def _remade(
    kind: type[Variable], value: NDArray[Any], wanted: bool, name: str | None, writers: dict[str, int] | None = None
) -> Variable:
    variable = kind(value, name=name)
    variable.requires_grad = wanted
    variable.version.writers.update({"an older version": 1} if writers is None else writers)  # older pickles have none
    return variable


def _undoing(variable: Variable, old: NDArray[Any], writers: dict[str, int]) -> list[Callable[[], object]]:
    memory = variable.writing("frozen_state")
    # What was undone has not happened, so its writers are forgotten.
    return [partial(memory.__setitem__, ..., old), partial(setattr, variable.version, "writers", writers)]
