"""The step's matrix products alone, through NumPy: the part that no framework can leave out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.workloads import Workload


def prepare(workload: Workload) -> Callable[[], None]:
    """All products of a training step, into memory of their own; there is no loss."""
    products = []
    for position, kernel in enumerate(workload.kernels()):
        x = np.ones((workload.batch, kernel.shape[0]), np.float32)
        g = np.ones((workload.batch, kernel.shape[1]), np.float32)
        products.append((x, kernel, np.empty_like(g)))
        products.append((x.T, g, np.empty_like(kernel)))
        if position:
            products.append((g, kernel.T, np.empty_like(x)))

    def step() -> None:
        for a, b, out in products:
            np.dot(a, b, out)

    return step
