"""Moments of what comes in parts are those of the whole."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_bn.streaming import PooledMoments, blocks, pooled

RNG = np.random.default_rng(0)


def of_parts(parts, axis=0):
    moments = PooledMoments()
    for part in parts:
        moments.add(part, axis)
    return moments


@given(st.lists(st.lists(st.integers(-(2**20), 2**20), min_size=1, max_size=9), min_size=1, max_size=6))
def test_moments_are_those_of_exact_arithmetic_whatever_the_parts(parts):
    moments = of_parts([np.array(part) for part in parts])
    whole = [Fraction(value) for part in parts for value in part]
    mean = sum(whole) / len(whole)
    variance = sum((value - mean) ** 2 for value in whole) / len(whole)
    assert moments.count == len(whole)
    np.testing.assert_allclose(moments.mean[0], float(mean), rtol=1e-13, atol=1e-9)
    np.testing.assert_allclose(moments.variance()[0], float(variance), rtol=1e-12)


def test_nothing_cancels():
    x = (1e6 + RNG.normal(size=(999, 3))).astype(np.float32)
    exact = x.astype(np.float64)
    moments = of_parts(np.split(x, [1, 400, 402]))
    np.testing.assert_allclose(moments.mean, exact.mean(axis=0, keepdims=True), rtol=1e-14)
    np.testing.assert_allclose(moments.variance(ddof=1), exact.var(axis=0, ddof=1, keepdims=True), rtol=1e-12)


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(1, 9000))
def test_a_constant_is_its_mean_and_deviates_by_nothing(value, times):
    moments = pooled(np.full(times, value))
    assert (moments.mean[0], moments.squares[0]) == (value, 0)


@pytest.mark.parametrize("axis", [0, (0, 1), (0, 2), (0, 1, 2)])
def test_blocks_are_pooled_along_any_axes_with_the_first(axis):
    x = RNG.normal(size=(9000, 2, 3))
    moments = pooled(x, axis)
    assert len(list(blocks(x))) > 2
    np.testing.assert_allclose(moments.mean, x.mean(axis=axis, keepdims=True), atol=1e-14)
    np.testing.assert_allclose(moments.variance(), x.var(axis=axis, keepdims=True), rtol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e200, -1.7e308])
def test_what_has_no_variance_shows_and_nothing_else_warns(bad):
    variance = of_parts([np.array([[1.0, 2.0], [1.7e308, 3.0]]), np.array([[bad, 4.0]])]).variance()[0]
    np.testing.assert_array_equal(np.isfinite(variance), [False, True])
