"""PyTorch with forward and backward compiled by torch.compile, and its fused optimizer."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from benchmarks.contenders._torch import data, network, optimizer
from benchmarks.workloads import Workload


def prepare(workload: Workload) -> Callable[[], float]:
    """The training step, returning its loss."""
    model, loss = network(workload), nn.CrossEntropyLoss()
    rule = optimizer(workload, model, fused=True)
    x, labels = data(workload)

    @torch.compile
    def measured(x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return loss(model(x), labels)

    def step() -> float:
        value = measured(x, labels)
        rule.zero_grad()
        value.backward()
        rule.step()
        return value.item()

    return step
