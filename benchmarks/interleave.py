"""Contenders in processes of their own, timed in turn, so that what slows the machine slows them all."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.workloads import WORKLOADS, Workload

ROOT = Path(__file__).parent.parent
PEERS = ("torch_eager",)
NEEDS = {"tinygrad_bn_eager": "numpy", "matrix_products": "numpy", "torch_eager": "torch"}
"""The package that a contender needs to be installed."""


class Contender:
    """A process that has prepared one workload and runs bursts of it on request."""

    def __init__(self, name: str, workload: str) -> None:
        self.name = name
        command = [sys.executable, "-m", "benchmarks.interleave", name, workload]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.losses: list[float] = self._answer()
        self.seconds: list[list[float]] = []

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            status = self.process.wait()
            self.close()
            raise RuntimeError(f"{self.name} ended with exit status {status}")
        return json.loads(line)

    def burst(self, seconds: float) -> None:
        """Run the step for about so long, and keep the seconds of every single one."""
        assert self.process.stdin is not None
        print(seconds, file=self.process.stdin, flush=True)
        self.seconds.append(self._answer())

    def close(self) -> None:
        """End the process."""
        with self.process:
            self.process.kill()


def compare(workload: str, contenders: list[str], rounds: int, seconds: float) -> Iterator[dict[str, Any]]:
    """Time the contenders in turn; give the figures of each: microseconds a step, and the losses of the first steps.

    Raises:
        RuntimeError: the contenders' losses differ: they do not do the same work; or one of them has ended.
    """
    with ExitStack() as stack:
        racing: list[Contender] = []
        for name in contenders:
            racing.append(Contender(name, workload))
            stack.callback(racing[-1].close)
        _refuse_different_work(racing)
        for _ in range(rounds):
            for contender in racing:
                contender.burst(seconds)
        for contender in racing:
            per_round = [1e6 * median(burst) for burst in contender.seconds]
            yield {
                "workload": workload,
                "contender": contender.name,
                "rounds_us": per_round,
                "median_us": median(per_round),
                "best_us": min(1e6 * sorted(burst)[len(burst) // 10] for burst in contender.seconds),
                "losses": contender.losses,
            }


def _refuse_different_work(contenders: list[Contender]) -> None:
    first: Contender | None = None
    for contender in contenders:
        if contender.losses[0] != contender.losses[0]:  # NaN: nothing is trained
            continue
        first = first or contender
        for ours, theirs in zip(first.losses, contender.losses, strict=True):
            if abs(ours - theirs) > 1e-3 * abs(ours):
                raise RuntimeError(f"{first.name} and {contender.name} differ: {first.losses} {contender.losses}")


def ratio(numerator: dict[str, Any], denominator: dict[str, Any]) -> float:
    """The median over the rounds of how much longer one takes than the other."""
    pairs = zip(numerator["rounds_us"], denominator["rounds_us"], strict=True)
    return median(ours / theirs for ours, theirs in pairs)


def installed(contender: str) -> str | None:
    """The version of what the contender needs, or None where that is not installed."""
    try:
        return version(NEEDS[contender])
    except PackageNotFoundError:
        return None


def _serve(contender: str, workload: Workload) -> None:
    """Answer requests for bursts with the seconds of each step."""
    step: Callable[[], float] = import_module(f"benchmarks.contenders.{contender}").prepare(workload)
    print(json.dumps([step() for _ in range(5)]), flush=True)
    for line in sys.stdin:
        taken, end = [], time.perf_counter() + float(line)
        while time.perf_counter() < end or len(taken) < 3:
            start = time.perf_counter()
            step()
            taken.append(time.perf_counter() - start)
        print(json.dumps(taken), flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1], WORKLOADS[sys.argv[2]])
