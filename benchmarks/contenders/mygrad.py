"""MyGrad: automatic differentiation of NumPy, operation by operation; the optimizer in plain NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mygrad
import numpy as np
from mygrad.nnet import activations, batchnorm
from mygrad.nnet.losses import softmax_crossentropy
from numpy.typing import NDArray

from benchmarks.contenders._numpy_updates import updater
from benchmarks.workloads import Workload

_ACTIVATIONS = {"elu": lambda x: activations.elu(x, 1.0), "selu": activations.selu, "relu": activations.relu}
functions = mygrad
constant = np.asarray


def prepare(workload: Workload) -> Callable[[], float]:
    """The training step, returning its loss."""
    activation = _ACTIVATIONS[workload.activation]
    kernels = [mygrad.tensor(kernel) for kernel in workload.kernels()]
    shifts = [mygrad.zeros(kernel.shape[1], np.float32) for kernel in kernels]
    scales = [mygrad.ones(kernel.shape[1], np.float32) for kernel in kernels[:-1] if workload.normalized]
    averages = [(np.zeros(scale.shape, np.float32), np.ones(scale.shape, np.float32)) for scale in scales]
    parameters = [*kernels, *shifts, *scales]
    update = updater(workload, [parameter.data for parameter in parameters])
    inputs, labels = workload.data()

    def measured() -> Any:
        x: Any = inputs
        for layer, (kernel, shift) in enumerate(zip(kernels, shifts, strict=True)):
            x = mygrad.matmul(x, kernel)
            if layer < len(scales):
                x = batchnorm(x, gamma=scales[layer], beta=shift, eps=1e-3)
                for average, now in zip(averages[layer], (x.creator.mean, x.creator.var), strict=True):
                    average += 0.01 * (now - average)
            else:
                x = x + shift
            if layer < len(kernels) - 1:
                x = activation(x)
        return softmax_crossentropy(x, labels)

    def step() -> float:
        value = measured()
        value.backward()
        update([parameter.grad for parameter in parameters])
        return value.item()

    return step


def recorded(function: Callable[[Any], Any], x: NDArray[Any]) -> Callable[[], Any]:
    """function(x), ready for `backward`."""
    leaf = mygrad.tensor(x, copy=False)
    result = function(leaf)
    seed = np.ones(result.shape, x.dtype)

    def pull() -> Any:
        result.backward(seed)
        return leaf.grad

    return pull
