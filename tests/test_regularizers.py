import copy
import pickle

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn import regularizers
from tinygrad_bn.errors import SettingError, ShapeError
from tinygrad_bn.layers import Dense
from tinygrad_bn.optimizers import SGD
from tinygrad_bn.regularizers import L1, L1L2, L2, penalty

W = np.random.default_rng(0).normal(size=(4, 3))
ABSOLUTE, SQUARED = np.abs(W).sum(), (W**2).sum()

# (regularizer, what it is, its derivative)
CASES = {
    "l1": (L1(), 0.01 * ABSOLUTE, 0.01 * np.sign(W)),
    "l2": (L2(), 0.01 * SQUARED, 0.02 * W),
    "l1_l2": (L1L2(), 0, 0 * W),
    "l1 of both": (L1L2(l1=0.3), 0.3 * ABSOLUTE, 0.3 * np.sign(W)),
    "l2 of both": (L1L2(l2=0.2), 0.2 * SQUARED, 0.4 * W),
    "both": (L1L2(0.3, 0.2), 0.3 * ABSOLUTE + 0.2 * SQUARED, 0.3 * np.sign(W) + 0.4 * W),
}
every_case = pytest.mark.parametrize(("regularizer", "value", "slope"), CASES.values(), ids=CASES)


@every_case
def test_penalties_and_their_derivatives(regularizer, value, slope):
    w = tg.Parameter(W, regularizer=regularizer)
    found = penalty([w])
    np.testing.assert_allclose(found.numpy(), value, rtol=1e-14)
    found.backward()
    np.testing.assert_allclose(w.grad, slope, rtol=1e-14)
    tg.testing.assert_gradients(regularizer, W, order=2)


@every_case
def test_an_optimizer_adds_the_derivative(regularizer, value, slope):
    w = tg.Parameter(W, regularizer=regularizer)
    w.grad = np.ones_like(W)
    SGD(0.5).step([w])
    np.testing.assert_allclose(w.numpy(), W - 0.5 * (1 + slope), rtol=1e-14)
    np.testing.assert_array_equal(w.grad, 1)


@every_case
def test_the_dtype_is_that_of_the_weights(regularizer, value, slope):
    w = tg.Parameter(W.astype(np.float32), regularizer=regularizer)
    assert penalty([w]).dtype == np.float32
    w.grad = np.ones(w.shape, np.float32)
    SGD(0.5).step([w])
    assert w.dtype == np.float32


def test_the_penalty_of_several_is_their_sum_and_of_none_is_none():
    first, second, frozen = (tg.Parameter(W, regularizer=rule) for rule in (L1(0.1), L2(0.2), L2(5.0)))
    frozen.trainable = False
    plain = tg.Parameter(W)
    np.testing.assert_allclose(
        penalty([first, plain, second, frozen, first]).numpy(), 0.1 * ABSOLUTE + 0.2 * SQUARED, rtol=1e-14
    )
    assert penalty([plain, frozen]) is penalty([]) is None


def test_a_function_of_ones_own():
    w = tg.Parameter(W, regularizer=lambda w: tg.exp(w).mean())
    w.grad = np.zeros_like(W)
    SGD(1.0).step([w])
    np.testing.assert_allclose(w.numpy(), W - np.exp(W) / 12, rtol=1e-14)
    for nothing in (lambda w: 0.0, lambda w: tg.sum(w.detach())):
        w = tg.Parameter(W, regularizer=nothing)
        w.grad = np.zeros_like(W)
        assert penalty([w]).shape == ()
        SGD(1.0).step([w])
        np.testing.assert_array_equal(w, W)


def test_a_penalty_is_one_number():
    w = tg.Parameter(W, name="kernel", regularizer=tg.square)
    w.grad = np.ones_like(W)
    for call in (lambda: penalty([w]), lambda: SGD().step([w])):
        with pytest.raises(ShapeError, match=r"kernel expects .* to give one number; got shape \(4, 3\)"):
            call()
    np.testing.assert_array_equal(w, W)


def test_a_step_asks_for_the_derivative_even_where_none_are_remembered():
    w = tg.Parameter(W, regularizer=L2(0.5))
    w.grad = np.zeros_like(W)
    with tg.no_grad():
        SGD(0.25).step([w])
    np.testing.assert_allclose(w.numpy(), 0.75 * W, rtol=1e-15)


def test_a_setting_can_change_while_it_is_in_use():
    rule = L2(0.5)
    w = tg.Parameter(W, regularizer=rule)
    for factor in (0.5, 0.125):
        rule.l2 = factor
        w.assign(W)
        w.grad = np.zeros_like(W)
        SGD(1.0).step([w])
        np.testing.assert_allclose(w.numpy(), (1 - 2 * factor) * W, rtol=1e-15)


@pytest.mark.parametrize("executor", ["eager", "numpy"])
def test_so_it_can_under_capture(executor):
    rule = L2(0.5)
    dense = Dense(3, use_bias=False, kernel_regularizer=rule, input_shape=[4], dtype=np.float64)
    (w,), optimizer = dense.parameters(), SGD(1.0)

    def step(x):
        (0.0 * dense(x)).sum().backward()
        optimizer.step([w])
        optimizer.zero_grad()

    take = tg.capture(step, executor=executor)
    for factor in (0.5, 0.5, 0.125, 0.125):
        rule.l2 = factor
        w.assign(W)
        take(np.ones((2, 4)))
        np.testing.assert_allclose(w.numpy(), (1 - 2 * factor) * W, rtol=1e-15)


def test_names():
    for name, kind in {"l1": L1, "l2": L2, "l1_l2": L1L2}.items():
        assert type(regularizers.get(name)) is kind is getattr(regularizers, name)
        assert type(regularizers.get(kind)) is kind
    rule = L2(0.3)
    assert regularizers.get(rule) is rule
    assert regularizers.get(np.sum) is np.sum
    assert regularizers.get(None) is None
    with pytest.raises(SettingError, match=r"unknown regularizer 'l3' in Dense\..* l1, l1_l2, l2"):
        Dense(3, kernel_regularizer="l3")
    with pytest.raises(SettingError, match=r"unknown regularizer 0\.01 in Dense"):
        Dense(3, bias_regularizer=0.01)


@pytest.mark.parametrize("rule", [L1(0.5), L2(0.25), L1L2(0.1, 0.2)])
def test_a_regularizer_is_told_by_its_arguments(rule):
    assert repr(rule) == repr(type(rule)(**vars(rule)))
    for double in (copy.deepcopy(rule), pickle.loads(pickle.dumps(rule))):
        assert repr(double) == repr(rule)
    assert repr(L1L2(0.1, 0.2)) == "L1L2(l1=0.1, l2=0.2)"


@pytest.mark.parametrize("wrong", [-1, np.nan, np.inf, "much", None])
def test_wrong_settings(wrong):
    for kind, name in [(L1, "l1"), (L2, "l2"), (L1L2, "l1"), (L1L2, "l2")]:
        with pytest.raises(SettingError, match=f"{kind.__name__} expects {name} to be a finite number not below 0"):
            kind(**{name: wrong})
