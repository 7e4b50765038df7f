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
        history: by name, such as "loss" and "val_accuracy", one value for each epoch that was completed.
        epoch: the numbers of these epochs, from 0.
    """

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []

    def __repr__(self) -> str:
        last = {name: values[-1] for name, values in self.history.items()}
        return f"History({len(self.epoch)} epochs{': ' if last else ''}{told(last)})"

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        self.epoch.append(epoch)
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": list(self.epoch), "history": {name: list(values) for name, values in self.history.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.epoch = list(state.get("epoch", ()))
        self.history = {name: list(values) for name, values in state.get("history", {}).items()}

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw the values against the epochs, a panel for each, that of the validation data dashed.

        Args:
            path: where to write; its ending says in which format, such as .svg or .png.

        Raises:
            RuntimeError: there is nothing to draw.
            ImportError: matplotlib is not installed.
        """
        if not self.epoch:
            raise RuntimeError("History.plot expects at least one epoch; this training completed none")
        names = [name for name in self.history if not name.startswith("val_")]
        columns = min(len(names), 3)
        rows = -(-len(names) // columns)
        with picture(path, 5 * columns, 4 * rows) as figure:
            for place, name in enumerate(names, 1):
                axes: Any = figure.add_subplot(rows, columns, place)
                numbers = [epoch + 1 for epoch in self.epoch]
                axes.plot(numbers, self.history[name], ".-", label="training")
                if f"val_{name}" in self.history:
                    axes.plot(numbers, self.history[f"val_{name}"], ".--", label="validation")
                    axes.legend()
                axes.set(xlabel="epoch", ylabel=name)
                axes.xaxis.get_major_locator().set_params(integer=True)
