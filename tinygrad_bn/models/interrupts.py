"""Ctrl-C while a model is trained: it is held back until the batch and all that is done behind it are over."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from typing import Any


class Interrupts:
    """The handler of SIGINT that `held` installs: it notes that one came. The next one while that waits goes through.

    Attributes:
        came: whether one waits.
        holding: whether they are held back; else this does what Python's own handler does.
    """

    def __init__(self) -> None:
        self.came, self.holding = False, True

    def __call__(self, number: int, frame: Any) -> None:
        self.came = self.holding and not self.came
        if not self.came:
            signal.default_int_handler(number, frame)

    def let(self) -> None:
        """Here one that waits does no harm. Raises KeyboardInterrupt if there is one."""
        if self.came:
            self.came = False
            raise KeyboardInterrupt

    @contextmanager
    def let_through(self) -> Iterator[None]:
        """None is held back within it."""
        holding = self.holding
        try:
            self.holding = False
            self.let()
            yield
        finally:
            self.holding = holding


@contextmanager
def held() -> Iterator[Interrupts]:
    """Within it Ctrl-C waits for `let`, or for the end; within another `held` it waits for the first `let` of the two.

    Only Python's own handler is replaced, and only in the main thread, where signals come: elsewhere nothing is held.
    """
    before = signal.getsignal(signal.SIGINT) if current_thread() is main_thread() else None
    if isinstance(before, Interrupts):
        yield before
        return
    interrupts = Interrupts()
    if before is not signal.default_int_handler:
        yield interrupts
        return
    signal.signal(signal.SIGINT, interrupts)
    try:
        yield interrupts
    finally:
        interrupts.holding = False  # also where somebody has kept it, and puts it back later
        if signal.getsignal(signal.SIGINT) is interrupts:
            signal.signal(signal.SIGINT, before)
        interrupts.let()
