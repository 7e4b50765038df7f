"""tinygrad_bn, executed operation by operation."""

from __future__ import annotations

from collections.abc import Callable

import tinygrad_bn as tg
from benchmarks.workloads import Workload


def prepare(workload: Workload) -> Callable[[], float]:
    """The training step, returning its loss."""
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
    loss = tg.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = tg.optimizers.SGD(workload.learning_rate, workload.momentum)
    x, labels = workload.data()
    inputs, parameters = tg.tensor(x), model.parameters()

    def step() -> float:
        value = loss(labels, model(inputs))
        optimizer.zero_grad()
        value.backward()
        optimizer.step(parameters)
        return value.item()

    return step
