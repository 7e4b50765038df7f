"""Deep dense networks, and what passes through them forwards and backwards."""

from typing import NamedTuple

import numpy as np

import tinygrad_bn as tg
from tinygrad_bn.layers import Activation, BatchNormalization, Dense, Flatten


class Signal(NamedTuple):
    """What passes through one Dense, as arrays: its result, and the gradients of that and of its kernel."""

    y: np.ndarray
    to_y: np.ndarray
    to_kernel: np.ndarray


def activated(activation):
    """A new layer of an activation that is given by its name or by a function that makes the layer."""
    return activation() if callable(activation) else Activation(activation)


def deep(depth, width, activation, initializer, *, dtype=np.float32):
    """`depth` times a Dense and its activation, all of one width."""
    model = tg.Sequential()
    for _ in range(depth):
        model.add(Dense(width, kernel_initializer=initializer, dtype=dtype, input_shape=(width,)))
        model.add(Activation(activation, dtype=dtype) if isinstance(activation, str) else activated(activation))
    return model


def classifier(depth, width, activation, initializer, *, normalized=False, output="glorot_uniform"):
    """`depth` hidden layers and a softmax over 10 classes; normalized: batch normalization before each activation."""
    model = tg.Sequential([Flatten()])
    for _ in range(depth):
        model.add(Dense(width, kernel_initializer=initializer))
        if normalized:
            model.add(BatchNormalization(momentum=0.9))
        model.add(activated(activation))
    model.add(Dense(10, activation="softmax", kernel_initializer=output))
    return model


def signals(model, x, seed=0):
    """The `Signal` of every Dense, for a gradient of the model's result that is standard normal."""
    denses, results = [], []
    x = tg.tensor(x)
    for layer in model.layers:
        x = layer(x)
        if isinstance(layer, Dense):
            denses.append(layer)
            results.append(x)
    cotangent = np.random.default_rng(seed).standard_normal(x.shape).astype(x.dtype)
    kernels = [dense.kernel for dense in denses]
    found = tg.gradients(x, [*results, *kernels], grad_outputs=cotangent)
    arrays = [tensor.numpy() for tensor in (*results, *found)]
    n = len(denses)
    return [Signal(*rows) for rows in zip(arrays[:n], arrays[n : 2 * n], arrays[2 * n :], strict=True)]


def power(array):
    """The mean of the squares."""
    return float(np.mean(np.square(array, dtype=np.float64)))


def factor(values):
    """By how much positive values grow from one to the next: exp of the slope of their logarithms."""
    return float(np.exp(np.polyfit(np.arange(len(values)), np.log(values), 1)[0]))


def spectrum(matrix):
    """The singular values, the largest first."""
    return np.linalg.svd(np.asarray(matrix), compute_uv=False)
