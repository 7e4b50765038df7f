"""What callbacks share that watch whether a value gets better."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from tinygrad_bn import names
from tinygrad_bn.errors import SettingError
from tinygrad_bn.models.listening import Callback, Logs
from tinygrad_bn.module.settings import not_below_zero


class Monitoring(Callback):
    """Watches a value.

    Args:
        monitor: its name among the logs.
        mode: "min" if smaller is better, "max" if larger is; "auto" is "max" for accuracies, "min" for all others.
        min_delta: by how much it must improve to count as better.

    Attributes:
        best: the best value so far; infinite, on the bad side, before there is one.
    """

    remembered: tuple[str, ...] = ("best",)

    def __init__(self, monitor: str, mode: str, min_delta: float = 0.0) -> None:
        if not isinstance(monitor, str):
            raise SettingError(f"{type(self).__name__} expects monitor to be the name of a value; got {monitor!r:.60}")
        if mode not in ("auto", "min", "max"):
            raise SettingError(names.unknown("mode", mode, ("auto", "min", "max"), type(self).__name__))
        self.monitor, self.mode = monitor, mode
        self.min_delta = not_below_zero(self, "min_delta", min_delta)
        self.rising = mode == "max" or (mode == "auto" and monitor.endswith(("accuracy", "acc")))
        self.best = self.worst

    def on_train_begin(self) -> None:
        self.expect_in(self.epoch_logs)

    @property
    def worst(self) -> float:
        """What every number is better than."""
        return float("-inf") if self.rising else float("inf")

    def read(self, logs: Logs) -> float:
        """The value.

        Raises:
            SettingError: there is none of this name.
        """
        self.expect_in(logs)
        return logs[self.monitor]

    def expect_in(self, logs: Collection[str] | None) -> None:
        """Raise a SettingError if there is none of this name among those of the logs, where these are known."""
        if logs is not None and self.monitor not in logs:
            raise SettingError(names.unknown("monitor", self.monitor, logs, type(self).__name__))

    def improves(self, value: float, other: float) -> bool:
        """Whether `value` is better than the other one, by more than `min_delta`; NaN never is."""
        return value > other + self.min_delta if self.rising else value < other - self.min_delta

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.remembered}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)
