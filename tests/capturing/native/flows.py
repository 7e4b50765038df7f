"""Flows for the tests of the native executor, and what the NumPy replay makes of them."""

import numpy as np

import tinygrad_bn as tg
from tinygrad_bn.capturing.captured import capture


def flow_of(function, *arrays):
    """The flow of a function of Tensors, recorded in one call with these arrays."""
    captured = capture(function, executor="numpy")
    captured(*map(tg.Tensor, arrays))
    (program,) = captured.programs
    return program.flow


def apart(actual, expected):
    """How far two arrays are from each other, in units in the last place of the largest element."""
    assert actual.shape == expected.shape and actual.dtype == expected.dtype
    if expected.dtype.kind != "f":
        return float((actual != expected).sum())
    largest = np.abs(expected).max(initial=np.finfo(expected.dtype).tiny)
    return float(np.abs(actual - expected).max(initial=0) / np.spacing(largest))


class Training:
    """A model with a training step, all drawn from one seed: two of them are twins."""

    def __init__(self, layers, inputs, classes, batch, optimizer):
        rng = np.random.default_rng(1)
        tg.set_random_seed(1)
        self.model = tg.Sequential(layers())
        self.optimizer = optimizer()
        self.x = rng.standard_normal((batch, inputs)).astype(np.float32)
        self.y = rng.integers(0, classes, batch)
        self.model(self.x)

    def step(self, x, y):
        loss = tg.losses.SparseCategoricalCrossentropy(from_logits=True)(y, self.model(x, training=True))
        loss.backward()
        self.optimizer.step(self.model.parameters())
        self.model.zero_grad()
        return loss

    def variables(self):
        """All numbers that a step changes: those of the model, and the optimizer's slots, each as one flat array."""
        slots = {name: value for name, value in self.optimizer.state_dict().items() if value.ndim}
        return [
            np.concatenate([np.zeros(1, np.float32), *(value.ravel() for value in state.values())])
            for state in (self.model.state_dict(), slots)
        ]
