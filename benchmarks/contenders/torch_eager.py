"""PyTorch, executed operation by operation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from benchmarks.workloads import Workload

_ACTIVATIONS = {"elu": nn.ELU, "selu": nn.SELU, "relu": nn.ReLU}


def prepare(workload: Workload) -> Callable[[], float]:
    """The training step, returning its loss."""
    layers: list[nn.Module] = []
    kernels = workload.kernels()
    for kernel in kernels:
        last = kernel is kernels[-1]
        linear = nn.Linear(*kernel.shape, bias=last or not workload.normalized)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(kernel.T))
            if linear.bias is not None:
                linear.bias.zero_()
        layers.append(linear)
        if not last and workload.normalized:
            layers.append(nn.BatchNorm1d(kernel.shape[1], eps=1e-3, momentum=0.01))
        if not last:
            layers.append(_ACTIVATIONS[workload.activation]())
    model = nn.Sequential(*layers)
    loss = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), workload.learning_rate, workload.momentum)
    x, labels = (torch.from_numpy(array) for array in workload.data())

    def step() -> float:
        value = loss(model(x), labels)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        return value.item()

    return step
