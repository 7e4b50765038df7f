import math

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn import initializers
from tinygrad_bn.errors import SettingError, ShapeError
from tinygrad_bn.initializers import TRUNCATED_STDDEV, VarianceScaling, fans

MODES = ("fan_in", "fan_out", "fan_avg")
BOUNDED = [VarianceScaling(1.5, mode, law) for mode in MODES for law in ("truncated_normal", "uniform")]
UNBOUNDED = [VarianceScaling(1.5, mode, "untruncated_normal") for mode in MODES]
CENTRED = [*BOUNDED, *UNBOUNDED, initializers.Orthogonal(1.5)]
BOUNDED += [initializers.TruncatedNormal(-0.3, 0.2), initializers.RandomUniform(-0.1, 0.4)]
MEANS = [
    *((initializer, 0.0) for initializer in CENTRED),
    (initializers.RandomNormal(0.3, 0.2), 0.3),
    (initializers.TruncatedNormal(-0.3, 0.2), -0.3),
    (initializers.RandomUniform(-0.1, 0.4), 0.15),
    (initializers.Constant(0.25), 0.25),
]
NAMES = {
    "glorot_uniform": (1.0, "fan_avg", "uniform"),
    "glorot_normal": (1.0, "fan_avg", "truncated_normal"),
    "he_uniform": (2.0, "fan_in", "uniform"),
    "he_normal": (2.0, "fan_in", "truncated_normal"),
    "lecun_uniform": (1.0, "fan_in", "uniform"),
    "lecun_normal": (1.0, "fan_in", "truncated_normal"),
}
SHAPE = (300, 100)


def truncated_moment(order):
    """E[z ** order] of a standard normal z kept within [-2, 2], by parts from the one of order - 2."""
    density = math.exp(-2) / math.sqrt(2 * math.pi)
    kept = math.erf(math.sqrt(2))
    return 1.0 if order == 0 else (order - 1) * truncated_moment(order - 2) - 2**order * density / kept


# The laws


def test_the_standard_deviation_of_the_truncated_normal_is_derived():
    assert math.sqrt(truncated_moment(2)) == pytest.approx(TRUNCATED_STDDEV, rel=1e-15)


@pytest.mark.parametrize(("initializer", "mean"), MEANS, ids=repr)
def test_moments_are_those_of_the_report_within_three_standard_errors(initializer, mean):
    drawn = initializer(SHAPE, rng=np.random.default_rng(7), dtype=np.float64)
    variance = initializer.report(SHAPE).variance
    squares = (drawn - mean) ** 2
    assert abs(drawn.mean() - mean) <= 3 * math.sqrt(variance / drawn.size)
    assert abs(squares.mean() - variance) <= 3 * squares.std() / math.sqrt(drawn.size) + 1e-15


@pytest.mark.parametrize("initializer", BOUNDED, ids=repr)
def test_values_fill_the_interval_between_the_bounds_and_none_lies_beyond(initializer):
    low, high = initializer.report(SHAPE).bounds
    drawn = initializer(SHAPE, rng=np.random.default_rng(1), dtype=np.float64)
    margin = 0.01 * (high - low)
    assert low <= drawn.min() < low + margin
    assert high - margin < drawn.max() <= high


@pytest.mark.parametrize(
    ("distribution", "kurtosis"),
    [
        ("uniform", 9 / 5),
        ("untruncated_normal", 3.0),
        ("truncated_normal", truncated_moment(4) / truncated_moment(2) ** 2),
    ],
)
def test_the_shape_of_the_distribution(distribution, kurtosis):
    drawn = VarianceScaling(distribution=distribution, seed=3)((400, 400), dtype=np.float64)
    fourth = (drawn / drawn.std()) ** 4
    assert abs(fourth.mean() - kurtosis) <= 3 * fourth.std() / 400


@pytest.mark.parametrize(("name", "parameters"), NAMES.items())
def test_glorot_he_and_lecun_are_parameterisations_of_variance_scaling(name, parameters):
    named, plain = initializers.get(name), VarianceScaling(*parameters)
    assert named.report(SHAPE) == plain.report(SHAPE)
    drawn = [made(SHAPE, rng=np.random.default_rng(0)) for made in (named, plain)]
    assert np.array_equal(*drawn)


def test_normal_means_truncated_normal():
    assert np.array_equal(*(VarianceScaling(distribution=d, seed=0)((9, 9)) for d in ("normal", "truncated_normal")))


def test_fans_of_every_rank():
    assert fans(()) == (1, 1)
    assert fans((5,)) == (5, 5)
    assert fans((300, 100)) == (300, 100)
    assert fans((3, 3, 16, 32)) == (9 * 16, 9 * 32)


def test_a_fan_of_zero_counts_as_one():
    assert VarianceScaling().report((0, 3)).variance == 1.0
    assert VarianceScaling()((0, 3)).shape == (0, 3)


@pytest.mark.parametrize("shape", [(40, 7), (7, 40), (2, 5, 3), (4, 4)])
def test_orthogonal_has_orthonormal_rows_or_columns(shape):
    q = initializers.Orthogonal(gain=2.0, seed=0)(shape, dtype=np.float64).reshape(-1, shape[-1])
    q = q if q.shape[0] >= q.shape[1] else q.T
    np.testing.assert_allclose(q.T @ q, 4 * np.eye(q.shape[1]), atol=1e-14)


def test_orthogonal_favours_no_sign():
    """Uniform among the rotations and reflections of the plane: the trace of a rotation is 2 cos(angle)."""
    drawn = [initializers.Orthogonal()((2, 2), rng=np.random.default_rng(seed)) for seed in range(400)]
    rotations = sum(np.linalg.det(q) > 0 for q in drawn)
    positive = sum(q[0, 0] > 0 for q in drawn)
    assert abs(rotations - 200) <= 30
    assert abs(positive - 200) <= 30


def test_constants():
    assert initializers.Zeros()((2, 2)).tolist() == [[0, 0], [0, 0]]
    assert initializers.Ones()((3,)).tolist() == [1, 1, 1]
    assert initializers.Constant(-0.5)(()).item() == -0.5


# Where the values come from


@pytest.mark.parametrize("kind", ["he_normal", "glorot_uniform", "orthogonal", "random_uniform", "truncated_normal"])
def test_an_initializer_draws_anew_unless_it_is_seeded(kind):
    plain, seeded = initializers.get(kind), type(initializers.get(kind))(seed=5)
    assert not np.array_equal(plain((4, 4)), plain((4, 4)))
    assert np.array_equal(seeded((4, 4)), seeded((4, 4)))
    assert not np.array_equal(seeded((4, 4)), type(plain)(seed=6)((4, 4)))


def test_the_shared_generator_and_a_given_one_are_repeatable():
    draws = []
    for _ in range(2):
        tg.set_random_seed(3)
        draws.append(initializers.HeNormal()((5, 5)))
        draws.append(initializers.HeNormal(seed=1)((5, 5), rng=np.random.default_rng(9)))
    assert np.array_equal(draws[0], draws[2])
    assert np.array_equal(draws[1], draws[3])
    with pytest.raises(TypeError, match="rng expects a numpy"):
        initializers.HeNormal()((2, 2), rng=3)


@pytest.mark.parametrize("name", ["he_normal", "glorot_uniform", "orthogonal", "ones"])
def test_the_dtype_is_float32_unless_asked_and_changes_values_only_by_rounding(name):
    draw, rng = initializers.get(name), np.random.default_rng
    single, double = draw((3, 3), rng=rng(0)), draw((3, 3), rng=rng(0), dtype=np.float64)
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    assert np.array_equal(single, double.astype(np.float32))


# Names and wrong arguments


def test_get_takes_names_classes_and_objects():
    for kind in (initializers.HeNormal, initializers.Zeros, initializers.RandomUniform, VarianceScaling):
        assert type(initializers.get(kind)) is kind
    own = initializers.Constant(3.0)
    assert initializers.get(own) is own
    for name in (*NAMES, "variance_scaling", "zeros", "ones", "constant", "random_normal", "random_uniform"):
        assert initializers.get(name)((2, 2)).shape == (2, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: initializers.get("he_norml"), "unknown initializer 'he_norml'. Did you mean 'he_normal'.*glorot_uni"),
        (lambda: initializers.get(3), "unknown initializer 3. Choices"),
        (lambda: VarianceScaling(mode="fav_avg"), "unknown mode 'fav_avg' in VarianceScaling. Did you mean 'fan_avg'"),
        (lambda: VarianceScaling(distribution="gauss"), "unknown distribution 'gauss'.*untruncated_normal"),
        (lambda: VarianceScaling(scale=0), "VarianceScaling expects scale to be a number above 0; got 0"),
        (lambda: VarianceScaling(scale=math.nan), "got nan"),
        (
            lambda: initializers.RandomNormal(stddev=-1),
            "RandomNormal expects stddev to be a number not below 0; got -1",
        ),
        (lambda: initializers.RandomUniform(1, 0), "maxval to be a number not below minval=1; got 0"),
        (lambda: initializers.Constant("1"), "Constant expects value to be a finite number; got '1'"),
    ],
)
def test_wrong_settings(call, message):
    with pytest.raises(SettingError, match=message):
        call()


@pytest.mark.parametrize(
    ("initializer", "shape"),
    [("zeros", 3), ("he_normal", (2, -1)), ("he_normal", (2.5,)), ("he_normal", None), ("orthogonal", (3,))],
)
def test_wrong_shapes(initializer, shape):
    with pytest.raises(ShapeError, match=f"expects a shape.*; got {shape}".replace("(", r"\(").replace(")", r"\)")):
        initializers.get(initializer)(shape)


def test_a_report_reads_well():
    report = initializers.HeNormal().report((300, 100))
    assert str(report) == (
        "normal truncated at 2 standard deviations, variance 0.006667, fan 300, within [-0.1856, 0.1856]"
    )
    assert report.to_dict()["fan"] == 300
    assert repr(initializers.HeNormal(seed=4)) == "HeNormal(seed=4)"
    assert str(initializers.Zeros().report((3,))) == "constant 0, variance 0, within [0, 0]"


def test_the_dtype_must_be_floating():
    for dtype, said in [("int3", "'int3'"), (np.int64, "int64")]:
        with pytest.raises(SettingError, match=f"GlorotUniform expects dtype to be floating; got {said}"):
            initializers.GlorotUniform()((2, 3), dtype=dtype)
