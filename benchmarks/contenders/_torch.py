"""What the contenders of PyTorch share: the network, its loss and its optimizer."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.workloads import Workload

_ACTIVATIONS = {"elu": nn.ELU, "selu": nn.SELU, "relu": nn.ReLU}


def network(workload: Workload) -> nn.Module:
    """The workload's network with its first weights."""
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
    return nn.Sequential(*layers)


def optimizer(workload: Workload, model: nn.Module, fused: bool = False) -> torch.optim.Optimizer:
    """The workload's optimizer. PyTorch's Adam scales epsilon with the step; the losses do not show it."""
    if workload.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), workload.learning_rate, eps=1e-7, fused=fused)
    return torch.optim.SGD(model.parameters(), workload.learning_rate, workload.momentum, fused=fused)


def data(workload: Workload) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and labels."""
    x, labels = workload.data()
    return torch.from_numpy(x), torch.from_numpy(labels)
