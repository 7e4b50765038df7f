"""Clevert, Unterthiner & Hochreiter (2016), Exponential Linear Units: https://arxiv.org/abs/1511.07289."""

import numpy as np
import pytest

import tinygrad_bn as tg
from tests.published.data import digits
from tests.published.networks import classifier
from tinygrad_bn.callbacks import Callback
from tinygrad_bn.layers import ELU, LeakyReLU, ReLU
from tinygrad_bn.optimizers import SGD

UNITS = (ELU, ReLU, LeakyReLU)


class MedianOfMeans(Callback):
    """After every epoch: each unit's mean activation over `x`, and of those the median over all hidden units."""

    def __init__(self, x):
        self.x = x
        self.medians = []

    def on_epoch_end(self, epoch, logs):
        z, means = self.x, []
        for layer in self.model.layers:
            z = layer(z, training=False)
            if isinstance(layer, UNITS):
                means.append(z.numpy().mean(axis=0))
        self.medians.append(np.median(means))


@pytest.mark.slow
def test_figure_2_with_elus_the_activations_stay_nearer_to_zero_throughout_training():
    """ELU's median is smaller than those of ReLU and of LReLU with slope .1 "throughout the training process": eight
    hidden layers of 128, He's weights, rate .01, batches of 64, on MNIST there and on the digits here. It is in the
    mean of five runs; in each, from the second epoch.
    """
    x, y, _, _ = digits()
    runs = []
    for seed in range(5):
        sizes = []
        for unit in (ELU, ReLU, lambda: LeakyReLU(alpha=0.1)):
            tg.set_random_seed(seed)
            model = classifier(8, 128, unit, "he_normal")
            model.compile(SGD(0.01), "sparse_categorical_crossentropy")
            watched = MedianOfMeans(x)
            model.fit(x, y, batch_size=64, epochs=25, callbacks=[watched], verbose=0)
            sizes.append(np.abs(watched.medians))
        runs.append(sizes)
    elu, *others = np.transpose(runs, (1, 0, 2))
    for other in others:
        assert np.all(elu.mean(axis=0) < other.mean(axis=0))
        assert np.all(elu[:, 1:] < other[:, 1:])
