"""The demo's finite-difference check: every kernel, gamma, beta and alpha of one small network."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_bn import initializers, layers, losses
from tinygrad_bn.checking import Certificate, gradcheck
from tinygrad_bn.models import Sequential
from tinygrad_bn.module import Module


class _Training(Module):
    """The loss of a network on x: what training differentiates."""

    def __init__(self, network: Module, labels: Any) -> None:
        self.network = network
        self._labels = labels
        self._loss = losses.SparseCategoricalCrossentropy()

    def forward(self, x: Any) -> Any:
        return self._loss(self._labels, self.network(x))


def small_network() -> Sequential:
    """6-7-5-3, with batch normalization and PReLU as in the demo's last recipe."""
    network = Sequential([layers.Input((6,))])
    for units in (7, 5):
        network.add(layers.Dense(units, use_bias=False, kernel_initializer="he_normal"))
        network.add(layers.BatchNormalization())
        network.add(layers.PReLU(alpha_initializer=initializers.Constant(0.25)))
    network.add(layers.Dense(3, activation="softmax"))
    return network


def check_gradients(seed: int) -> Certificate:
    """Every element of every parameter of the small network, in training mode, against central differences."""
    rng = np.random.default_rng(seed)
    x, labels = rng.standard_normal((16, 6)), rng.integers(0, 3, 16)
    return gradcheck(_Training(small_network(), labels), x, seed=seed, max_elements=None)
