"""CS231n, Stanford University: the checks before learning, https://cs231n.github.io/neural-networks-3/."""

import math

import numpy as np
import pytest

import tinygrad_bn as tg
from tests.published.data import digits
from tests.published.networks import classifier
from tinygrad_bn.initializers import RandomNormal
from tinygrad_bn.losses import SparseCategoricalCrossentropy
from tinygrad_bn.optimizers import SGD

STEP = 1e-5  # "usually you want to use h to be around 1e-5"


@pytest.mark.parametrize("activation", ["relu", "elu", "selu", "tanh"])
def test_the_initial_loss_is_the_logarithm_of_the_number_of_classes(activation):
    """ "For CIFAR-10 with a Softmax classifier we would expect the initial loss to be 2.302", with small weights."""
    x, y, _, _ = digits()
    tg.set_random_seed(0)
    model = classifier(2, 100, activation, "he_normal", output=RandomNormal(stddev=0.01))
    model.compile(SGD(), "sparse_categorical_crossentropy")
    assert model.evaluate(x, y) == pytest.approx(math.log(10), abs=0.05)


@pytest.mark.parametrize("normalized", [False, True])
def test_a_tiny_set_is_learned_by_heart(normalized):
    """ "Overfit a tiny subset of data": 20 examples; the loss falls below a thousandth."""
    x, y, _, _ = digits()
    tg.set_random_seed(0)
    model = classifier(2, 100, "relu", "he_normal", normalized=normalized)
    model.compile(SGD(0.1, momentum=0.9), "sparse_categorical_crossentropy")
    assert model.fit(x[:20], y[:20], batch_size=20, epochs=100, verbose=0).history["loss"][-1] < 1e-3


@pytest.mark.parametrize(
    ("activation", "band"), [(tg.tanh, 1e-7), (tg.softplus, 1e-7), (tg.relu, 1e-4), (tg.leaky_relu, 1e-4)]
)
def test_the_bands_of_a_gradient_check(activation, band):
    """By |a - n| / max(|a|, |n|) of every weight: "1e-7 and less you should be happy", and with kinks "1e-4 is usually
    okay"; "use only few datapoints" and skip those weights where a step crosses a kink.
    """
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((5, 6)), np.arange(5) % 3
    first, second = rng.standard_normal((6, 8)), rng.standard_normal((8, 3))
    loss = SparseCategoricalCrossentropy(from_logits=True)

    def f(kernel):
        return loss(labels, activation(tg.tensor(x) @ kernel) @ tg.tensor(second))

    found, errors = np.asarray(tg.grad(f)(first)), []
    for place in np.ndindex(*first.shape):
        step = np.zeros_like(first)
        step[place] = STEP
        if np.array_equal(x @ (first + step) > 0, x @ (first - step) > 0):
            numeric = (float(f(tg.tensor(first + step))) - float(f(tg.tensor(first - step)))) / (2 * STEP)
            errors.append(abs(found[place] - numeric) / max(abs(found[place]), abs(numeric)))
    assert len(errors) > 40
    assert max(errors) < band
