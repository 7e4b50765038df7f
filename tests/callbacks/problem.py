"""A small problem, and values for callbacks to look at."""

import numpy as np

import tinygrad_bn as tg
from tinygrad_bn.callbacks import Callback
from tinygrad_bn.layers import Dense
from tinygrad_bn.optimizers import SGD

X = np.random.default_rng(0).normal(size=(20, 2))
Y = X @ [[1.0], [2.0]]


def model(rate=0.1):
    made = tg.Sequential([Dense(1, kernel_initializer="zeros", input_shape=(2,))])
    made.compile(SGD(rate), "mse", ["mae"])
    return made


class Says(Callback):
    """Writes values of its own into the logs, as if they had been measured."""

    def __init__(self, **values):
        self.values = values

    def on_epoch_end(self, epoch, logs):
        logs |= {name: values[epoch] for name, values in self.values.items()}
