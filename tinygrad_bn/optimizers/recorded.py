"""How a step is taken while somebody records: on Tensors, in ordinary operations, and nobody looks at a value."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from tinygrad_bn.errors import CaptureError
from tinygrad_bn.mode import current, feed, using
from tinygrad_bn.optimizers.penalties import constrained
from tinygrad_bn.optimizers.updates import kinds, lay_out
from tinygrad_bn.primitives import Array
from tinygrad_bn.variables import Parameter

if TYPE_CHECKING:  # numpy.typing costs more to import than all of ours
    from numpy.typing import NDArray

    from tinygrad_bn.optimizers.base import Optimizer


class RecordedStep:
    """The steps of an optimizer that a recorder sees.

    A replay writes the numbers of all its steps before the first of them is taken. So each step has arrays of its own,
    told apart by how many steps the same recorder has seen before.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self._seen = 0
        self._recorder: weakref.ref[Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_seen": 0, "_recorder": None}

    def __call__(self, learned: Sequence[Parameter], gradients: Sequence[Array]) -> None:
        """Assign to each parameter and its slots what the update makes of them; all is computed before that."""
        optimizer, place = self.optimizer, self._place()
        with using(recorder=None):  # what a subclass tells from its rates is no part of the step
            arrays = {dtype: optimizer._numbers.arrays(dtype, place) for dtype in {each.dtype for each in learned}}
            rows = [optimizer._row(parameter) for parameter in learned]
            alike = kinds(optimizer, learned)
        numbers = {dtype: self._fed(found, place) for dtype, found in arrays.items()}
        for positions in alike.values():
            lay_out([rows[position] for position in positions])
        decaying = {position for (_, decays), positions in alike.items() if decays for position in positions}
        news = []
        for position, (parameter, row, gradient) in enumerate(zip(learned, rows, gradients, strict=True)):
            fed = numbers[parameter.dtype]
            text = partial(optimizer._text, len(row) - 1, tuple(fed), position in decaying)
            new = text(*row, gradient, *fed.values())
            value, *slots = new if isinstance(new, (tuple, list)) else (new,)
            news.append((constrained(optimizer, parameter, value), *slots))
        for row, new in zip(rows, news, strict=True):
            for variable, value in zip(row, new, strict=True):
                variable.assign(value, optimizer._name)

    def _place(self) -> int:
        """How many steps the present recorder has seen before this one."""
        recorder = current().recorder
        if self._recorder is None or self._recorder() is not recorder:
            self._recorder, self._seen = weakref.ref(recorder), 0
        optimizer, place = self.optimizer, self._seen
        if place and optimizer._numbers.vary and optimizer.nonfinite == "skip":
            raise CaptureError(
                f'{optimizer._name} with nonfinite="skip", and numbers that change from step to step, takes one step '
                "in a captured call; got another, whose number depends on whether the first will be skipped"
            )
        self._seen += 1
        return place

    def _fed(self, arrays: Mapping[str, NDArray[Any]], place: int) -> dict[str, Array]:
        numbers = self.optimizer._numbers
        refresh = partial(numbers.write, place, ahead=place) if numbers.vary else None
        return {name: feed(array, refresh) for name, array in arrays.items()}
