"""How a step is taken while somebody records: on Tensors, in ordinary operations, and nobody looks at a value."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from tinygrad_bn.errors import CaptureError
from tinygrad_bn.mode import current, feed
from tinygrad_bn.optimizers.updates import kinds, lay_out
from tinygrad_bn.primitives import Array
from tinygrad_bn.variables import Parameter

if TYPE_CHECKING:  # numpy.typing costs more to import than all of ours
    import numpy as np

    from tinygrad_bn.optimizers.base import Optimizer


class RecordedStep:
    """The steps of an optimizer that a recorder sees.

    Attributes:
        pending: how many of them have not been counted yet: that may happen at the end, for all of them.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.pending = 0
        self._recorder: weakref.ref[Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "pending": 0, "_recorder": None}

    def __call__(self, learned: Sequence[Parameter], gradients: Sequence[Array]) -> None:
        """Assign to each parameter and its slots what the update makes of them; all is computed before that."""
        optimizer, ahead = self.optimizer, self._ahead()
        numbers = {dtype: self._fed(dtype, ahead) for dtype in {parameter.dtype for parameter in learned}}
        rows = [optimizer._row(parameter) for parameter in learned]
        for positions in kinds(optimizer, learned).values():
            lay_out([rows[position] for position in positions])
        news = []
        for row, gradient in zip(rows, gradients, strict=True):
            fed = numbers[row[0].dtype]
            text = partial(optimizer._text, len(row) - 1, tuple(fed), optimizer._decays(row[0]))
            new = text(*row, gradient, *fed.values())
            news.append(new if isinstance(new, (tuple, list)) else (new,))
        for row, new in zip(rows, news, strict=True):
            for variable, value in zip(row, new, strict=True):
                variable.assign(value, optimizer._name)
        self.pending += 1

    def _ahead(self) -> int:
        """How many steps the present recorder has seen that are not counted yet."""
        recorder = current().recorder
        if self._recorder is None or self._recorder() is not recorder:
            self._recorder, self.pending = weakref.ref(recorder), 0
        optimizer = self.optimizer
        if self.pending and optimizer._numbers.vary and optimizer.nonfinite == "skip":
            raise CaptureError(
                f'{optimizer._name} with nonfinite="skip", and numbers that change from step to step, takes one step '
                "in a captured call; got another, whose number depends on whether the first will be skipped"
            )
        return self.pending

    def _fed(self, dtype: np.dtype[Any], ahead: int) -> dict[str, Array]:
        arrays = self.optimizer._numbers.arrays(dtype, ahead)
        numbers = self.optimizer._numbers
        refresh = partial(numbers.write, ahead) if numbers.vary else None
        return {name: feed(array, refresh) for name, array in arrays.items()}
