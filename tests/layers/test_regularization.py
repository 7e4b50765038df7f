import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn import layers
from tinygrad_bn.errors import SettingError

N = 200
ONES = np.ones((N, N), np.float32)
NORMAL = np.random.default_rng(0).normal(size=(N, N)).astype(np.float32)
RATES = [0.05, 0.3, 0.9]


@pytest.mark.parametrize("rate", RATES)
def test_dropout_keeps_the_mean(rate):
    y = layers.Dropout(rate, seed=1)(ONES)
    assert set(np.unique(y)) == {np.float32(0), np.float32(1) / np.float32(1 - rate)}
    assert abs((y == 0).mean() - rate) < 3 * np.sqrt(rate * (1 - rate)) / N
    assert abs(y.mean() - 1) < 3 * np.sqrt(rate / (1 - rate)) / N


@pytest.mark.parametrize("rate", RATES)
def test_alpha_dropout_keeps_mean_and_variance(rate):
    y = layers.AlphaDropout(rate, seed=1)(NORMAL).astype(np.float64)
    squares = (y - y.mean()) ** 2
    assert abs(y.mean()) < 3 * y.std() / N
    assert abs(squares.mean() - 1) < 3 * squares.std() / N
    dropped = np.unique(y, return_counts=True)[1].max() / y.size
    assert abs(dropped - rate) < 3 * np.sqrt(rate * (1 - rate)) / N


def test_gaussian_noise_adds_what_it_says():
    noise = layers.GaussianNoise(0.5, seed=1)(NORMAL) - NORMAL
    assert abs(noise.mean()) < 3 * 0.5 / N
    assert abs(noise.std() - 0.5) < 3 * 0.5 / np.sqrt(2) / N


@pytest.mark.parametrize("kind", [layers.Dropout, layers.AlphaDropout, layers.GaussianNoise])
def test_at_zero_and_in_inference_they_are_the_identity(kind):
    assert kind(0.0)(NORMAL) is NORMAL
    assert kind(0.5)(NORMAL, training=False) is NORMAL
    assert kind(0.5).eval()(NORMAL) is NORMAL


@pytest.mark.parametrize("kind", [layers.Dropout, layers.AlphaDropout, layers.GaussianNoise])
def test_every_call_draws_anew_and_a_seed_repeats_the_sequence(kind):
    first, second = kind(0.5, seed=3), kind(0.5, rng=np.random.default_rng(3))
    a, b = first(NORMAL), first(NORMAL)
    assert not np.array_equal(a, b)
    assert np.array_equal(a, second(NORMAL))
    assert np.array_equal(b, second(NORMAL))
    shared = []
    for _ in range(2):
        tg.set_random_seed(5)
        shared.append(kind(0.5)(NORMAL))
    assert np.array_equal(*shared)


def test_the_gradient_of_dropout_is_its_mask():
    x = tg.tensor(ONES, requires_grad=True)
    y = layers.Dropout(0.5, seed=0)(x)
    y.sum().backward()
    assert np.array_equal(x.grad, y)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: layers.Dropout(1.5), r"Dropout expects rate to be a number in \[0, 1\); got 1.5"),
        (lambda: layers.AlphaDropout(-0.1), r"AlphaDropout expects rate to be a number in \[0, 1\); got -0.1"),
        (lambda: layers.Dropout(1), r"Dropout expects rate to be a number in \[0, 1\); got 1"),
        (lambda: layers.GaussianNoise("a"), "GaussianNoise expects stddev to be a number not below 0; got 'a'"),
    ],
)
def test_wrong_settings(call, message):
    with pytest.raises(SettingError, match=message):
        call()


def test_a_wrong_generator():
    with pytest.raises(TypeError, match="rng expects a numpy"):
        layers.Dropout(0.5, rng=3)
