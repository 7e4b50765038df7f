"""The optimizers for contenders that have none: on NumPy arrays, in place."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.workloads import Workload

Arrays = Sequence[NDArray[np.float32]]


def updater(workload: Workload, parameters: Arrays) -> Callable[[Arrays], None]:
    """update(gradients): move the parameters."""
    return _adam(workload, parameters) if workload.optimizer == "adam" else _sgd(workload, parameters)


def _sgd(workload: Workload, parameters: Arrays) -> Callable[[Arrays], None]:
    velocities = [np.zeros_like(parameter) for parameter in parameters]

    def update(gradients: Arrays) -> None:
        for parameter, velocity, gradient in zip(parameters, velocities, gradients, strict=True):
            velocity *= workload.momentum
            velocity -= workload.learning_rate * gradient
            parameter += velocity

    return update


def _adam(workload: Workload, parameters: Arrays) -> Callable[[Arrays], None]:
    means = [np.zeros_like(parameter) for parameter in parameters]
    squares = [np.zeros_like(parameter) for parameter in parameters]
    steps = 0

    def update(gradients: Arrays) -> None:
        nonlocal steps
        steps += 1
        rate = workload.learning_rate * (1 - 0.999**steps) ** 0.5 / (1 - 0.9**steps)
        for parameter, mean, square, gradient in zip(parameters, means, squares, gradients, strict=True):
            mean += 0.1 * (gradient - mean)
            square += 0.001 * (gradient * gradient - square)
            parameter -= rate * mean / (np.sqrt(square) + 1e-7)

    return update
