"""tinygrad_bn, captured and run as one compiled C function."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import tinygrad_bn as tg
from benchmarks.contenders import Train
from benchmarks.contenders._tinygrad_bn import captured, captured_anew, fitting, learning, looping
from benchmarks.workloads import Workload

warnings.simplefilter("error", UserWarning)  # a replay in place of the native program is another contender


def prepare(workload: Workload) -> Callable[[], float]:
    """The training step, returning its loss."""
    return captured(workload, "native")


def anew(workload: Workload) -> Callable[[], float]:
    """Capture the step again, and run it once."""
    return captured_anew(workload, "native")


def fit(workload: Workload) -> Train:
    """Epochs of `fit`."""
    return fitting(workload, "native")


def loop(workload: Workload) -> Train:
    """Epochs of nothing but steps."""
    return looping(workload, tg.capture(learning(workload), executor="native"))
