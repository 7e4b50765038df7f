"""tinygrad_bn, executed operation by operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tinygrad_bn as tg
from benchmarks.contenders import Train
from benchmarks.contenders._tinygrad_bn import fitting, learning, looping
from benchmarks.workloads import Workload

functions = tg
constant = np.asarray


def prepare(workload: Workload) -> Callable[[], float]:
    """The training step, returning its loss."""
    step = learning(workload)
    x, labels = workload.data()
    inputs = tg.tensor(x)
    return lambda: step(inputs, labels).item()


def fit(workload: Workload) -> Train:
    """Epochs of `fit`."""
    return fitting(workload, "eager")


def loop(workload: Workload) -> Train:
    """Epochs of nothing but steps."""
    return looping(workload, learning(workload))


def recorded(function: Callable[[Any], Any], x: NDArray[Any]) -> Callable[[], Any]:
    """function(x), ready for `backward`."""
    leaf = tg.tensor(x, requires_grad=True)
    result = function(leaf)
    seed = np.ones(result.shape, x.dtype)

    def pull() -> Any:
        result.backward(seed)
        return leaf.grad.value

    return pull
