"""Callbacks that end a training."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tinygrad_bn.callbacks.monitoring import Monitoring
from tinygrad_bn.models.listening import Callback, Logs
from tinygrad_bn.module.settings import flag, natural, optional, real

if TYPE_CHECKING:
    from numpy.typing import NDArray


class TerminateOnNaN(Callback):
    """Ends training when the loss is NaN or infinite."""

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        if not np.isfinite(logs["loss"]):
            self.model.stop_training = True


class EarlyStopping(Monitoring):
    """Ends training when a value has not got better for some epochs.

    Args:
        monitor: the name of the value.
        min_delta: by how much it must improve to count as better.
        patience: after how many epochs in a row without an improvement training ends; 0 means the same as 1.
        verbose: 1 says when it ends training.
        mode: "min" if smaller is better, "max" if larger is; "auto" is "max" for accuracies, "min" for all others.
        baseline: the epochs are counted on until the value is better than this, too; training never ends in an epoch
            with an improvement.
        restore_best_weights: in the end, also after an interrupt, go back to the parameters and states of the best
            epoch. A training that is saved then goes on from where it stood all the same.
        start_from_epoch: before this epoch, from 0, nothing is looked at.

    Attributes:
        best_epoch: the best one, from 0.
        stopped_epoch: the one after which it ended training, or None.
    """

    _checks: ClassVar = {
        "patience": partial(natural, least=0),
        "baseline": optional(real),
        "restore_best_weights": flag,
        "start_from_epoch": partial(natural, least=0),
    }
    remembered = ("best", "best_epoch", "stopped_epoch", "wait", "_best_state")

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0.0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.patience, self.verbose, self.baseline = patience, verbose, baseline
        self.restore_best_weights, self.start_from_epoch = restore_best_weights, start_from_epoch
        self._begin()

    def _begin(self) -> None:
        self.best = self.worst
        self.best_epoch = self.wait = 0
        self.stopped_epoch: int | None = None
        self._best_state: dict[str, NDArray[Any]] | None = None

    def on_train_begin(self) -> None:
        super().on_train_begin()
        self._begin()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        value = self.read(logs)
        if epoch < self.start_from_epoch:
            return
        self.wait += 1
        better = self.improves(value, self.best)
        if better or self._best_state is None:
            self.best, self.best_epoch = (value if better else self.best), epoch
            self._best_state = self.model.state_dict() if self.restore_best_weights else {}
        if better:
            self.wait = 0 if self.baseline is None or self.improves(value, self.baseline) else self.wait
        elif self.wait >= max(self.patience, 1) and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        best = state.get("_best_state")
        if not best or _shapes(best) == _shapes(self.model.state_dict()):  # else layers came or went since
            super().load_state_dict(state)

    def on_train_end(self) -> None:
        if self.stopped_epoch is not None and self.verbose:
            print(f"epoch {self.stopped_epoch + 1}: early stopping; best was epoch {self.best_epoch + 1}")
        if self._best_state:
            self.model.load_state_dict(self._best_state)


def _shapes(values: Mapping[str, NDArray[Any]]) -> dict[str, tuple[int, ...]]:
    return {path: value.shape for path, value in values.items()}
