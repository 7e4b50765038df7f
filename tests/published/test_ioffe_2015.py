"""Ioffe & Szegedy (2015), Batch Normalization: https://arxiv.org/abs/1502.03167."""

from itertools import combinations

import numpy as np
import pytest

import tinygrad_bn as tg
from tests.published.data import digits
from tests.published.networks import classifier
from tinygrad_bn.callbacks import Callback
from tinygrad_bn.initializers import RandomNormal
from tinygrad_bn.layers import BatchNormalization, Dense
from tinygrad_bn.optimizers import SGD

M, EPSILON = 12, 1e-3


def double(**settings):
    """A layer in float64 with gamma and beta away from 1 and 0, a batch, and a gradient of its result."""
    rng = np.random.default_rng(0)
    layer = BatchNormalization(
        gamma_initializer=RandomNormal(1.0, 0.3, seed=1),
        beta_initializer=RandomNormal(seed=2),
        dtype=np.float64,
        **settings,
    )
    return layer, rng.normal(1.0, 2.0, (M, 5)), rng.standard_normal((M, 5))


def gradients(layer, x, g):
    x = tg.tensor(x, requires_grad=True)
    return [found.numpy() for found in tg.gradients(layer(x), [x, layer.gamma, layer.beta], grad_outputs=g)]


# Section 3: the transform and its derivatives


def test_section_3_the_six_derivatives_of_the_paper_by_our_backward_and_by_finite_differences():
    layer, x, g = double()
    found = gradients(layer, x, g)
    gamma = layer.gamma.numpy()
    mu, variance = x.mean(axis=0), x.var(axis=0)
    x_hat = (x - mu) / np.sqrt(variance + EPSILON)
    to_x_hat = g * gamma
    to_variance = np.sum(to_x_hat * (x - mu) * -0.5 * (variance + EPSILON) ** -1.5, axis=0)
    to_mu = np.sum(to_x_hat * -1 / np.sqrt(variance + EPSILON), axis=0) + to_variance * np.mean(-2 * (x - mu), axis=0)
    to_x = to_x_hat / np.sqrt(variance + EPSILON) + to_variance * 2 * (x - mu) / M + to_mu / M
    expected = [to_x, np.sum(g * x_hat, axis=0), np.sum(g, axis=0)]
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)

    h = 1e-5
    differences = np.empty_like(x)
    for place in np.ndindex(*x.shape):
        step = np.zeros_like(x)
        step[place] = h
        differences[place] = np.sum(g * (layer(x + step).numpy() - layer(x - step).numpy())) / (2 * h)
    assert np.abs(found[0] - differences).max() / np.abs(differences).max() < 1e-7


def test_the_gradient_of_a_batch_has_no_part_along_the_mean_and_almost_none_along_x_hat():
    """What shifts or scales a whole batch changes nothing: sum dx = 0, and sum dx x_hat = 0 up to epsilon."""
    layer, x, g = double()
    dx = gradients(layer, x, g)[0]
    x_hat = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + EPSILON)
    np.testing.assert_allclose(dx.sum(axis=0), 0, atol=1e-12)
    along = gradients(layer, x, g)[1] * layer.gamma.numpy() * EPSILON / (x.var(axis=0) + EPSILON) ** 1.5
    np.testing.assert_allclose(np.sum(dx * x_hat, axis=0), along, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("a", [0.01, 7.0, 1000.0])
def test_section_3_3_weights_a_times_as_large_give_the_same_result_and_gradients_a_times_smaller(a):
    """BN(Wu) = BN((aW)u), dBN((aW)u)/du = dBN(Wu)/du, and dBN((aW)u)/d(aW) = 1/a dBN(Wu)/dW; with epsilon = 0."""
    rng = np.random.default_rng(0)
    u, w, g = rng.standard_normal((16, 6)), rng.standard_normal((6, 4)), rng.standard_normal((16, 4))
    found = []
    for kernel in (w, a * w):
        layer = BatchNormalization(epsilon=0.0, dtype=np.float64)
        inputs = [tg.tensor(each, requires_grad=True) for each in (u, kernel)]
        y = layer(inputs[0] @ inputs[1])
        found.append([y, *tg.gradients(y, inputs, grad_outputs=g)])
    (y, to_u, to_w), (y_a, to_u_a, to_w_a) = ([each.numpy() for each in row] for row in found)
    np.testing.assert_allclose(y_a, y, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(to_u_a, to_u, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(to_w_a, to_w / a, rtol=1e-9, atol=1e-12 / a)


# Algorithm 2: inference


def test_algorithm_2_the_mean_of_m_over_m_minus_1_times_the_batches_variances_is_the_populations():
    """Var[x] = m / (m - 1) E_B[sigma_B^2] is unbiased: over all batches of 4 out of 7 values it is their variance with
    6 in the denominator, exactly; without the factor it is 3/4 of that. With momentum 0 the average is the last batch.
    """
    population = np.random.default_rng(0).standard_normal((7, 3))
    averages = {}
    for unbiased in (True, False):
        layer = BatchNormalization(momentum=0.0, unbiased=unbiased, dtype=np.float64)
        seen = []
        for rows in combinations(range(7), 4):
            layer(population[list(rows)])
            seen.append((layer.moving_mean.numpy(), layer.moving_variance.numpy()))
        averages[unbiased] = np.mean(seen, axis=0)
    np.testing.assert_allclose(averages[True][0], population.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(averages[True][1], population.var(axis=0, ddof=1), rtol=1e-12)
    np.testing.assert_allclose(averages[False][1], 3 / 4 * averages[True][1], rtol=1e-12)


def test_algorithm_2_step_11_in_inference_the_transform_is_one_linear_map_that_a_dense_layer_can_hold():
    """y = gamma / sqrt(Var[x] + epsilon) x + (beta - gamma E[x] / sqrt(Var[x] + epsilon)), folded into x = W u + b."""
    rng = np.random.default_rng(0)
    dense = Dense(4, bias_initializer=RandomNormal(seed=3), dtype=np.float64)
    layer, _, _ = double()
    model = tg.Sequential([dense, layer])
    for _ in range(3):
        model(rng.normal(2.0, 3.0, (20, 6)), training=True)
    slope = layer.gamma.numpy() / np.sqrt(layer.moving_variance.numpy() + EPSILON)
    shift = layer.beta.numpy() - slope * layer.moving_mean.numpy()
    u = rng.standard_normal((10, 6))
    folded = u @ (dense.kernel.numpy() * slope) + (dense.bias.numpy() * slope + shift)
    np.testing.assert_allclose(model.predict(u), folded, rtol=1e-12, atol=1e-12)


# Section 4: experiments


class Watched(Callback):
    """After every epoch: the accuracy on test data, and {15, 50, 85}th percentiles of the last sigmoids' inputs."""

    def __init__(self, x, y):
        self.x, self.y = x, y
        self.accuracies, self.percentiles = [], []

    def on_epoch_end(self, epoch, logs):
        z = self.x
        *layers, activation, output = self.model.layers
        for layer in layers:
            z = layer(z, training=False)
        self.percentiles.append(np.percentile(z.numpy(), (15, 50, 85), axis=0))
        y = output(activation(z, training=False), training=False).numpy()
        self.accuracies.append(np.mean(y.argmax(axis=-1) == self.y))


@pytest.mark.slow
def test_figure_1_with_batch_normalization_accuracy_is_higher_throughout_and_distributions_are_stabler():
    """Three hidden layers of 100 sigmoids, batches of 60, small Gaussian weights, on MNIST there and on the digits
    here. "The batch-normalized network enjoys the higher test accuracy"; its distributions "are much more stable".
    """
    x, y, x_test, y_test = digits()
    for seed in range(5):
        watched = {}
        for normalized in (False, True):
            tg.set_random_seed(seed)
            law = RandomNormal(stddev=0.1)
            model = classifier(3, 100, "sigmoid", law, normalized=normalized, output=law)
            model.compile(SGD(0.1), "sparse_categorical_crossentropy")
            watched[normalized] = Watched(x_test, y_test)
            model.fit(x, y, batch_size=60, epochs=60, callbacks=[watched[normalized]], verbose=0)
        without, with_it = watched[False], watched[True]
        assert np.all(np.greater(with_it.accuracies, without.accuracies))
        drifts = [np.std(each.percentiles, axis=0).mean(axis=-1) for each in (without, with_it)]
        assert np.all(drifts[1] < drifts[0])


@pytest.mark.parametrize("learning_rate", [0.1, 0.5])
def test_section_4_2_2_a_deep_net_of_sigmoids_is_at_chance_without_and_trains_with_it_at_5_times_the_rate(
    learning_rate,
):
    """Inception with sigmoids "never" does "better than 1/1000", that is chance; "BN-x5-Sigmoid", at 5 times the
    learning rate, "achieves the accuracy of 69.8 %". Here five layers of 100 on the digits, where chance is 10 %.
    """
    x, y, x_test, y_test = digits()
    accuracies = {}
    for normalized in (False, True):
        tg.set_random_seed(0)
        model = classifier(5, 100, "sigmoid", "glorot_uniform", normalized=normalized)
        model.compile(SGD(learning_rate), "sparse_categorical_crossentropy", ["accuracy"])
        model.fit(x, y, epochs=4, verbose=0)
        accuracies[normalized] = np.mean(model.predict(x_test).argmax(axis=-1) == y_test)
    assert accuracies[False] < 0.2
    assert accuracies[True] > 0.8
