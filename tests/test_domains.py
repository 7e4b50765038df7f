"""Samples lie where their domain says, at a distance from kinks and ties that finite differences need."""

import numpy as np
import pytest

from tinygrad_bn.domains import Case, away_from, boolean, distinct, exponent, integers, interval, positive, real

RNG = np.random.default_rng(0)
SHAPES = [(), (0,), (1,), (3, 4), (2, 3, 4)]
ALL = [real, positive, exponent, distinct, boolean, integers(-2, 2), interval(0.5, 0.7), away_from(0.0, 3.0)]


@pytest.mark.parametrize("domain", ALL, ids=repr)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_samples_have_the_shape_asked_for(domain, shape):
    assert np.shape(domain.sample(RNG, shape)) == shape


@pytest.mark.parametrize("domain", ALL, ids=repr)
def test_one_seed_gives_one_sample(domain):
    one, other = (domain.sample(np.random.default_rng(1), (3, 4)) for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_positive_numbers_and_intervals_keep_their_bounds():
    assert (positive.sample(RNG, (1000,)) > 0).all()
    sample = interval(0.5, 0.7).sample(RNG, (1000,))
    assert 0.5 <= sample.min() < sample.max() <= 0.7


def test_samples_keep_their_distance_from_the_kinks():
    sample = away_from(-3.0, 0.0, 3.0, gap=0.2).sample(RNG, (10_000,))
    for kink in (-3.0, 0.0, 3.0):
        assert np.abs(sample - kink).min() >= 0.2 - 1e-12
        assert (sample < kink).any()
        assert (sample > kink).any()


@pytest.mark.parametrize("size", [2, 12, 24])
def test_distinct_numbers_are_further_apart_than_the_step_of_a_difference(size):
    sample = np.sort(distinct.sample(RNG, (size,)))
    assert np.diff(sample).min() > 0.08


def test_integers_and_truth_values_cannot_be_differentiated_by():
    sample = integers(-2, 2).sample(RNG, (1000,))
    assert set(sample.tolist()) == {-2, -1, 0, 1}
    assert sample.dtype.kind == "i"
    assert boolean.sample(RNG, (9,)).dtype == bool
    assert not integers(0, 2).differentiable
    assert not boolean.differentiable
    assert real.differentiable


def test_domains_and_cases_say_what_they_are():
    assert repr(away_from(0.0, 3.0)) == "away from 0, 3"
    assert repr(interval(0.5, 1.0)) == "in [0.5, 1]"
    assert repr(integers(0, 4)) == "integers 0 to 3"
    assert repr(Case((2, 3), axis=1)) == "Case((2, 3), axis=1)"
    assert repr(Case(())) == "Case(())"
