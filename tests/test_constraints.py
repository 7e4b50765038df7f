import copy
import pickle

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn import constraints
from tinygrad_bn.constraints import MaxNorm, NonNeg, UnitNorm
from tinygrad_bn.errors import SettingError, ShapeError, StaleGraphError
from tinygrad_bn.layers import Dense
from tinygrad_bn.optimizers import SGD, Adam

W = 2 * np.random.default_rng(0).normal(size=(4, 3))
ALONG_0, ALONG_1 = (np.linalg.norm(W, axis=axis, keepdims=True) for axis in (0, 1))
WHOLE = np.linalg.norm(W)

CASES = {
    "max_norm": (MaxNorm(), W * np.minimum(1, 2 / ALONG_0)),
    "max_norm of rows": (MaxNorm(3, axis=1), W * np.minimum(1, 3 / ALONG_1)),
    "max_norm of all": (MaxNorm(1, axis=[0, 1]), W / WHOLE),
    "non_neg": (NonNeg(), np.where(W > 0, W, 0)),
    "unit_norm": (UnitNorm(), W / ALONG_0),
    "unit_norm of rows": (UnitNorm(axis=-1), W / ALONG_1),
    "unit_norm of all": (UnitNorm(axis=(0, 1)), W / WHOLE),
}
every_case = pytest.mark.parametrize(("constraint", "expected"), CASES.values(), ids=CASES)


def stepped(w, size=0.0):
    """The parameter after a step of that size against the direction of ones."""
    w.grad = np.full(w.shape, -size, w.dtype)
    SGD(1.0).step([w])
    return w.numpy()


@every_case
def test_the_weights_after_a_step(constraint, expected):
    np.testing.assert_allclose(constraint(W), expected, rtol=1e-14)
    np.testing.assert_allclose(stepped(tg.Parameter(W - 0.5, constraint=constraint), 0.5), expected, rtol=1e-13)


@every_case
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_allowed_stays_and_the_dtype_too(constraint, expected, dtype):
    once = constraint(W.astype(dtype))
    assert once.dtype == dtype
    np.testing.assert_allclose(constraint(once), once, rtol=4 * np.finfo(dtype).eps)


@every_case
def test_constraints_have_derivatives(constraint, expected):
    tg.testing.assert_gradients(constraint, W, order=2)


def test_weights_within_the_limit_keep_every_bit():
    w = W.astype(np.float32)
    limit = float(np.linalg.norm(w, axis=0).max()) * 1.001
    assert MaxNorm(limit)(w).tobytes() == w.tobytes()


def test_nothing_is_added_to_the_norms_that_are_divided_by():
    short = np.array([[1e-7]])
    assert MaxNorm()(short) == short and UnitNorm()(short) == 1


@pytest.mark.parametrize("constraint", [MaxNorm(), UnitNorm(), NonNeg()])
def test_zeros_stay_and_what_is_huge_or_tiny_keeps_its_direction(constraint):
    np.testing.assert_array_equal(constraint(np.zeros((3, 2), np.float32)), 0)
    for size in (1e19, 1e-30):
        found = constraint(np.full((4, 1), size, np.float32))
        assert (found > 0).all() and np.isfinite(found).all()
    if not isinstance(constraint, NonNeg):
        length = np.linalg.norm(constraint(np.full((4, 1), 1e19, np.float32)))
        np.testing.assert_allclose(length, getattr(constraint, "max_value", 1), rtol=1e-6)


def test_what_is_not_finite_can_be_seen():
    w = np.array([[np.nan, 1.0], [1.0, 2.0]])
    for constraint in (MaxNorm(), UnitNorm(), NonNeg()):
        assert np.isnan(constraint(w)[0, 0])
        assert np.isfinite(constraint(w)[:, 1]).all()


def test_only_parameters_that_take_a_step_are_constrained():
    learned, frozen, unused = (tg.Parameter(W, constraint=NonNeg()) for _ in range(3))
    frozen.trainable = False
    learned.grad = frozen.grad = np.zeros_like(W)
    SGD(1.0).step([learned, frozen, unused])
    assert [(w.numpy() < 0).any() for w in (learned, frozen, unused)] == [False, True, True]


def test_a_function_of_ones_own():
    np.testing.assert_array_equal(stepped(tg.Parameter(W, constraint=lambda w: w.clip(-1, 1))), np.clip(W, -1, 1))
    np.testing.assert_array_equal(stepped(tg.Parameter(W, constraint=lambda w: w)), W)
    np.testing.assert_array_equal(stepped(tg.Parameter(W, constraint=lambda w: w[::-1])), W[::-1])
    with pytest.raises(ShapeError, match=r"constraint of kernel to give values of shape \(4, 3\); .* gave \(3,\)"):
        stepped(tg.Parameter(W, name="kernel", constraint=lambda w: w[0]))


def test_constraining_writes_in_place_and_is_noticed():
    w = tg.Parameter(W, constraint=NonNeg())
    memory, y = w.value, tg.square(w).sum()
    stepped(w)
    assert w.value is memory
    with pytest.raises(StaleGraphError, match="SGD"):
        y.backward()


def test_no_step_no_constraint():
    w = tg.Parameter(W, constraint=NonNeg())
    w.grad = np.full_like(W, np.nan)
    SGD(nonfinite="skip").step([w])
    np.testing.assert_array_equal(w, W)


def test_under_frozen_state_it_is_undone():
    w = tg.Parameter(W, constraint=NonNeg())
    with tg.frozen_state():
        stepped(w)
    np.testing.assert_array_equal(w, W)


def test_neighbours_in_memory_are_left_alone():
    rng = np.random.default_rng(1)
    made = [tg.Parameter(rng.normal(size=3), constraint=NonNeg() if place % 2 else None) for place in range(5)]
    plain = [tg.Parameter(w.numpy()) for w in made]
    first, second = Adam(0.1), Adam(0.1)
    for _ in range(3):
        for one, other in zip(made, plain, strict=True):
            one.grad = other.grad = rng.normal(size=3)
        first.step(made)
        second.step(plain)
    for place, (one, other) in enumerate(zip(made, plain, strict=True)):
        assert (one.numpy() >= 0).all() if place % 2 else one.numpy().tobytes() == other.numpy().tobytes()


def test_names():
    for name, kind in {"max_norm": MaxNorm, "non_neg": NonNeg, "unit_norm": UnitNorm}.items():
        assert type(constraints.get(name)) is kind is getattr(constraints, name)
        assert type(constraints.get(kind)) is kind
    rule = MaxNorm(0.3)
    assert constraints.get(rule) is rule
    assert constraints.get(np.abs) is np.abs
    assert constraints.get(None) is None
    with pytest.raises(SettingError, match=r"unknown constraint 'maxnorm' in Dense\. Did you mean 'max_norm'"):
        Dense(3, kernel_constraint="maxnorm")
    with pytest.raises(SettingError, match="unknown constraint 2 in Dense"):
        Dense(3, bias_constraint=2)


@pytest.mark.parametrize("rule", [MaxNorm(0.5, axis=1), MaxNorm(1, (0, 1)), NonNeg(), UnitNorm([0])])
def test_a_constraint_is_told_by_its_arguments(rule):
    assert repr(rule) == repr(type(rule)(**vars(rule)))
    for double in (copy.deepcopy(rule), pickle.loads(pickle.dumps(rule))):
        assert repr(double) == repr(rule)
    assert repr(MaxNorm(1, (0, 1))) == "MaxNorm(max_value=1.0, axis=[0, 1])"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MaxNorm(0), "MaxNorm expects max_value to be a finite number above 0; got 0"),
        (lambda: MaxNorm("2"), "MaxNorm expects max_value to be .*; got '2'"),
        (lambda: MaxNorm(axis=None), "MaxNorm expects axis to be an integer or several; got None"),
        (lambda: UnitNorm(axis=[]), r"UnitNorm expects axis to be an integer or several; got \[\]"),
        (lambda: UnitNorm(axis=1.0), r"UnitNorm expects axis to be an integer or several; got 1\.0"),
    ],
)
def test_wrong_settings(call, message):
    with pytest.raises(SettingError, match=message):
        call()
