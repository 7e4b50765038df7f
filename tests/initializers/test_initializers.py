"""Where the values come from, how an initializer is named and described, and what it refuses."""

import json
import math

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn import initializers
from tinygrad_bn.errors import SettingError, ShapeError
from tinygrad_bn.initializers import VarianceScaling

SHAPE = (300, 100)
SCALED = {
    "glorot_uniform": (1.0, "fan_avg", "uniform"),
    "glorot_normal": (1.0, "fan_avg", "truncated_normal"),
    "he_uniform": (2.0, "fan_in", "uniform"),
    "he_normal": (2.0, "fan_in", "truncated_normal"),
    "lecun_uniform": (1.0, "fan_in", "uniform"),
    "lecun_normal": (1.0, "fan_in", "truncated_normal"),
}
DRAWING = (*SCALED, "variance_scaling", "random_normal", "random_uniform", "truncated_normal", "orthogonal")
NAMES = (*DRAWING, "zeros", "ones", "constant")


@pytest.mark.parametrize(("name", "parameters"), SCALED.items())
def test_glorot_he_and_lecun_are_parameterisations_of_variance_scaling(name, parameters):
    named, plain = initializers.get(name), VarianceScaling(*parameters)
    ours, theirs = (made.report(SHAPE).to_dict() for made in (named, plain))
    assert {**ours, "initializer": None} == {**theirs, "initializer": None}
    drawn = [made(SHAPE, rng=np.random.default_rng(0)) for made in (named, plain)]
    assert np.array_equal(*drawn)


def test_normal_means_truncated_normal():
    assert np.array_equal(*(VarianceScaling(distribution=d, seed=0)((9, 9)) for d in ("normal", "truncated_normal")))


def test_constants():
    assert initializers.Zeros()((2, 2)).tolist() == [[0, 0], [0, 0]]
    assert initializers.Ones()((3,)).tolist() == [1, 1, 1]
    assert initializers.Constant(-0.5)(()).item() == -0.5


# Where the values come from


@pytest.mark.parametrize("name", DRAWING)
def test_an_initializer_draws_anew_unless_it_is_seeded(name):
    plain, seeded = initializers.get(name), type(initializers.get(name))(seed=5)
    assert not np.array_equal(plain((4, 4)), plain((4, 4)))
    assert np.array_equal(seeded((4, 4)), seeded((4, 4)))
    assert not np.array_equal(seeded((4, 4)), type(plain)(seed=6)((4, 4)))


def test_two_layers_with_one_initializer_differ_unless_it_is_seeded():
    def kernels(initializer):
        model = tg.Sequential([tg.layers.Dense(4, kernel_initializer=initializer) for _ in range(2)])
        model(np.ones((1, 4), np.float32))
        return [layer.kernel.numpy() for layer in model.layers]

    assert not np.array_equal(*kernels(initializers.HeNormal()))
    assert np.array_equal(*kernels(initializers.HeNormal(seed=1)))


@pytest.mark.parametrize("name", DRAWING)
def test_a_given_generator_is_drawn_from_and_goes_before_the_seed(name):
    kind = type(initializers.get(name))
    rng = np.random.default_rng(9)
    first, second = kind(seed=1)((5, 5), rng=rng), kind(seed=1)((5, 5), rng=rng)
    assert not np.array_equal(first, second)
    assert np.array_equal(first, kind()((5, 5), rng=np.random.default_rng(9)))
    with pytest.raises(TypeError, match="rng expects a numpy"):
        kind()((2, 2), rng=3)


def test_without_either_they_follow_from_the_seed_of_all():
    draws = []
    for _ in range(2):
        tg.set_random_seed(3)
        draws.append([initializers.get(name)((5, 5)) for name in DRAWING])
    for first, second in zip(*draws, strict=True):
        assert np.array_equal(first, second)


@pytest.mark.parametrize("name", DRAWING)
def test_under_frozen_state_the_same_is_drawn_again(name):
    drawn = []
    for _ in range(2):
        with tg.frozen_state():
            drawn.append(initializers.get(name)((5, 5)))
    drawn.append(initializers.get(name)((5, 5)))
    assert np.array_equal(drawn[0], drawn[1])
    assert np.array_equal(drawn[0], drawn[2])


@pytest.mark.parametrize("name", NAMES)
def test_the_dtype_is_float32_unless_asked_and_changes_values_only_by_rounding(name):
    draw, rng = initializers.get(name), np.random.default_rng
    single, double = draw((3, 3), rng=rng(0)), draw((3, 3), rng=rng(0), dtype=np.float64)
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    assert np.array_equal(single, double.astype(np.float32))


# Names and settings


def test_get_takes_names_classes_and_objects():
    for name in NAMES:
        made = initializers.get(name)
        assert type(made).__name__.lower() == name.replace("_", "")
        assert type(initializers.get(type(made))) is type(made)
        assert initializers.get(made) is made


def test_every_initializer_has_a_snake_case_name():
    made = {type(initializers.get(name)) for name in NAMES}
    public = {getattr(initializers, name) for name in initializers.__all__}
    kinds = {kind for kind in public if isinstance(kind, type) and issubclass(kind, initializers.Initializer)}
    assert made == kinds - {initializers.Initializer}


OTHER = [
    VarianceScaling(np.float32(0.5), "fan_out", "uniform", seed=np.int64(3)),
    initializers.LecunNormal(seed=4),
    initializers.Constant(3),
    initializers.RandomNormal(1, 2, seed=0),
    initializers.TruncatedNormal(stddev=0.1, seed=1),
    initializers.RandomUniform(-1, np.float64(2), seed=2),
    initializers.Orthogonal(2, seed=5),
]


@pytest.mark.parametrize("initializer", [*map(initializers.get, NAMES), *OTHER], ids=repr)
def test_settings_are_plain_and_make_the_same_initializer_again(initializer):
    values = {name: value for name, (value, _) in initializer.settings().items()}
    assert {name: getattr(initializer, name) for name in values} == values
    again = type(initializer)(**json.loads(json.dumps(values)))
    assert repr(again) == repr(initializer)
    assert eval(repr(initializer), vars(initializers).copy()).settings() == initializer.settings()
    rng = np.random.default_rng
    assert np.array_equal(again((4, 3), rng=rng(0)), initializer((4, 3), rng=rng(0)))


def test_settings_tell_the_defaults():
    assert initializers.RandomNormal(stddev=2).settings() == {
        "mean": (0.0, 0.0),
        "stddev": (2.0, 0.05),
        "seed": (None, None),
    }
    assert initializers.Zeros().settings() == {}
    assert repr(initializers.HeNormal(seed=4)) == "HeNormal(seed=4)"


class Identity(initializers.Initializer):
    """As a user writes one: it only draws."""

    def draw(self, shape, rng):
        return np.eye(*shape) + rng.normal(0, 1e-3, shape)


def test_an_initializer_of_ones_own():
    kernel = Identity(seed=2)((3, 3))
    assert kernel.dtype == np.float32
    assert np.array_equal(kernel, Identity(seed=2)((3, 3)))
    np.testing.assert_allclose(kernel, np.eye(3), atol=1e-2)
    assert repr(Identity()) == "Identity(seed=None)"
    assert tg.layers.Dense(3, kernel_initializer=Identity, input_shape=(3,)).parameters()[0].shape == (3, 3)
    with pytest.raises(NotImplementedError, match="Identity defines no law"):
        Identity().report((3, 3))


# Wrong arguments


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: initializers.get("he_norml"), "unknown initializer 'he_norml'. Did you mean 'he_normal'.*glorot_uni"),
        (lambda: initializers.get(3), "unknown initializer 3. Choices"),
        (lambda: VarianceScaling(mode="fav_avg"), "unknown mode 'fav_avg' in VarianceScaling. Did you mean 'fan_avg'"),
        (lambda: VarianceScaling(distribution="gauss"), "unknown distribution 'gauss'.*untruncated_normal"),
        (lambda: VarianceScaling(scale=0), "VarianceScaling expects scale to be a finite number above 0; got 0"),
        (lambda: VarianceScaling(scale=math.nan), "got nan"),
        (lambda: initializers.HeNormal(seed="a"), "HeNormal expects seed to be an integer not below 0; got 'a'"),
        (lambda: initializers.Orthogonal(seed=-1), "Orthogonal expects seed to be an integer not below 0; got -1"),
        (lambda: initializers.RandomNormal(stddev=-1), "RandomNormal expects stddev to be a finite number not below 0"),
        (
            lambda: initializers.RandomUniform(1, 0),
            "RandomUniform expects minval not above maxval; got minval=1.0, maxval=0.0",
        ),
        (lambda: initializers.Constant("1"), "Constant expects value to be a finite number; got '1'"),
    ],
)
def test_wrong_settings(call, message):
    with pytest.raises(SettingError, match=message):
        call()


@pytest.mark.parametrize(
    ("initializer", "name", "wrong", "message"),
    [
        (VarianceScaling(), "mode", "bogus", "unknown mode 'bogus' in VarianceScaling"),
        (VarianceScaling(), "scale", -1, "scale to be a finite number above 0; got -1"),
        (initializers.HeNormal(), "mode", "fan_out", "HeNormal was built with mode='fan_in', which cannot be set to"),
        (initializers.Ones(), "value", 2, "Ones was built with value=1.0, which cannot be set to 2"),
        (initializers.RandomUniform(), "minval", 0.5, "minval not above maxval; got minval=0.5, maxval=0.05"),
        (initializers.RandomNormal(), "seed", -1, "seed to be an integer not below 0; got -1"),
        (initializers.Orthogonal(), "gain", "a", "gain to be a finite number; got 'a'"),
    ],
    ids=lambda thing: type(thing).__name__,
)
def test_a_setting_is_checked_whenever_it_is_set(initializer, name, wrong, message):
    before = repr(initializer)
    with pytest.raises(SettingError, match=message):
        setattr(initializer, name, wrong)
    assert repr(initializer) == before


@pytest.mark.parametrize("ask", ["__call__", "report"])
@pytest.mark.parametrize(
    ("initializer", "shape"),
    [("zeros", 3), ("he_normal", (2, -1)), ("he_normal", (2.5,)), ("he_normal", None), ("orthogonal", (3,))],
)
def test_wrong_shapes(initializer, shape, ask):
    with pytest.raises(ShapeError, match=f"expects a shape.*; got {shape}".replace("(", r"\(").replace(")", r"\)")):
        getattr(initializers.get(initializer), ask)(shape)


def test_the_dtype_must_be_floating():
    for dtype, said in [("int3", "'int3'"), (np.int64, "int64")]:
        with pytest.raises(SettingError, match=f"GlorotUniform expects dtype to be floating; got {said}"):
            initializers.GlorotUniform()((2, 3), dtype=dtype)
