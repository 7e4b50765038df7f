"""GradientFlow: how far the signal gets through a model, epoch after epoch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar

from tinygrad_bn import diagnostics
from tinygrad_bn.models.listening import Callback, Logs
from tinygrad_bn.module.settings import natural


class GradientFlow(Callback):
    """Measures `tg.gradient_flow` before training and after every epoch, on one batch that stays the same.

    Training is not changed by it: parameters, moving statistics and random numbers are the same bits as without. A
    measurement runs the model once on that batch, forwards and back, and twice more back through each activation alone.

    Args:
        x: the batch of inputs; 128 to 512 samples are enough.
        y: their truths.
        every: measure after every so many epochs, and after the last.

    Attributes:
        history: what was measured, one report each.
        epoch: after how many epochs each was measured; the first is `initial_epoch`, before training.
    """

    _checks: ClassVar = {"every": natural}

    def __init__(self, x: Any, y: Any, every: int = 1) -> None:
        self.x, self.y = x, y
        self.every = every
        self.history: list[diagnostics.GradientFlow] = []
        self.epoch: list[int] = []

    def on_train_begin(self) -> None:
        self.history, self.epoch = [], []
        self._measure(self.initial_epoch)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        ends = epoch + 1 == self.epochs or self.model.stop_training
        if ends or (epoch + 1) % self.every == 0:
            self._measure(epoch + 1)

    def _measure(self, epochs: int) -> None:
        self.history.append(diagnostics.gradient_flow(self.model, self.x, self.y, self.model.loss))
        self.epoch.append(epochs)

    def state_dict(self) -> dict[str, Any]:
        history = [{"layers": [list(row) for row in each.layers], "loss": each.loss} for each in self.history]
        return {"epoch": list(self.epoch), "history": history}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if state:
            rows = [(map(diagnostics.LayerFlow._make, each["layers"]), each["loss"]) for each in state["history"]]
            self.history = [diagnostics.GradientFlow(*each) for each in rows]
            self.epoch = list(state["epoch"])

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw what was measured against the epochs, a line for each layer, as .svg, .png or .pdf. Needs matplotlib.

        Raises:
            RuntimeError: there is nothing to draw.
        """
        from tinygrad_bn.diagnostics.epochs_plot import plot_epochs

        if not self.history:
            raise RuntimeError(
                "GradientFlow.plot expects a measurement; there was none: give it to fit(callbacks=[...])"
            )
        plot_epochs(self.epoch, self.history, path)
