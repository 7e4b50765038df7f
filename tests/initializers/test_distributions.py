"""What is drawn has the moments, the bounds and the density that its law says; seeds are fixed: no chance."""

import math
from itertools import product
from zlib import crc32

import numpy as np
import pytest

from tinygrad_bn import initializers
from tinygrad_bn.initializers import TRUNCATED_STDDEV, VarianceScaling, fans

FANS = {  # by hand
    (): (1, 1),
    (5,): (5, 5),
    (30, 20): (30, 20),
    (20, 30): (20, 30),
    (3, 8, 4): (24, 12),
    (3, 3, 16, 32): (144, 288),
}
CHOICES = {
    "fan_in": lambda fan_in, fan_out: fan_in,
    "fan_out": lambda fan_in, fan_out: fan_out,
    "fan_avg": lambda fan_in, fan_out: (fan_in + fan_out) / 2,
}
SCALE, SIZE = 1.5, 6000


def truncated_moment(order):
    """E[z ** order] of a standard normal z kept within [-2, 2], by parts from the one of order - 2."""
    density = math.exp(-2) / math.sqrt(2 * math.pi)
    kept = math.erf(math.sqrt(2))
    return 1.0 if order == 0 else (order - 1) * truncated_moment(order - 2) - 2**order * density / kept


TRUNCATED = truncated_moment(4) / truncated_moment(2) ** 2
KURTOSIS = {"uniform": 9 / 5, "untruncated_normal": 3.0, "truncated_normal": TRUNCATED, "normal": TRUNCATED}
BOUND = {"uniform": math.sqrt(3), "truncated_normal": 2 / math.sqrt(truncated_moment(2))}
PLAIN = {
    initializers.RandomNormal(0.3, 0.2): (0.3, 0.04, 3.0),
    initializers.TruncatedNormal(-0.3, 0.2): (-0.3, 0.04 * truncated_moment(2), TRUNCATED),
    initializers.RandomUniform(-0.1, 0.4): (0.15, 0.25 / 12, 9 / 5),
}


def drawn(initializer, shape, dtype=np.float64):
    """SIZE values or more, from as many arrays of this shape as it takes; other ones for each initializer and shape."""
    rng = np.random.default_rng(crc32(f"{initializer!r} {shape}".encode()))
    return np.array([initializer(shape, rng=rng, dtype=dtype) for _ in range(max(1, SIZE // math.prod(shape)))])


def assert_moments(values, mean, variance, kurtosis):
    """Mean and variance within 3 standard errors; that of the variance follows from the fourth moment."""
    squares = np.square(values - mean)
    assert abs(values.mean() - mean) <= 3 * math.sqrt(variance / values.size)
    assert abs(squares.mean() - variance) <= 3 * variance * math.sqrt((kurtosis - 1) / values.size)


def test_the_standard_deviation_of_the_truncated_normal_is_derived():
    assert math.sqrt(truncated_moment(2)) == pytest.approx(TRUNCATED_STDDEV, rel=1e-15)


@pytest.mark.parametrize("shape", FANS, ids=str)
def test_fans_of_every_rank(shape):
    assert fans(shape) == FANS[shape]


@pytest.mark.parametrize(("mode", "distribution", "shape"), [*product(CHOICES, KURTOSIS, FANS)], ids=str)
def test_variance_scaling_has_mean_0_and_variance_scale_over_fan(mode, distribution, shape):
    variance = SCALE / CHOICES[mode](*FANS[shape])
    values = drawn(VarianceScaling(SCALE, mode, distribution), shape)
    assert_moments(values, 0.0, variance, KURTOSIS[distribution])
    assert VarianceScaling(SCALE, mode, distribution).report(shape).variance == pytest.approx(variance, rel=1e-15)


@pytest.mark.parametrize(("initializer", "moments"), PLAIN.items(), ids=repr)
def test_the_moments_of_laws_that_look_at_no_fan(initializer, moments):
    assert_moments(drawn(initializer, (30, 20)), *moments)
    report = initializer.report((30, 20))
    assert (report.mean, report.variance) == pytest.approx(moments[:2], rel=1e-15)


@pytest.mark.parametrize(("distribution", "kurtosis"), KURTOSIS.items())
def test_the_fourth_moment_is_that_of_the_distribution(distribution, kurtosis):
    values = VarianceScaling(distribution=distribution, seed=3)((400, 400), dtype=np.float64)
    fourth = np.square(np.square(values / values.std()))
    assert abs(fourth.mean() - kurtosis) <= 3 * fourth.std() / 400


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(("mode", "distribution", "shape"), [*product(CHOICES, BOUND, FANS)], ids=str)
def test_values_fill_the_interval_between_the_bounds_and_none_lies_beyond(mode, distribution, shape, dtype):
    initializer = VarianceScaling(SCALE, mode, distribution)
    bound = BOUND[distribution] * math.sqrt(SCALE / CHOICES[mode](*FANS[shape]))
    assert initializer.report(shape).bounds == pytest.approx((-bound, bound), rel=1e-14)
    low, high = np.array(initializer.report(shape).bounds, dtype)  # rounded as the values are
    values = drawn(initializer, shape, dtype)
    assert low <= values.min() < 0.98 * low
    assert 0.98 * high < values.max() <= high


@pytest.mark.parametrize(
    "initializer", [initializers.TruncatedNormal(-0.3, 0.2), initializers.RandomUniform(-0.1, 0.4)], ids=repr
)
def test_bounds_of_laws_that_look_at_no_fan(initializer):
    low, high = initializer.report((30, 20)).bounds
    values = drawn(initializer, (30, 20))
    margin = 0.01 * (high - low)
    assert low <= values.min() < low + margin
    assert high - margin < values.max() <= high


def test_a_truncated_normal_is_drawn_anew_where_it_lies_beyond_two():
    """Not clipped, which would heap values up on the bounds, and not left where a few draws in a row lie beyond."""
    values = initializers.TruncatedNormal(stddev=1.0, seed=0)((1000, 1000), dtype=np.float64)
    assert np.abs(values).max() <= 2
    assert np.count_nonzero(np.abs(values) == 2) == 0
    share = np.mean(np.abs(values) > 1.9)
    expected = 1 - math.erf(1.9 / math.sqrt(2)) / math.erf(math.sqrt(2))
    assert abs(share - expected) <= 3 * math.sqrt(expected / values.size)


DENSE = [
    *((VarianceScaling(SCALE, distribution=distribution), (30, 20)) for distribution in KURTOSIS),
    *((initializer, (30, 20)) for initializer in PLAIN),
    *((initializers.Orthogonal(-1.5), shape) for shape in [(2, 2), (3, 2), (4, 1), (2, 3, 40)]),
]


@pytest.mark.parametrize(("initializer", "shape"), DENSE, ids=str)
def test_the_density_has_the_moments_of_the_law_and_the_draws_follow_it(initializer, shape):
    """By quadrature in the sine of an angle, which tames the ends; and by Kolmogorov's distance."""
    law = initializer.law(shape)
    far = 10 * math.sqrt(law.variance)
    low, high = max(law.bounds[0], law.mean - far), min(law.bounds[1], law.mean + far)
    angles = (np.arange(4000) + 0.5) / 4000 * math.pi - math.pi / 2
    points = (low + high) / 2 + (high - low) / 2 * np.sin(angles)
    mass = law.density(points) * (high - low) / 2 * np.cos(angles) * math.pi / 4000
    assert mass.sum() == pytest.approx(1, abs=1e-5)
    assert mass @ points == pytest.approx(law.mean, abs=1e-5)
    assert mass @ np.square(points - law.mean) == pytest.approx(law.variance, rel=1e-4)

    rng = np.random.default_rng(2)
    first = np.sort([initializer(shape, rng=rng, dtype=np.float64).flat[0] for _ in range(3000)])
    expected = np.interp(first, points, np.cumsum(mass) - mass / 2)
    distance = np.abs(expected - (np.arange(3000) + 0.5) / 3000).max()
    assert distance <= 1.63 / math.sqrt(3000)  # exceeded in one sample of a hundred


@pytest.mark.parametrize("shape", [(40, 7), (7, 40), (2, 5, 3), (4, 4), (1, 1)])
def test_orthogonal_has_orthonormal_rows_or_columns(shape):
    q = initializers.Orthogonal(gain=2.0, seed=0)(shape, dtype=np.float64).reshape(-1, shape[-1])
    q = q if q.shape[0] >= q.shape[1] else q.T
    np.testing.assert_allclose(q.T @ q, 4 * np.eye(q.shape[1]), atol=1e-14)


def test_orthogonal_favours_no_sign():
    """Uniform among the rotations and reflections of the plane: as many of the one as of the other."""
    made = [initializers.Orthogonal()((2, 2), rng=np.random.default_rng(seed)) for seed in range(400)]
    rotations = sum(np.linalg.det(q) > 0 for q in made)
    positive = sum(q[0, 0] > 0 for q in made)
    assert abs(rotations - 200) <= 30
    assert abs(positive - 200) <= 30


@pytest.mark.parametrize(
    "initializer",
    [
        initializers.Constant(0.25),
        initializers.RandomNormal(0.25, 0.0),
        initializers.TruncatedNormal(0.25, 0.0),
        initializers.RandomUniform(0.25, 0.25),
    ],
    ids=repr,
)
def test_a_law_without_a_spread_is_constant(initializer):
    report = initializer.report((3, 2))
    assert (report.law, report.mean, report.variance, report.bounds) == ("constant 0.25", 0.25, 0.0, (0.25, 0.25))
    np.testing.assert_array_equal(initializer((3, 2)), np.full((3, 2), 0.25))


def test_a_fan_of_zero_counts_as_one():
    assert VarianceScaling().report((0, 3)).variance == 1.0
    assert VarianceScaling()((0, 3)).shape == (0, 3)
