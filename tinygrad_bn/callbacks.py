"""Callbacks: what else happens while `fit` trains a model."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tinygrad_bn import names
from tinygrad_bn.errors import SettingError
from tinygrad_bn.module.settings import natural, not_below_zero

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tinygrad_bn.models import Model

Logs = Mapping[str, float]
"""The loss and the metrics so far, by name; those of the validation data begin with "val_"."""


class Callback:
    """Is told what `fit` does. A subclass overrides the hooks that it wants.

    Attributes:
        model: the model that is trained; `model.stop_training = True` ends it after the present batch.
        epochs: how many there are to be.
        steps: how many batches make an epoch.
    """

    model: Model
    epochs: int
    steps: int

    def on_train_begin(self) -> None:
        """Training begins."""

    def on_train_end(self) -> None:
        """Training is over, however it ended: an error or an interrupt comes here too."""

    def on_epoch_begin(self, epoch: int) -> None:
        """Epoch number `epoch`, from 0, begins."""

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """The epoch and its validation are over."""

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """Batch number `batch`, from 0, of this epoch has been learned from; logs are means over the epoch so far."""


class TerminateOnNaN(Callback):
    """Ends training when the loss is NaN or infinite."""

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        if not np.isfinite(logs["loss"]):
            self.model.stop_training = True


class EarlyStopping(Callback):
    """Ends training when a value has not got better for some epochs.

    Args:
        monitor: the name of the value.
        min_delta: by how much it must improve to count as better.
        patience: after how many epochs in a row without an improvement training ends; 0 means the same as 1.
        mode: "min" if smaller is better, "max" if larger is; "auto" is "max" for accuracies, "min" for all others.
        restore_best_weights: in the end, go back to the parameters and states of the best epoch.

    Attributes:
        best_epoch: the best one, from 0.
        stopped_epoch: the one after which it ended training, or None.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0.0,
        patience: int = 0,
        mode: str = "auto",
        restore_best_weights: bool = False,
    ) -> None:
        if mode not in ("auto", "min", "max"):
            raise SettingError(names.unknown("mode", mode, ("auto", "min", "max"), "EarlyStopping"))
        self.monitor, self.mode = monitor, mode
        self.min_delta = not_below_zero(self, "min_delta", min_delta)
        self.patience = natural(self, "patience", patience, least=0)
        self.restore_best_weights = restore_best_weights
        self._best_state: dict[str, NDArray[Any]] | None = None

    def on_train_begin(self) -> None:
        rising = self.mode == "max" or (self.mode == "auto" and self.monitor.endswith(("accuracy", "acc")))
        self._sign = -1.0 if rising else 1.0
        self._best = float("inf")
        self._best_state = None
        self.best_epoch = 0
        self.stopped_epoch: int | None = None

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if self.monitor not in logs:
            raise SettingError(names.unknown("monitor", self.monitor, logs, "EarlyStopping"))
        value = self._sign * logs[self.monitor]
        if value < self._best - self.min_delta:
            self._best, self.best_epoch = value, epoch
            self._best_state = self.model.state_dict() if self.restore_best_weights else None
        elif epoch - self.best_epoch >= max(self.patience, 1):
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self) -> None:
        if self._best_state is not None:
            self.model.load_state_dict(self._best_state)
            self._best_state = None


class ProgressBar(Callback):
    """Shows how training goes on.

    A bar needs a terminal or a notebook, and tqdm; everywhere else there is a plain line for each epoch.

    Args:
        style: "bar", "lines", or "auto": bars where they can be shown.
        title: with one, there is a single bar, or line, for the whole training, under this title.
        leave: whether a finished bar stays on the screen.
    """

    def __init__(self, style: str = "auto", *, title: str | None = None, leave: bool = True) -> None:
        if style not in ("auto", "bar", "lines"):
            raise SettingError(names.unknown("style", style, ("auto", "bar", "lines"), "ProgressBar"))
        self.style, self.title, self.leave = style, title, leave
        self._tqdm: Any = None
        self._bar: Any = None
        self._logs: Logs = {}
        self._epoch = 0

    def on_train_begin(self) -> None:
        wanted = self.style == "bar" or (self.style == "auto" and _screen_is_live())
        self._tqdm = _tqdm() if wanted else None
        self._logs = {}
        self._began = time.perf_counter()
        if self.title is not None:
            self._open(self.title, self.epochs * self.steps)

    def on_epoch_begin(self, epoch: int) -> None:
        self._epoch = epoch
        if self.title is None:
            self._began = time.perf_counter()
            self._open(self._heading(), self.steps)

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        if self._bar is not None and self._bar.update(1):  # true when tqdm has just drawn it: a few times a second
            self._bar.set_postfix_str(told(logs), refresh=False)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        self._logs = logs
        if self._bar is not None:
            self._bar.set_postfix_str(told(logs))
        if self.title is None:
            self._close(self._heading())

    def on_train_end(self) -> None:
        if self.title is not None:
            self._close(f"{self.title}, {self._heading()}")
        elif self._bar is not None:
            self._bar.close()  # in the middle of an epoch
            self._bar = None

    def _heading(self) -> str:
        return f"epoch {self._epoch + 1}/{self.epochs}"

    def _open(self, heading: str, total: int) -> None:
        if self._tqdm is not None:
            self._bar = self._tqdm(total=total, desc=heading, leave=self.leave, unit="batch", file=sys.stdout)

    def _close(self, heading: str) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        elif self._tqdm is None and self._logs:
            print(f"{heading}: {told(self._logs)}, {time.perf_counter() - self._began:.1f} s", flush=True)
        self._logs = {}


_VERBOSE: Final[dict[str | int, str]] = {"auto": "auto", 1: "bar", 2: "lines"}


def progress(verbose: str | int) -> list[Callback]:
    """What `fit(verbose=...)` asks for: 0 is silent, 1 shows bars, 2 plain lines, "auto" bars where they can be shown.

    Raises:
        ValueError: it is something else.
    """
    if verbose == 0:
        return []
    if verbose not in _VERBOSE:
        raise SettingError(f"verbose expects 'auto', 0, 1 or 2; got {verbose!r}")
    return [ProgressBar(_VERBOSE[verbose])]


def told(logs: Logs) -> str:
    """The values in a line."""
    return ", ".join(f"{name} {value:.4g}" for name, value in logs.items())


def _screen_is_live() -> bool:
    """Whether what is printed can be drawn over: a terminal or a notebook."""
    isatty = getattr(sys.stdout, "isatty", None)  # there may be no standard output at all
    return "ipykernel" in sys.modules or (isatty is not None and isatty())


def _tqdm() -> Any:
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return None
    return tqdm
