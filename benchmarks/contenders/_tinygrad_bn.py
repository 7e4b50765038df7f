"""What the contenders of tinygrad_bn share: the network, and its training step as a plain function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tinygrad_bn as tg
from benchmarks.contenders import Train
from benchmarks.workloads import Workload


def network(workload: Workload) -> tg.Sequential:
    """The workload's network with its first weights."""
    model = tg.Sequential([tg.layers.Input(workload.sizes[:1])])
    kernels = workload.kernels()
    for kernel in kernels:
        last = kernel is kernels[-1]
        if last or not workload.normalized:
            model.add(tg.layers.Dense(kernel.shape[1], activation=None if last else workload.activation))
        else:
            model.add(tg.layers.Dense(kernel.shape[1], use_bias=False))
            model.add(tg.layers.BatchNormalization())
            model.add(tg.layers.Activation(workload.activation))
    for layer, kernel in zip((layer for layer in model.layers if hasattr(layer, "kernel")), kernels, strict=True):
        layer.kernel.assign(kernel)
    return model


def optimizer(workload: Workload) -> tg.optimizers.Optimizer:
    """The workload's optimizer."""
    if workload.optimizer == "adam":
        return tg.optimizers.Adam(workload.learning_rate)
    return tg.optimizers.SGD(workload.learning_rate, workload.momentum)


def learning(workload: Workload) -> Callable[[Any, Any], tg.Tensor]:
    """step(x, labels): the loss before the step."""
    model, rule = network(workload), optimizer(workload)
    loss = tg.losses.SparseCategoricalCrossentropy(from_logits=True)
    parameters = model.parameters()

    def step(x: Any, labels: Any) -> tg.Tensor:
        value = loss.unchecked(labels, model(x))  # as fit does, which has looked at all labels before
        value.backward()
        rule.step(parameters)
        rule.zero_grad()
        return value

    return step


def captured(workload: Workload, executor: str) -> Callable[[], float]:
    """The step as a program, returning its loss."""
    step = tg.capture(learning(workload), executor=executor)
    x, labels = workload.data()
    inputs = tg.tensor(x)
    return lambda: step(inputs, labels).item()


def captured_anew(workload: Workload, executor: str) -> Callable[[], float]:
    """Capture the step again, and run it once."""
    step = learning(workload)
    x, labels = workload.data()
    inputs = tg.tensor(x)
    return lambda: tg.capture(step, executor=executor)(inputs, labels).item()


def fitting(workload: Workload, executor: str) -> Train:
    """Epochs of `fit`."""
    model = network(workload)
    model.compile(optimizer(workload), tg.losses.SparseCategoricalCrossentropy(from_logits=True))

    def train(x: Any, labels: Any, epochs: int, shuffle: bool) -> float:
        history = model.fit(
            x, labels, batch_size=workload.batch, epochs=epochs, shuffle=shuffle, verbose=0, executor=executor
        )
        return float(history.history["loss"][-1])

    return train


def looping(workload: Workload, step: Callable[[Any, Any], Any]) -> Train:
    """Epochs of nothing but steps, over the rows as they stand."""

    def train(x: Any, labels: Any, epochs: int, shuffle: bool) -> float:
        for _ in range(epochs):
            total = 0.0
            for start in range(0, len(x), workload.batch):
                rows = slice(start, start + workload.batch)
                total += step(x[rows], labels[rows]).item() * len(labels[rows])
        return total / len(x)

    return train
