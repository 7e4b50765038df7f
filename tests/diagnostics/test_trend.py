import math

import numpy as np
import pytest

from tinygrad_bn.diagnostics.trend import _student, trend


def test_a_geometric_sequence_has_its_factor_and_no_doubt():
    found = trend([3.0 * 0.5**n for n in range(10)])
    assert found == pytest.approx((0.5, 0.5, 0.5, 0.5**9), rel=1e-12)
    assert found.is_steady


def test_the_factor_is_that_of_the_regression():
    values = np.exp(np.random.default_rng(0).standard_normal(12))
    slope = np.polyfit(np.arange(12), np.log(values), 1)[0]
    assert trend(values.tolist()).factor == pytest.approx(math.exp(slope), rel=1e-12)


@pytest.mark.parametrize("steps", [3, 10, 30])
def test_the_interval_holds_the_truth_95_times_in_100(steps):
    rng = np.random.default_rng(0)
    walks = np.exp(np.cumsum(math.log(1.1) + 0.1 * rng.standard_normal((1500, steps + 1)), axis=1))
    found = [trend(walk) for walk in walks.tolist()]
    assert np.mean([each.low <= 1.1 <= each.high for each in found]) == pytest.approx(0.95, abs=0.02)


def test_the_interval_does_not_depend_on_the_unit():
    values = np.exp(np.random.default_rng(1).standard_normal(9))
    assert trend((1000 * values).tolist()) == pytest.approx(trend(values.tolist()), rel=1e-9)


def test_alternating_values_have_no_trend():
    found = trend([1.0, 0.1] * 10)
    assert found.factor == pytest.approx(1, abs=0.06)
    assert not found.is_steady


@pytest.mark.parametrize(
    ("values", "total"),
    [([], math.nan), ([2.0], math.nan), ([2.0, 0.0], 0.0), ([1.0, math.inf, 2.0], 2.0), ([0.0, 1.0], math.nan)],
)
def test_where_there_is_no_factor_there_is_no_claim(values, total):
    found = trend(values)
    assert (found.factor, found.low, found.high, found.total) == pytest.approx(
        (math.nan, 0, math.inf, total), nan_ok=True
    )
    assert not found.is_steady


def test_two_values_have_a_factor_without_an_interval():
    assert trend([1.0, 3.0]) == pytest.approx((3.0, 0.0, math.inf, 3.0))


def test_a_factor_may_leave_the_floats():
    assert trend([1e-300, 1e300, 1e-300]).high == math.inf


@pytest.mark.parametrize(("freedom", "quantile"), [(1, 12.706), (2, 4.303), (3, 3.182), (10, 2.228), (100, 1.984)])
def test_students_quantiles(freedom, quantile):
    assert _student(freedom) == pytest.approx(quantile, rel=8e-3)
