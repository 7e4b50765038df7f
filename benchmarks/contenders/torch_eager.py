"""PyTorch, executed operation by operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.contenders._torch import data, network, optimizer
from benchmarks.workloads import Workload

functions = torch
constant = torch.from_numpy


def prepare(workload: Workload) -> Callable[[], float]:
    """The training step, returning its loss."""
    model, loss = network(workload), nn.CrossEntropyLoss()
    rule = optimizer(workload, model)
    x, labels = data(workload)

    def step() -> float:
        value = loss(model(x), labels)
        rule.zero_grad()
        value.backward()
        rule.step()
        return value.item()

    return step


def recorded(function: Callable[[Any], Any], x: NDArray[Any]) -> Callable[[], Any]:
    """function(x), ready for `backward`."""
    leaf = torch.from_numpy(x).requires_grad_()
    result = function(leaf)
    seed = torch.ones_like(result)

    def pull() -> Any:
        result.backward(seed)
        gradient, leaf.grad = leaf.grad, None
        return gradient.numpy()

    return pull
