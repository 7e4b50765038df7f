"""Contenders in processes of their own, measured in turn, so that what slows the machine slows them all."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.figures import Figures
from benchmarks.suites import Suite, load

ROOT = Path(__file__).parent.parent


class Unprepared(Exception):
    """A contender cannot take part; the message says why."""


class Contender:
    """A process that has prepared one case of a suite, and takes bursts of samples on request."""

    def __init__(self, suite: str, name: str, case: str) -> None:
        self.name = name
        command = [sys.executable, "-m", "benchmarks.interleave", suite, name, case]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.bursts: list[list[float]] = []
        try:
            prepared = self._answer()
            if "refused" in prepared:
                raise Unprepared(prepared["refused"])
            self.losses: list[float] = prepared["losses"]
            self.rest()
        except BaseException:
            self.close()
            raise

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended with exit status {self.process.wait()}")
        return json.loads(line)

    def burst(self, seconds: float) -> None:
        """Take samples for so long, but one at least, and keep them all."""
        assert self.process.stdin is not None
        self._signal("SIGCONT")
        with suppress(BrokenPipeError):  # it has ended: the missing answer tells
            print(seconds, file=self.process.stdin, flush=True)
        self.bursts.append(self._answer())
        self.rest()

    def rest(self) -> None:
        """Stand still: some keep threads that spin while they wait, and would slow the others."""
        self._signal("SIGSTOP")

    def _signal(self, name: str) -> None:
        number = getattr(signal, name, None)  # not on Windows
        if number is not None:
            self.process.send_signal(number)

    def figures(self) -> Figures:
        """What the bursts have shown."""
        best = min(sorted(burst)[len(burst) // 10] for burst in self.bursts)
        return Figures(self.name, [median(burst) for burst in self.bursts], best, self.losses)

    def close(self) -> None:
        """End the process."""
        with suppress(BrokenPipeError), self.process:
            self.process.kill()


def compare(
    suite: Suite, case: str, contenders: list[str], rounds: int, seconds: float, tell: Callable[[str], object]
) -> tuple[list[Figures], dict[str, str]]:
    """Measure the contenders in turn; give the figures of each, and why some could not be prepared.

    Args:
        suite: what is measured.
        case: of the suite.
        contenders: whom; each in a process of its own.
        rounds: how many times each has its turn.
        seconds: for how long a turn takes samples; it takes one at least.
        tell: is called with a contender's name when it has been prepared, and after each of its turns.

    Raises:
        RuntimeError: the contenders' losses differ: they do not do the same work; or one of them has ended.
    """
    refused: dict[str, str] = {}
    with ExitStack() as stack:
        before = signal.signal(signal.SIGTERM, _end)
        stack.callback(signal.signal, signal.SIGTERM, before)
        racing: list[Contender] = []
        for name in contenders:
            try:
                racing.append(Contender(suite.name, name, case))
                stack.callback(racing[-1].close)
                tell(name)
            except Unprepared as reason:
                refused[name] = str(reason)
        _refuse_different_work(racing)
        for _ in range(rounds):
            for contender in racing:
                contender.burst(seconds)
                tell(contender.name)
        return [contender.figures() for contender in racing], refused


def _end(number: int, frame: object) -> None:
    """Go by way of an exception: contenders that stand still would outlive a process that just ends."""
    raise SystemExit(128 + number)


def _refuse_different_work(contenders: list[Contender]) -> None:
    """Compare as many losses as there are of both: who captures anew for every sample has only the first."""
    training = [contender for contender in contenders if contender.losses]
    for contender in training[1:]:
        first = training[0]
        for ours, theirs in zip(first.losses, contender.losses, strict=False):
            if not abs(ours - theirs) <= 1e-3 * abs(ours):
                raise RuntimeError(f"{first.name} and {contender.name} differ: {first.losses} {contender.losses}")


def _serve(suite: str, contender: str, case: str) -> None:
    """Answer requests for bursts with their samples."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started it, ends it
    answers, sys.stdout = sys.stdout, sys.stderr  # what a framework prints is no answer
    try:
        prepared = load(suite).prepare(contender, case)
    except Exception as error:
        reason = (str(error).strip() or "no reason given").splitlines()[0]
        print(json.dumps({"refused": f"{type(error).__name__}: {reason}"}), file=answers, flush=True)
        return
    print(json.dumps({"losses": prepared.losses}), file=answers, flush=True)
    for line in sys.stdin:
        samples, end = [prepared.sample()], time.perf_counter() + float(line)
        while time.perf_counter() < end:
            samples.append(prepared.sample())
        print(json.dumps(samples), file=answers, flush=True)


if __name__ == "__main__":
    _serve(*sys.argv[1:])
