import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn.errors import SettingError
from tinygrad_bn.primitives import Function, primitive

X = np.random.default_rng(0).standard_normal((4, 3))


def sine(derivative):
    made = primitive(lambda x: np.sin(x))
    made.defvjp(lambda g, y, x: g * derivative(x))
    Function.registry.remove(made)
    return made


@pytest.mark.parametrize("seed", range(4))
def test_the_rate_is_two_for_a_right_gradient_and_one_for_a_wrong_one(seed):
    right = tg.taylor_test(sine(tg.cos), X, seed=seed)
    wrong = tg.taylor_test(sine(lambda x: 1.01 * tg.cos(x)), X, seed=seed)
    assert right.rate == pytest.approx(2, abs=0.05)
    assert wrong.rate == pytest.approx(1, abs=0.05)
    assert right
    assert not wrong


def test_the_remainders_are_what_they_are_said_to_be():
    test = tg.taylor_test(lambda x: tg.square(x), np.array([3.0]))
    clear = test.remainders > 1000 * test.noise
    ratio = (test.remainders / np.square(test.steps))[clear]
    assert ratio.size > 10
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-4)
    np.testing.assert_allclose(test.steps[:-1], 2 * test.steps[1:])


def test_of_a_straight_function_nothing_is_left():
    assert tg.taylor_test(lambda x: 3 * x.T, X).rate == float("inf")


def test_a_module_is_moved_along_all_its_parameters():
    model = tg.Sequential([tg.layers.Dense(4, activation="tanh"), tg.layers.Dense(2)])
    model(X)
    before = model.state_dict()
    assert tg.taylor_test(model, X).rate == pytest.approx(2, abs=0.05)
    assert all(np.array_equal(value, before[path]) for path, value in model.state_dict().items())


def test_the_report_is_a_table_a_dict_and_a_picture(tmp_path):
    test = tg.taylor_test(lambda x: tg.exp(x), X)
    assert len(str(test).splitlines()) == len(test.steps) + 2
    assert f"rate {test.rate:.3f}" in str(test)
    assert test.to_dict()["remainders"] == test.remainders.tolist()
    for report in (test, tg.taylor_test(lambda x: x, X)):
        report.plot(tmp_path / "taylor.png")
        assert (tmp_path / "taylor.png").read_bytes().startswith(b"\x89PNG")


def wave(k):
    made = primitive(lambda x: np.sin(k * x))
    made.defvjp(lambda g, y, x: g * k * tg.cos(k * x))
    Function.registry.remove(made)
    return made


@pytest.mark.parametrize("k", [1e7, 1e9, 1e12])
def test_where_the_steps_do_not_resolve_the_function_nothing_is_said(k):
    test = tg.taylor_test(lambda x: wave(k)(x), X)
    assert np.isnan(test.rate)
    assert not test
    assert "to tell" in str(test)


def test_no_finite_value_beside_x_tells_nothing():
    assert np.isnan(tg.taylor_test(sharp, np.array([0.0])).rate)


def sharp(x):
    return tg.where(x == 0, x, np.nan)


def test_an_error_that_is_told_to_be_unseen_is_unseen_and_a_larger_one_is_not():
    for part, seen in ((1e-2, True), (1e-4, True), (1e-12, False)):
        test = tg.taylor_test(sine(lambda x, part=part: (1 + part) * tg.cos(x)), X)
        assert bool(test) != seen
        assert (part > test.unseen) == seen


@pytest.mark.parametrize("seed", ["a", 1.5, -1, True, None])
def test_a_seed_that_makes_no_generator_is_refused(seed):
    with pytest.raises(SettingError, match="taylor_test: seed expects an integer, at least 0"):
        tg.taylor_test(lambda x: x, X, seed=seed)
