"""What callbacks share that watch whether a value gets better."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

from tinygrad_bn import names
from tinygrad_bn.errors import SettingError
from tinygrad_bn.models.listening import Callback, Logs
from tinygrad_bn.module.settings import natural, not_below_zero, one_of


def _text(callback: Callback, name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise callback.error(SettingError, f"expects {name} to be the name of a value; got {value!r:.60}")
    return value


def _loudness(callback: Callback, name: str, value: Any) -> int:
    return int(value) if isinstance(value, bool) else natural(callback, name, value, least=0)


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

    _checks: ClassVar = {
        "monitor": _text,
        "mode": one_of("auto", "min", "max"),
        "min_delta": not_below_zero,
        "verbose": _loudness,
    }

    def __init__(self, monitor: str, mode: str, min_delta: float = 0.0) -> None:
        self.monitor, self.mode, self.min_delta = monitor, mode, min_delta
        self.best = self.worst

    def on_train_begin(self) -> None:
        self.expect_in(self.epoch_logs)

    @property
    def rising(self) -> bool:
        """Whether larger is better."""
        return self.mode == "max" or (self.mode == "auto" and self.monitor.endswith(("accuracy", "acc")))

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
        if logs is not None:
            names.expect("monitor", self.monitor, logs, type(self).__name__)

    def improves(self, value: float, other: float) -> bool:
        """Whether `value` is better than the other one, by more than `min_delta`; NaN never is."""
        return value > other + self.min_delta if self.rising else value < other - self.min_delta

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.remembered}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)
