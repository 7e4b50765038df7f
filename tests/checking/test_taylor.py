import numpy as np
import pytest

import tinygrad_bn as tg
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
    ratio = test.remainders / np.square(test.steps)
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
