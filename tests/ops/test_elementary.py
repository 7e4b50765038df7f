"""Precision where the plain formula loses it: erf, both tails of the sigmoid, exponentials near 0 and far from it."""

import math

import numpy as np
import pytest

import tinygrad_bn as tg

GRID = np.concatenate([np.linspace(-7, 7, 20_001), np.geomspace(1e-300, 1, 2_000), -np.geomspace(1e-300, 1, 2_000)])
ERF = np.vectorize(math.erf, otypes=[np.float64])


def units(actual, exact):
    """The distance in units in the last place of `exact`, in the dtype of `actual`."""
    exact = np.asarray(exact, np.float64)
    spacing = np.spacing(np.abs(exact).astype(actual.dtype)).astype(np.float64)
    return np.abs(actual.astype(np.float64) - exact) / spacing


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_erf_is_right_to_5_units_in_the_last_place(dtype):
    x = np.concatenate([GRID, np.random.default_rng(0).uniform(-6.5, 6.5, 300_000)]).astype(dtype)
    x = x[np.abs(x) > np.finfo(dtype).tiny]
    assert units(tg.erf(x), ERF(x.astype(np.float64))).max() <= 5


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_erf_is_odd_and_has_its_limits(dtype):
    x = GRID.astype(dtype)
    np.testing.assert_array_equal(tg.erf(-x), -tg.erf(x))
    ends = np.array([-np.inf, -1e30, -0.0, 0.0, 1e30, np.inf], dtype)
    np.testing.assert_array_equal(tg.erf(ends), [-1, -1, 0, 0, 1, 1])
    assert np.signbit(tg.erf(ends)).tolist() == [True, True, True, False, False, False]
    assert np.isnan(tg.erf(np.array(np.nan, dtype)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_erf_never_turns_back(dtype):
    x = np.sort(GRID).astype(dtype)
    steps = np.diff(tg.erf(x))
    assert (steps >= -2 * np.finfo(dtype).eps).all()


def test_in_float16_erf_and_gelu_are_what_they_are_in_float32_rounded():
    x = np.arange(2**16, dtype=np.uint16).view(np.float16)
    x = np.sort(x[np.isfinite(x)])
    for function in (tg.erf, tg.gelu):
        y = function(x)
        assert y.dtype == np.float16
        np.testing.assert_allclose(y, function(x.astype(np.float32)), rtol=2e-3, atol=2e-3)
    assert np.array_equal(tg.erf(x), tg.erf(x.astype(np.float32)).astype(np.float16))
    assert tg.gelu(np.float16(100)) == 100


def test_the_derivative_of_erf_is_a_gaussian():
    x = np.linspace(-4, 4, 101)
    g = tg.grad(lambda x: tg.erf(x).sum())(x)
    np.testing.assert_allclose(g, 2 / math.sqrt(math.pi) * np.exp(-x * x), rtol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_sigmoid_keeps_its_precision_in_both_tails(dtype):
    x = np.linspace(-80, 80, 3_201).astype(dtype)
    exact = np.where(x < 0, np.exp(x.astype(float)) / (1 + np.exp(x.astype(float))), 1 / (1 + np.exp(-x.astype(float))))
    assert units(tg.sigmoid(x), exact).max() <= 4


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softplus_keeps_its_precision_in_both_tails(dtype):
    x = np.linspace(-80, 80, 3_201).astype(dtype)
    assert units(tg.softplus(x), np.logaddexp(0, x.astype(np.longdouble)).astype(float)).max() <= 4


def test_celu_falls_to_the_last_place_and_is_finite_below():
    x = np.linspace(-60, 0, 601)
    for alpha in (0.5, 1.0, 3.0):
        np.testing.assert_allclose(tg.celu(x * alpha, alpha), alpha * np.expm1(x), rtol=1e-15)
        assert tg.celu(np.array(-1e300), alpha) == -alpha


def test_logsumexp_softmax_and_their_logarithm_shift_without_a_trace():
    x = np.array([[1.0, 2.0, 3.0]])
    for function in (tg.softmax, tg.log_softmax, lambda x: tg.logsumexp(x, -1, keepdims=True) - x):
        np.testing.assert_allclose(function(x + 1e4), function(x), rtol=1e-11)
    assert tg.logsumexp(np.array([-np.inf, 0.0])) == 0
    np.testing.assert_array_equal(tg.softmax(np.array([-np.inf, 0.0])), [0, 1])
    np.testing.assert_array_equal(tg.softmax(np.zeros((2, 4))), np.full((2, 4), 0.25))


def test_a_norm_neither_overflows_nor_vanishes():
    for scale in (1e-30, 1.0, 1e30):
        x = np.array([3.0, 4.0], np.float32) * np.float32(scale)
        value, g = tg.value_and_grad(tg.norm)(x)
        np.testing.assert_allclose(value, 5 * scale, rtol=1e-6)
        np.testing.assert_allclose(g, [0.6, 0.8], rtol=1e-6)


def test_infinite_numbers_have_infinite_norms_and_sums_of_exponentials():
    inf = np.inf
    for dtype in (np.float32, np.float64):
        x = np.array([[-inf, -inf], [inf, 1], [inf, 800], [-inf, 1], [inf, -inf], [inf, inf]], dtype)
        with np.errstate(all="raise", under="ignore"):
            np.testing.assert_array_equal(tg.logsumexp(x, 1), [-inf, inf, inf, 1, inf, inf])
            np.testing.assert_array_equal(tg.norm(x, axis=1), [inf] * 6)
            np.testing.assert_array_equal(tg.norm(np.array([inf, 1e30], dtype)), inf)
            assert np.isnan(tg.logsumexp(np.array([np.nan, 800], dtype)))
            assert np.isnan(tg.norm(np.array([np.nan, inf], dtype)))


def test_softmax_and_derivatives_of_infinite_numbers_are_not_numbers():
    inf = np.inf
    with np.errstate(invalid="ignore"):
        for row in ([-inf, -inf], [inf, 1.0]):
            assert np.isnan(tg.softmax(np.array(row))).any()
            assert np.isnan(tg.log_softmax(np.array(row))).any()
        assert np.isnan(tg.grad(tg.logsumexp)(np.array([-inf, -inf]))).all()
        np.testing.assert_array_equal(tg.grad(tg.norm)(np.array([inf, 1.0])), [np.nan, 0])


@pytest.mark.parametrize("reduction", [tg.sum, tg.mean])
def test_a_sum_along_a_long_axis_rounds_no_more_than_numpys(reduction):
    for shape, axis in (((16, 10**6), 1), ((10**6, 16), 0)):
        x = np.full(shape, 0.1, np.float32)
        theirs = getattr(np, reduction.__name__)(x, axis=axis)
        np.testing.assert_array_equal(reduction(x, axis), theirs)
    error = abs(tg.sum(np.full((16, 10**6), 0.1, np.float32), 1) - 10**5)
    assert error.max() < 0.5  # that of a product with ones is 1.05


def test_a_variance_far_from_0_does_not_cancel():
    x = np.array([1e8, 1e8 + 1, 1e8 + 2])
    np.testing.assert_allclose(tg.var(x), 2 / 3, rtol=1e-15)
    np.testing.assert_allclose(tg.std(x), math.sqrt(2 / 3), rtol=1e-15)


def test_selus_constants_are_the_fixed_point_of_mean_0_and_variance_1():
    """The mean and the variance of selu(z), z of the normal distribution, by quadrature of 200 points."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(200)
    weights = weights / weights.sum()
    below, above = np.minimum(nodes, 0), np.maximum(nodes, 0)
    y = tg.selu(nodes)
    np.testing.assert_allclose(
        y, tg.ops.activations.SELU_SCALE * (above + tg.ops.activations.SELU_ALPHA * np.expm1(below))
    )
    half = math.exp(0.5) * math.erfc(math.sqrt(0.5)) / 2  # the mean of exp(z) where z < 0
    quarter = math.exp(2) * math.erfc(math.sqrt(2)) / 2  # the mean of exp(2 z) where z < 0
    scale, alpha = tg.ops.activations.SELU_SCALE, tg.ops.activations.SELU_ALPHA
    mean = scale * (1 / math.sqrt(2 * math.pi) + alpha * (half - 0.5))
    square = scale * scale * (0.5 + alpha * alpha * (quarter - 2 * half + 0.5))
    assert abs(mean) < 1e-15
    assert abs(square - 1) < 1e-15


def test_gelu_is_its_tanh_form_to_one_part_in_a_thousand():
    x = np.linspace(-5, 5, 1001)
    gap = np.abs(tg.gelu(x) - tg.gelu(x, approximate=True)).max()
    assert 1e-4 < gap < 1e-3
