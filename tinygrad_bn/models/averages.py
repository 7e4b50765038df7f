"""What is told of an epoch: the mean loss, the metrics, and how often gradients had to be clipped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_bn.metrics import Metric
from tinygrad_bn.optimizers.clipping import Clipping

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COUNTED = (int, float, list, tuple, dict, np.generic, np.ndarray)
_AT_ONCE = 2**15
"""Metrics look at about so many numbers at a time."""


class Averages(Mapping[str, float]):
    """The mean loss and the metrics over the samples so far, by name; and what clipping did, where there is any.

    Metrics look at many batches at once, when their values are asked for: a small network's step is shorter than they.
    """

    def __init__(self, metrics: Sequence[Metric], clipping: Clipping | None = None) -> None:
        self._metrics = {metric.name: metric for metric in metrics}
        self._clipped = None if clipping is None else Clipped(clipping)
        self._loss = 0.0
        self._samples = 0
        self._waiting: list[tuple[NDArray[Any], NDArray[Any]]] = []
        for metric in metrics:
            metric.reset()

    def update(self, loss: Any, y_true: NDArray[Any], y_pred: NDArray[Any]) -> None:
        """Add a batch, of which `loss` is the mean loss."""
        self._loss += float(loss) * len(y_true)
        self._samples += len(y_true)
        if self._clipped is not None:
            self._clipped.look()
        if self._metrics:
            self._waiting.append((y_true, y_pred))
            if len(self._waiting) * y_pred.size > _AT_ONCE:
                self._look()

    def _look(self) -> None:
        if self._waiting:
            y_true, y_pred = map(np.concatenate, zip(*self._waiting, strict=True))
            self._waiting.clear()
            for metric in self._metrics.values():
                metric.update(y_true, y_pred)

    def __getitem__(self, name: str) -> float:
        if name == "loss":
            return self._loss / self._samples
        if name in self._metrics:
            self._look()
            return self._metrics[name].result()
        if self._clipped is None:
            raise KeyError(name)
        return self._clipped.values()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(["loss", *self._metrics, *([] if self._clipped is None else self._clipped.values())])

    def __len__(self) -> int:
        return len(list(iter(self)))

    # For a training that is to go on from here

    def state_dict(self) -> dict[str, Any]:
        """The sums so far."""
        self._look()
        parts = self._parts()
        return {"loss": self._loss, "samples": self._samples, "parts": {name: _sums(parts[name]) for name in parts}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from these sums."""
        self._loss, self._samples = state["loss"], state["samples"]
        for name, part in self._parts().items():
            vars(part).update(state["parts"].get(name, {}))

    def _parts(self) -> dict[str, Any]:
        return {**self._metrics, **({} if self._clipped is None else {"": self._clipped})}


def _sums(part: Any) -> dict[str, Any]:
    """What a part has counted, and not the functions that it is made of."""
    return {name: value for name, value in vars(part).items() if isinstance(value, _COUNTED)}


class Clipped:
    """What clipping did since this was made: `look` is called after each step."""

    def __init__(self, clipping: Clipping) -> None:
        self.clipping = clipping
        self.steps = 0
        self.acted_before, self.alarms_before = clipping.acted, clipping.alarms
        self.factor, self.norm = 1.0, 0.0

    def look(self) -> None:
        """Note how the last step was."""
        self.steps += 1
        factor, norm = self.clipping.factor, self.clipping.norm
        if factor < self.factor:
            self.factor = factor
        if norm > self.norm:
            self.norm = norm

    def values(self) -> dict[str, float]:
        """By the names that a history has them under.

        clipping_rate: the share of the steps in which a gradient was made smaller; clipping_factor: the smallest number
        that one was multiplied by; gradient_norm: the largest norm before clipping; nonfinite_steps: how many had a
        gradient that was not finite.
        """
        told = {"gradient_norm": self.norm}
        if self.clipping.kind is not None:
            acted = self.clipping.acted - self.acted_before
            told = {"clipping_rate": acted / max(self.steps, 1), "clipping_factor": self.factor, **told}
        if self.clipping.nonfinite != "keep":
            told["nonfinite_steps"] = float(self.clipping.alarms - self.alarms_before)
        return told
