"""What is timed: a network, its data and its first weights, described once for every contender."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Examples = tuple[NDArray[np.float32], NDArray[np.int64]]


@dataclass(frozen=True)
class Workload:
    """A dense classifier and one batch of random data in float32, and how it is trained.

    Attributes:
        sizes: inputs, hidden layers, classes.
        activation: of the hidden layers.
        normalized: batch normalization (epsilon 1e-3, old weight .99) before each activation, instead of biases.
        normal: the hidden kernels' variance times the number of inputs: 2 for He, 1 for LeCun.
        optimizer: "sgd", with momentum; or "adam", with Keras's betas and epsilon.
    """

    name: str
    sizes: tuple[int, ...]
    activation: str
    normalized: bool
    normal: float
    batch: int = 32
    optimizer: str = "sgd"
    learning_rate: float = 0.001
    momentum: float = 0.9

    def kernels(self) -> list[NDArray[np.float32]]:
        """The first kernels, each of shape (inputs, outputs)."""
        rng = np.random.default_rng(1)
        shapes = list(zip(self.sizes, self.sizes[1:], strict=False))
        return [(rng.standard_normal(shape) * np.sqrt(self.normal / shape[0])).astype(np.float32) for shape in shapes]

    def data(self) -> Examples:
        """Inputs of shape (batch, inputs), and labels of shape (batch,)."""
        rng = np.random.default_rng(2)
        x = rng.standard_normal((self.batch, self.sizes[0])).astype(np.float32)
        return x, rng.integers(0, self.sizes[-1], self.batch)


NOTEBOOK = Workload("notebook", (784, 300, 100, 10), "elu", normalized=True, normal=2.0)


def deep(depth: int) -> Workload:
    """So many hidden layers of ten units: nearly all of a step is what each layer costs by being there."""
    return Workload(f"{depth}-layers", (10, *depth * (10,), 10), "selu", False, normal=1.0, learning_rate=0.0001)


_all = (
    NOTEBOOK,
    replace(NOTEBOOK, name="notebook-128", batch=128),
    replace(NOTEBOOK, name="notebook-512", batch=512),
    replace(NOTEBOOK, name="notebook-2048", batch=2048),
    replace(NOTEBOOK, name="notebook-adam", optimizer="adam"),
    Workload("20x100-selu", (784, *20 * (100,), 10), "selu", normalized=False, normal=1.0),
    # At higher rates rounding alone moves its first losses by a per cent, and they could not be compared.
    Workload("100x100-selu", (784, *100 * (100,), 10), "selu", normalized=False, normal=1.0, learning_rate=1e-7),
    Workload("tiny", (20, 32, 32, 2), "relu", normalized=False, normal=2.0),
)
WORKLOADS = {workload.name: workload for workload in _all}


def mnist() -> Examples:
    """60,000 rows of 784 pixels: MNIST's where its files are at hand, else random ones, which cost as much."""
    from tinygrad_bn.datasets import load_mnist

    try:
        (x, labels), _ = load_mnist()
    except FileNotFoundError:
        rng = np.random.default_rng(3)
        return rng.random((60_000, 784), np.float32), rng.integers(0, 10, 60_000)
    return x.reshape(-1, 784) / np.float32(255), labels


def digits() -> Examples:
    """The 1,437 rows of 64 pixels that come with tinygrad_bn."""
    from tinygrad_bn.datasets import load_digits

    (x, labels), _ = load_digits()
    return x.reshape(-1, 64) / np.float32(16), labels
