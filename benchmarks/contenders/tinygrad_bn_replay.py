"""tinygrad_bn, captured and replayed in place as NumPy's calls."""

from __future__ import annotations

from collections.abc import Callable

import tinygrad_bn as tg
from benchmarks.contenders import Train
from benchmarks.contenders._tinygrad_bn import captured, captured_anew, fitting, learning, looping
from benchmarks.workloads import Workload


def prepare(workload: Workload) -> Callable[[], float]:
    """The training step, returning its loss."""
    return captured(workload, "numpy")


def anew(workload: Workload) -> Callable[[], float]:
    """Capture the step again, and run it once."""
    return captured_anew(workload, "numpy")


def fit(workload: Workload) -> Train:
    """Epochs of `fit`."""
    return fitting(workload, "numpy")


def loop(workload: Workload) -> Train:
    """Epochs of nothing but steps."""
    return looping(workload, tg.capture(learning(workload), executor="numpy"))
