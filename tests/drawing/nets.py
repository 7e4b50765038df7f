"""Small modules to draw, each with one trait."""

import numpy as np

from tinygrad_bn import ops
from tinygrad_bn.module import Module
from tinygrad_bn.variables import Parameter, State


class Affine(Module):
    """x @ kernel + bias."""

    def __init__(self, fan_in, fan_out):
        self.kernel = Parameter(np.ones((fan_in, fan_out), np.float32))
        self.bias = Parameter(np.zeros(fan_out, np.float32))

    def forward(self, x):
        return x @ self.kernel + self.bias


class Named(Module):
    """One module under a name."""

    def __init__(self, name):
        self.parts = {name: Affine(3, 2)}

    def forward(self, x):
        (part,) = self.parts.values()
        return part(x)


class Selu(Module):
    """An activation: nothing of its own."""

    def forward(self, x):
        return ops.selu(x)


class Bell(Module):
    """Several operations, and nothing of its own either."""

    def forward(self, x):
        return ops.exp(-ops.square(x))


class Centre(Module):
    """Subtracts the mean, in inference the moving average of it, which training updates."""

    def __init__(self, features):
        self.moving_mean = State(np.zeros(features, np.float32))

    def forward(self, x):
        if not self.in_training:
            return x - self.moving_mean
        mean = ops.mean(x, axis=0)
        self.moving_mean.assign(0.9 * self.moving_mean + 0.1 * mean.detach(), "Centre")
        return x - mean


class Rescale(Module):
    """Multiplies by what it computes from a variable of its own."""

    def __init__(self, features):
        self.moving_variance = State(np.ones(features, np.float32))

    def forward(self, x):
        return x * (1 / ops.sqrt(self.moving_variance + 1e-3))


class Chain(Module):
    """One module after the other."""

    def __init__(self, *layers):
        self.layers = list(layers)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def deep(blocks):
    """A stack of `blocks` blocks of Affine and Selu."""
    return Chain(*(layer for _ in range(blocks) for layer in (Affine(3, 3), Selu())))


def batch(rows=4, features=3):
    return np.ones((rows, features), np.float32)
