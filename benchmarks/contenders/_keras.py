"""What the contenders of Keras share: all but the backend, which is chosen before Keras is imported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from benchmarks.contenders import Train
from benchmarks.workloads import Workload


def network(workload: Workload) -> keras.Model:
    """The workload's network with its first weights, compiled."""
    model = keras.Sequential([keras.Input(workload.sizes[:1])])
    kernels = workload.kernels()
    for kernel in kernels:
        last = kernel is kernels[-1]
        if last or not workload.normalized:
            model.add(layers.Dense(kernel.shape[1], activation=None if last else workload.activation))
        else:
            model.add(layers.Dense(kernel.shape[1], use_bias=False))
            model.add(layers.BatchNormalization())
            model.add(layers.Activation(workload.activation))
    for layer, kernel in zip((layer for layer in model.layers if hasattr(layer, "kernel")), kernels, strict=True):
        layer.kernel.assign(kernel)
    if workload.optimizer == "adam":
        optimizer = keras.optimizers.Adam(workload.learning_rate)
    else:
        optimizer = keras.optimizers.SGD(workload.learning_rate, workload.momentum)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def prepare(workload: Workload) -> Callable[[], float]:
    """The training step, returning its loss."""
    model = network(workload)
    x, labels = workload.data()
    return lambda: float(model.train_on_batch(x, labels))


def fit(workload: Workload) -> Train:
    """Epochs of `fit`."""
    model = network(workload)

    def train(x: Any, labels: Any, epochs: int, shuffle: bool) -> float:
        history = model.fit(x, labels, batch_size=workload.batch, epochs=epochs, shuffle=shuffle, verbose=0)
        return float(history.history["loss"][-1])

    return train
