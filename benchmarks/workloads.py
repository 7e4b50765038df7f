"""What is timed: a network, its data and its first weights, described once for every contender."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Workload:
    """A dense classifier and one batch of random data in float32, trained by SGD with momentum.

    Attributes:
        sizes: inputs, hidden layers, classes.
        activation: of the hidden layers.
        normalized: batch normalization (epsilon 1e-3, old weight .99) before each activation, instead of biases.
        normal: the hidden kernels' variance times the number of inputs: 2 for He, 1 for LeCun.
    """

    name: str
    sizes: tuple[int, ...]
    activation: str
    normalized: bool
    normal: float
    batch: int = 32
    learning_rate: float = 0.001
    momentum: float = 0.9

    def kernels(self) -> list[NDArray[np.float32]]:
        """The first kernels, each of shape (inputs, outputs)."""
        rng = np.random.default_rng(1)
        shapes = list(zip(self.sizes, self.sizes[1:], strict=False))
        return [(rng.standard_normal(shape) * np.sqrt(self.normal / shape[0])).astype(np.float32) for shape in shapes]

    def data(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Inputs of shape (batch, inputs), and labels of shape (batch,)."""
        rng = np.random.default_rng(2)
        x = rng.standard_normal((self.batch, self.sizes[0])).astype(np.float32)
        return x, rng.integers(0, self.sizes[-1], self.batch)


_all = (
    Workload("notebook", (784, 300, 100, 10), "elu", normalized=True, normal=2.0),
    Workload("notebook-128", (784, 300, 100, 10), "elu", normalized=True, normal=2.0, batch=128),
    Workload("notebook-512", (784, 300, 100, 10), "elu", normalized=True, normal=2.0, batch=512),
    Workload("20x100-selu", (784, *20 * (100,), 10), "selu", normalized=False, normal=1.0),
    Workload("tiny", (20, 32, 32, 2), "relu", normalized=False, normal=2.0),
)
WORKLOADS = {workload.name: workload for workload in _all}
