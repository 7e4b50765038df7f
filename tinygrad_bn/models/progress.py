"""How a training is shown while it runs."""

from __future__ import annotations

import sys
import time
from typing import Any, ClassVar, Final

import numpy as np

from tinygrad_bn.errors import SettingError
from tinygrad_bn.models.listening import Callback, Logs, told
from tinygrad_bn.module.settings import flag, one_of


class ProgressBar(Callback):
    """Shows how training goes on.

    A bar needs a terminal or a notebook, and tqdm; everywhere else there is a plain line for each epoch.

    Args:
        style: "bar", "lines", or "auto": bars where they can be shown.
        title: with one, there is a single bar, or line, for the whole training, under this title.
        leave: whether a finished bar stays on the screen.
    """

    _checks: ClassVar = {"style": one_of("auto", "bar", "lines"), "leave": flag}

    def __init__(self, style: str = "auto", *, title: str | None = None, leave: bool = True) -> None:
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


_VERBOSE: Final[dict[str | int, str | None]] = {"auto": "auto", 0: None, 1: "bar", 2: "lines"}


def progress(verbose: str | int) -> list[Callback]:
    """What `fit(verbose=...)` asks for: 0 is silent, 1 shows bars, 2 plain lines, "auto" bars where they can be shown.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(verbose, (str, int, np.integer)) or verbose not in _VERBOSE:
        raise SettingError(f"verbose expects 'auto', 0, 1 or 2; got {verbose!r}")
    style = _VERBOSE[verbose]
    return [] if style is None else [ProgressBar(style)]


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
