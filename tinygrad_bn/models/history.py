"""What a training has been like."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from tinygrad_bn.files import picture
from tinygrad_bn.models.listening import Callback, Logs, told


class History(Callback):
    """The loss and the metrics of every epoch; `fit` returns it.

    Where the optimizer clips, there are also "clipping_rate", the share of the epoch's steps in which a gradient was
    made smaller; "clipping_factor", the smallest number that one was multiplied by; and "gradient_norm", the largest
    norm before that. Where it looks for gradients that are not finite, "nonfinite_steps" had one.

    Attributes:
        epoch: the numbers of these epochs, from 0.
    """

    def __init__(self) -> None:
        self.epoch: list[int] = []
        self._logs: list[Logs] = []  # what callbacks write into them later is in them

    @property
    def history(self) -> dict[str, list[float]]:
        """By name, such as "loss" and "val_accuracy", one value for each epoch that was completed."""
        names = dict.fromkeys(name for logs in self._logs for name in logs)
        return {name: [logs[name] for logs in self._logs if name in logs] for name in names}

    def __repr__(self) -> str:
        last = {name: values[-1] for name, values in self.history.items()}
        return f"History({len(self.epoch)} epochs{': ' if last else ''}{told(last)})"

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        self.epoch.append(epoch)
        self._logs.append(logs)

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": list(self.epoch), "logs": [dict(logs) for logs in self._logs]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.epoch, self._logs = list(state.get("epoch", ())), list(state.get("logs", ()))

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw the values against the epochs, a panel for each, that of the validation data dashed.

        Args:
            path: where to write; its ending says in which format, such as .svg or .png.

        Raises:
            RuntimeError: there is nothing to draw.
            ValueError: matplotlib knows no such format.
            ImportError: matplotlib is not installed.
        """
        if not self.epoch:
            raise RuntimeError("History.plot expects at least one epoch; this training completed none")
        history = self.history
        names = [name for name in history if not name.startswith("val_")]
        columns = min(len(names), 3)
        rows = -(-len(names) // columns)
        with picture(path, 5 * columns, 4 * rows) as figure:
            for place, name in enumerate(names, 1):
                axes: Any = figure.add_subplot(rows, columns, place)
                numbers = [epoch + 1 for epoch in self.epoch]
                axes.plot(numbers, history[name], ".-", label="training")
                if f"val_{name}" in history:
                    axes.plot(numbers, history[f"val_{name}"], ".--", label="validation")
                    axes.legend()
                axes.set(xlabel="epoch", ylabel=name)
                axes.xaxis.get_major_locator().set_params(integer=True)
