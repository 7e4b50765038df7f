"""Standardization, the core of batch normalization, and what it is at its edges."""

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn.ops.statistics import _standardized, deviation, moments
from tinygrad_bn.residuals import kept

X = np.random.default_rng(0).normal(2, 3, (5, 3))


def standardize(x, axis=0, epsilon=1e-3):
    return tg.standardize(x, axis=axis, epsilon=epsilon)


def test_it_gives_mean_0_and_variance_just_below_1():
    y = standardize(X)
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-15)
    np.testing.assert_allclose(y.var(0), X.var(0) / (X.var(0) + 1e-3), rtol=1e-13)


@pytest.mark.parametrize(("axis", "shape"), [(0, (5, 3)), (-1, (5, 3)), ((0, 1), (2, 2, 3)), ((0, 2), (3, 2, 2))])
def test_all_derivatives_are_those_of_the_elementary_operations_to_the_third_order(axis, shape):
    rng = np.random.default_rng(1)
    x, w, *directions = (rng.uniform(-1, 1, shape) for _ in range(5))

    def derivative(core, order):
        function = lambda x: (core(x) * w).sum()  # noqa: E731 each order wraps the one before
        for d in directions[:order]:
            function = lambda x, inner=function, d=d: (tg.grad(inner)(x) * d).sum()  # noqa: E731
        return tg.grad(function)(x)

    for order in range(3):
        ours = derivative(lambda x: standardize(x, axis), order)
        plain = derivative(lambda x: _standardized(x, axis, 1e-3), order)
        np.testing.assert_allclose(ours, plain, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_column_and_a_batch_of_one_give_0_with_gradient_0(dtype):
    for x in (np.full((4, 2), 0.1, dtype), np.array([[3.0, -7.0]], dtype)):
        value, g = tg.value_and_grad(lambda x: (standardize(x) * 5.0).sum())(x)
        assert abs(value) < 1e-4
        np.testing.assert_allclose(g, np.zeros_like(x), atol=1e-4)


def test_a_column_of_one_value_per_batch_has_no_slope():
    def summed(x):
        return (standardize(x) * np.arange(6.0).reshape(2, 3)).sum()

    shift = tg.grad(lambda c: summed(X[:2] + c))(np.array(1.0))
    np.testing.assert_allclose(shift, 0, atol=1e-13)


def test_large_offsets_do_not_cancel_in_float32():
    x = (np.arange(8, dtype=np.float32) + 1e5).reshape(8, 1)
    np.testing.assert_allclose(standardize(x), standardize(x.astype(np.float64)), atol=1e-4)


@pytest.mark.parametrize(("n", "error"), [(32, 5e-3), (256, 5e-3), (1024, 1e-2), (1025, 1e-4), (60000, 1e-4)])
def test_a_mean_of_10000_standard_deviations_leaves_digits_in_float32(n, error):
    x = (1e4 + np.random.default_rng(3).normal(size=(n, 20))).astype(np.float32)
    np.testing.assert_allclose(standardize(x), standardize(x.astype(np.float64)), rtol=0, atol=error)
    np.testing.assert_allclose(
        deviation(x, axis=0, epsilon=1e-3), np.sqrt(x.astype(np.float64).var(0, keepdims=True) + 1e-3), rtol=1e-5
    )


def test_the_gradient_penalty_through_it_is_right():
    """The squared gradient of a standardized sum, differentiated once more, against differences."""

    def penalty(x):
        g = tg.grad(lambda x: (standardize(x) ** 3).sum())(x)
        return (g * g).sum()

    d = np.random.default_rng(2).uniform(-1, 1, X.shape)
    h = 1e-5
    numeric = (penalty(X + h * d) - penalty(X - h * d)) / (2 * h)
    np.testing.assert_allclose((tg.grad(penalty)(X) * d).sum(), numeric, rtol=1e-7)


@pytest.mark.parametrize("n", [5, 3000])
def test_statistics_that_standardize_took_are_those_taken_anew(n):
    x = np.random.default_rng(2).normal(3, 2, (n, 12)).astype(np.float32)
    y, g = (
        standardize(tg.tensor(x, requires_grad=True)).value,
        np.linspace(-1, 1, x.size, dtype=np.float32).reshape(x.shape),
    )
    rule = tg.standardize.rules[0]
    assert kept(y) is not None
    taken = moments(x, y, axis=0), rule(g, y, x, axis=0, epsilon=1e-3)
    anew = moments(x, y.copy(), axis=0), rule(g, y.copy(), x, axis=0, epsilon=1e-3)
    assert all(np.array_equal(one, other) for one, other in zip(taken[0], anew[0], strict=True))
    assert np.array_equal(taken[1], anew[1])


def test_statistics_are_taken_again_of_an_array_that_was_filled_again():
    x = tg.tensor(X, requires_grad=True)
    first = standardize(x).value
    x.value[...] *= 2
    second = standardize(x).value
    assert np.array_equal(moments(x.value, second, axis=0)[0], 2 * moments(x.value, first, axis=0)[0])
