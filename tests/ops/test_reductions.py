"""Reductions of nothing, of one value and of numbers: they too have memory and a graph of their own."""

import itertools

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn.errors import DtypeError


@pytest.mark.parametrize("axis", [1, (1,), ()])
def test_a_product_of_one_factor_has_memory_of_its_own(axis):
    x = np.full((3, 1), 2.0)
    y = tg.prod(x, axis=axis)
    y *= 10
    np.testing.assert_array_equal(x, np.full((3, 1), 2.0))


def test_a_product_of_no_factors_is_1_and_keeps_its_graph():
    t = tg.tensor(np.ones((0, 3), np.float32), requires_grad=True)
    product = tg.prod(t, axis=0)
    np.testing.assert_array_equal(product.numpy(), np.ones(3))
    assert (product.requires_grad, product.dtype) == (True, np.float32)
    assert tg.gradients(product.sum(), t).shape == (0, 3)


@pytest.mark.parametrize("axis", [1.0, True, (1.0,), (True,), np.True_])
@pytest.mark.parametrize("function", [tg.sum, tg.mean, tg.std])
def test_what_is_no_axis_is_refused_whatever_was_asked_before(function, axis):
    for x in (np.ones((3, 4)), np.ones((11, 12))):  # the second is summed by a product
        for right in (1, (1,)):
            assert function(x, axis=right).shape == x.shape[:1]
        with pytest.raises(DtypeError, match="settings of their types"):
            function(x, axis=axis)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [16, 32, 33, 128])
def test_a_mean_of_rows_or_columns_is_their_sum_divided_by_their_number(n, dtype):
    x = np.random.default_rng(n).standard_normal((n, n)).astype(dtype)
    for axis, keepdims in itertools.product((0, 1, -1), (False, True)):
        mean = tg.mean(x, axis, keepdims)
        np.testing.assert_array_equal(mean, tg.sum(x, axis, keepdims) / dtype(n))
        assert (mean.dtype, mean.shape) == (dtype, x.mean(axis, keepdims=keepdims).shape)


def test_the_gradient_of_a_mean_over_many_values_is_the_same_share_for_each():
    for n in (2**20, 2**20 + 1):
        np.testing.assert_array_equal(tg.grad(tg.mean)(np.zeros(n)), np.full(n, 1 / n))


@pytest.mark.parametrize("function", [tg.max, tg.min])
def test_ties_share_evenly_however_many_they_are(function):
    n = 70_000  # more than float16 can count
    for axis, shape in ((None, (n,)), (0, (n, 2))):
        x = tg.tensor(np.zeros(shape, np.float16), requires_grad=True)
        g = tg.gradients(function(x, axis).sum(), x)
        assert g.dtype == np.float16
        np.testing.assert_array_equal(g.numpy(), np.full(shape, 1 / n, np.float16))


@pytest.mark.parametrize("axis", [None, 0, -1, ()])
@pytest.mark.parametrize("keepdims", [False, True])
def test_a_number_is_the_product_of_itself(axis, keepdims):
    value, slope = tg.value_and_grad(lambda x: 3 * tg.prod(x, axis, keepdims))(np.array(0.5))
    assert (value.shape, float(value), float(slope)) == ((), 1.5, 3)
