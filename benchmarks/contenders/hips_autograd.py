"""HIPS autograd: automatic differentiation of NumPy, operation by operation; the optimizer in plain NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import autograd.numpy as functions
import numpy as np
from autograd import make_vjp, value_and_grad
from autograd.tracer import getval
from numpy.typing import NDArray

from benchmarks.contenders._numpy_updates import updater
from benchmarks.workloads import Workload

constant = np.asarray


def _elu(x: Any) -> Any:
    return functions.where(x > 0, x, functions.expm1(functions.minimum(x, 0)))


_ACTIVATIONS = {
    "elu": _elu,
    "selu": lambda x: 1.05070098 * functions.where(x > 0, x, 1.67326324 * functions.expm1(functions.minimum(x, 0))),
    "relu": lambda x: functions.maximum(x, 0),
}


def prepare(workload: Workload) -> Callable[[], float]:
    """The training step, returning its loss."""
    activation = _ACTIVATIONS[workload.activation]
    kernels = workload.kernels()
    count = len(kernels)
    shifts = [np.zeros(kernel.shape[1], np.float32) for kernel in kernels]
    scales = [np.ones(kernel.shape[1], np.float32) for kernel in kernels[:-1] if workload.normalized]
    averages = [(np.zeros_like(scale), np.ones_like(scale)) for scale in scales]
    parameters = [*kernels, *shifts, *scales]
    update = updater(workload, parameters)
    inputs, labels = workload.data()
    rows = np.arange(workload.batch)

    def measured(parameters: Any) -> Any:
        x: Any = inputs
        for layer in range(count):
            x = functions.dot(x, parameters[layer])
            if layer < len(scales):
                x = normalized(x, averages[layer]) * parameters[2 * count + layer]
            x = x + parameters[count + layer]
            if layer < count - 1:
                x = activation(x)
        shifted = x - functions.max(x, axis=1, keepdims=True)
        logarithms = shifted - functions.log(functions.sum(functions.exp(shifted), axis=1, keepdims=True))
        return -functions.mean(logarithms[rows, labels])

    slope = value_and_grad(measured)

    def step() -> float:
        value, gradients = slope(parameters)
        update(gradients)
        return float(value)

    return step


def normalized(x: Any, averages: tuple[NDArray[Any], NDArray[Any]]) -> Any:
    """The columns of x with mean 0 and variance 1; the averages move."""
    mean = functions.mean(x, axis=0)
    centred = x - mean
    variance = functions.mean(centred * centred, axis=0)
    for average, now in zip(averages, (mean, variance), strict=True):
        average += 0.01 * (getval(now) - average)
    return centred / functions.sqrt(variance + 1e-3)


def recorded(function: Callable[[Any], Any], x: NDArray[Any]) -> Callable[[], Any]:
    """function(x), ready to be differentiated."""
    pull, result = make_vjp(function)(x)
    seed = np.ones_like(result)
    return lambda: pull(seed)
