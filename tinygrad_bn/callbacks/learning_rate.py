"""Callbacks that change the learning rate."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

from tinygrad_bn.callbacks.monitoring import Monitoring
from tinygrad_bn.errors import SettingError
from tinygrad_bn.models.listening import Logs
from tinygrad_bn.module.settings import natural, not_below_zero, number
from tinygrad_bn.optimizers import Optimizer
from tinygrad_bn.saving import arguments


def _share(owner: Any, name: str, value: Any) -> float:
    return float(number(owner, name, value, "a number in (0, 1)", lambda share: 0 < share < 1))


class ReduceLROnPlateau(Monitoring):
    """Multiplies the learning rate by `factor` when a value has not got better for some epochs.

    The rate of each epoch becomes part of the logs, and so of the history, as "learning_rate".

    Args:
        monitor: the name of the value.
        factor: a number in (0, 1).
        patience: after how many epochs in a row without an improvement the rate is lowered; 0 means the same as 1.
        verbose: 1 says when it is.
        mode: "min" if smaller is better, "max" if larger is; "auto" is "max" for accuracies, "min" for all others.
        min_delta: by how much it must improve to count as better.
        cooldown: so many epochs after the rate was lowered are not counted.
        min_lr: the rate is never lowered below this.

    Raises:
        ValueError: an argument lies outside what is allowed; when training begins, the rate follows a schedule.
    """

    _checks: ClassVar = {
        "factor": _share,
        "patience": partial(natural, least=0),
        "cooldown": partial(natural, least=0),
        "min_lr": not_below_zero,
    }
    remembered = ("best", "wait", "cooling")
    adds = ("learning_rate",)

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.factor, self.patience, self.verbose = factor, patience, verbose
        self.cooldown, self.min_lr = cooldown, min_lr
        self.wait = self.cooling = 0

    def on_train_begin(self) -> None:
        super().on_train_begin()
        if callable(schedule := arguments(self._optimizer)["learning_rate"]):
            raise SettingError(f"ReduceLROnPlateau expects a learning rate that is a number; got {schedule!r}")
        self.best, self.wait, self.cooling = self.worst, 0, 0

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        value = self.read(logs)
        logs["learning_rate"] = self._optimizer.learning_rate  # type: ignore[index]
        if self.cooling > 0:
            self.cooling -= 1
            self.wait = 0
        if self.improves(value, self.best):
            self.best, self.wait = value, 0
        elif self.cooling == 0:
            self.wait += 1
            if self.wait >= self.patience and self._optimizer.learning_rate > self.min_lr:
                self._lower(epoch)

    def _lower(self, epoch: int) -> None:
        rate = max(self._optimizer.learning_rate * self.factor, self.min_lr)
        self._optimizer.learning_rate = rate
        self.cooling, self.wait = self.cooldown, 0
        if self.verbose:
            print(f"epoch {epoch + 1}: learning rate lowered to {rate:g}")

    @property
    def _optimizer(self) -> Optimizer:
        optimizer = self.model.optimizer
        assert optimizer is not None  # fit has made sure
        return optimizer
