"""The published numbers of SELU, derived from its moments; and moments by quadrature."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_bn as tg
from tinygrad_bn.diagnostics import gaussian_moments, selu_moments
from tinygrad_bn.ops.activations import SELU_ALPHA, SELU_SCALE


def layer_map(mean, variance, omega=0.0, tau=1.0):
    """(mean, variance) after a layer whose units all have this omega and tau."""
    passed = selu_moments(np.multiply(mean, omega), np.multiply(variance, tau))
    return np.stack([passed.mean, passed.variance])


def jacobian(mean, variance, omega, tau, step=1e-5):
    by_mean = (layer_map(mean + step, variance, omega, tau) - layer_map(mean - step, variance, omega, tau)) / (2 * step)
    by_variance = (layer_map(mean, variance + step, omega, tau) - layer_map(mean, variance - step, omega, tau)) / (
        2 * step
    )
    return np.moveaxis(np.stack([by_mean, by_variance], axis=1), (0, 1), (-2, -1))


def grid(*ranges):
    return np.meshgrid(*(np.linspace(*each) for each in ranges), indexing="ij")


def selu_slope(z):
    return SELU_SCALE * np.where(z > 0, 1.0, SELU_ALPHA * np.exp(np.minimum(z, 0)))


def test_the_constants_in_closed_form():
    """Klambauer et al. (2017), Eq. 14."""
    e, erfc, pi = math.exp(0.5), math.erfc, math.pi
    alpha = -math.sqrt(2 / pi) / (erfc(math.sqrt(0.5)) * e - 1)
    inside = 2 * erfc(math.sqrt(2)) * e**4 + pi * erfc(math.sqrt(0.5)) ** 2 * e**2
    scale = (1 - erfc(math.sqrt(0.5)) * e) * math.sqrt(2 * pi)
    scale /= math.sqrt(inside - 2 * (2 + pi) * erfc(math.sqrt(0.5)) * e + pi + 2)
    assert pytest.approx((alpha, scale), rel=2e-15) == (SELU_ALPHA, SELU_SCALE)
    assert pytest.approx(-1.7580993408473766, rel=2e-16) == -SELU_ALPHA * SELU_SCALE


def test_the_constants_of_another_fixed_point():
    """Mean -0.1 and variance 2: the second example of the authors' getSELUparameters.ipynb."""
    wanted, pair = np.array([-0.1, 2.0]), np.array([SELU_ALPHA, SELU_SCALE])

    def missing(pair):
        passed = selu_moments(-0.1, 2.0, *pair)
        return np.array([passed.mean, passed.variance]) - wanted

    for _ in range(12):  # Newton's method
        slopes = [(missing(pair + h) - missing(pair - h)) / 2e-6 for h in 1e-6 * np.eye(2)]
        pair = pair - np.linalg.solve(np.transpose(slopes), missing(pair))
    assert pair == pytest.approx([1.9769021954242014, 1.073851239616046], rel=1e-9)


def test_the_fixed_point_and_its_jacobian():
    np.testing.assert_allclose(layer_map(0.0, 1.0), [0, 1], atol=1e-15)
    slopes = jacobian(0.0, 1.0, 0.0, 1.0)
    np.testing.assert_allclose(slopes, [[0, 0.088834], [0, 0.782648]], atol=2e-6)
    assert np.linalg.norm(slopes, 2) == pytest.approx(0.787673, abs=1e-6)


def test_the_gradient_grows_at_the_fixed_point():
    assert selu_moments(0.0, 1.0).slope == pytest.approx(1.071575, abs=1e-6)
    assert selu_moments(0.0, 1.0).slope ** 50 == pytest.approx(31.7, rel=2e-3)  # the norm, after 100 layers


def test_theorem_1():
    """The map takes its domain into itself and contracts there (Klambauer et al. 2017)."""
    mean, omega, variance, tau = grid((-0.1, 0.1, 5), (-0.1, 0.1, 5), (0.8, 1.5, 15), (0.95, 1.1, 7))
    means, variances = layer_map(mean, variance, omega, tau)
    assert (means.min(), means.max()) == pytest.approx((-0.0310605, 0.0677251), abs=1e-6)
    assert (variances.min(), variances.max()) == pytest.approx((0.803712, 1.481575), abs=1e-6)
    norms = np.linalg.norm(jacobian(mean, variance, omega, tau), 2, axis=(-2, -1))
    assert norms.max() == pytest.approx(0.897608, abs=1e-5)
    assert norms[0, 0, 0, -1] == pytest.approx(norms.max(), rel=1e-12)  # at (-0.1, -0.1, 0.8, 1.1)


def test_theorems_2_and_3():
    """A large variance falls, a small one rises."""

    def rise(means, variances, taus):
        mean, omega, variance, tau = grid(means, (-0.1, 0.1, 5), variances, taus)
        return layer_map(mean, variance, omega, tau)[1] - variance

    assert rise((-1, 1, 5), (3.0, 16.0, 40), (0.8, 1.25, 10)).max() == pytest.approx(-0.119744, abs=1e-5)
    assert rise((-0.1, 0.1, 5), (0.02, 0.16, 40), (0.8, 1.25, 10)).min() == pytest.approx(0.0077362, abs=1e-5)
    assert rise((-0.1, 0.1, 5), (0.02, 0.24, 40), (0.9, 1.25, 10)).min() == pytest.approx(0.0110293, abs=1e-5)


@given(st.floats(-60, 60), st.floats(1e-3, 1e3))
def test_the_closed_form_is_the_integral(mean, variance):
    exact = selu_moments(mean, variance)
    integral = gaussian_moments(tg.selu, mean, variance, selu_slope)
    size = SELU_SCALE * (abs(mean) + math.sqrt(variance) + SELU_ALPHA)
    np.testing.assert_allclose(exact.mean, integral.mean, rtol=1e-9, atol=1e-9 * size)
    np.testing.assert_allclose(exact.square, integral.square, rtol=1e-9)
    np.testing.assert_allclose(exact.slope, integral.slope, rtol=1e-6, atol=1e-15)


@given(st.floats(-1e4, 1e4), st.floats(1e-12, 1e6))
def test_nothing_overflows(mean, variance):
    passed = selu_moments(mean, variance)
    assert np.isfinite(passed).all()
    assert passed.square >= np.square(passed.mean) * (1 - 1e-9)


@pytest.mark.parametrize(
    ("activation", "slope", "variance", "square", "chi"),
    [
        (tg.sigmoid, lambda z: tg.sigmoid(z) * (1 - tg.sigmoid(z)), 0.264687, 0.264687, 0.055721),
        (tg.relu, lambda z: (z > 0) * 1.0, 3.0, 1.5, 0.5),
        (tg.selu, selu_slope, 1.0, 1.0, 1.071575),
        (tg.selu, selu_slope, 0.023034, 0.023034 / 0.5625, 1.003670 / 0.5625),
        (tg.elu, lambda z: np.where(z > 0, 1.0, np.exp(np.minimum(z, 0))), 1.0, 1 / 1.550519, None),
        (tg.tanh, lambda z: 1 - np.square(np.tanh(z)), 0.570048, (0.570048 - 0.05) / 1.760955, 1 / 1.760955),
    ],
    ids=["sigmoid", "relu", "selu", "selu at gain 3/4", "elu", "tanh at criticality"],
)
def test_the_fixed_points_of_signal_propagation(activation, slope, variance, square, chi):
    """q* and chi_1 of Schoenholz et al. (2017), for weights of the variance at hand."""
    passed = gaussian_moments(activation, 0.0, variance, slope)
    assert passed.square == pytest.approx(square, rel=5e-5)
    assert chi is None or passed.slope == pytest.approx(chi, rel=5e-5)


def test_moments_come_in_the_shape_of_means_and_variances():
    passed = gaussian_moments(tg.tanh, np.zeros((3, 1)), np.ones((3, 4)), lambda z: 1 - np.square(np.tanh(z)))
    assert passed.mean.shape == passed.variance.shape == passed.slope.shape == (3, 4)
    still = gaussian_moments(tg.tanh, 0.5, 0.0, lambda z: 1 - np.square(np.tanh(z)))
    assert (still.mean, still.variance) == pytest.approx((math.tanh(0.5), 0), abs=1e-12)
