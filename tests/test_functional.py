"""A model as a function of its parameters and states."""

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn.errors import NotBuiltError, SettingError, ShapeError
from tinygrad_bn.module.functional import places

X = np.random.default_rng(0).standard_normal((6, 3))


@pytest.fixture
def model():
    tg.set_random_seed(0)
    layers = [tg.layers.Dense(2, input_shape=(3,)), tg.layers.BatchNormalization(momentum=0.5)]
    return tg.Sequential([*layers, tg.layers.Dense(1)])


def test_it_computes_what_the_model_computes(model):
    f, parameters, state = tg.functional(model)
    assert [*parameters, *state] == [
        *[path for path, _ in model.named_parameters()],
        *[path for path, _ in model.named_states()],
    ]
    y, after = f(parameters, state, X, training=False)
    np.testing.assert_array_equal(y, model(X, training=False))
    for path, value in state.items():
        np.testing.assert_array_equal(after[path], value)


def test_training_gives_new_states_and_leaves_the_model_alone(model):
    f, parameters, state = tg.functional(model)
    before = model.state_dict()
    held = list(model.parameters())
    doubled = {path: 2 * value for path, value in parameters.items()}
    _, after = f(doubled, state, X, training=True)
    assert any((after[path] != value).any() for path, value in state.items())
    assert all(now is then for now, then in zip(model.parameters(), held, strict=True))
    for path, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[path])


def test_gradients_over_the_parameters_are_those_of_backward(model):
    f, parameters, state = tg.functional(model)
    found = tg.grad(lambda p: tg.square(f(p, state, X, training=True)[0]).sum())(parameters)
    tg.square(model(X, training=True)).sum().backward()
    for path, parameter in model.named_parameters():
        np.testing.assert_allclose(found[path], parameter.grad, rtol=1e-5, atol=1e-6)


def test_the_hessian_of_a_linear_model_is_the_matrix_of_second_moments():
    model = tg.Sequential([tg.layers.Dense(1, use_bias=False, input_shape=(3,), dtype=np.float64)])
    f, parameters, state = tg.functional(model)
    rows = tg.hessian(lambda p: tg.square(f(p, state, X)[0]).sum())(parameters)
    second = rows["layers.0.kernel"]["layers.0.kernel"].reshape(3, 3)
    np.testing.assert_allclose(second, 2 * X.T @ X)


def test_a_parameter_held_twice_is_replaced_twice():
    model = tg.Module()
    model.first = tg.Parameter([1.0, 2.0])
    model.both = {"again": [model.first]}
    model.forward = lambda x: x * model.first * model.both["again"][0]
    f, parameters, state = tg.functional(model)
    y, _ = f({"first": 3 * parameters["first"]}, state, np.ones(2, np.float32))
    assert y.tolist() == [9.0, 36.0]


def test_things_are_found_wherever_modules_hold_them_and_each_place_once():
    thing = tg.Parameter(np.ones(2))
    inner = tg.Module()
    inner.rows = [{"a": thing}, [thing]]
    outer = tg.Module()
    outer.inner, outer.again, outer.thing, outer.same = inner, inner, thing, inner.rows
    found = places(outer, [thing])
    assert all(holder[key] is value is thing for holder, key, value in found)
    assert sorted(str(key) for _, key, _ in found) == ["0", "a", "thing"]


def test_wrong_values_are_named(model):
    f, parameters, state = tg.functional(model)
    with pytest.raises(SettingError, match=r"parameters with a value for layers\.0\.kernel"):
        f({path: v for path, v in parameters.items() if path != "layers.0.kernel"}, state, X)
    with pytest.raises(SettingError, match=r"unknown path 'layers\.0\.kernal'.*Did you mean 'layers\.0\.kernel'"):
        f({**parameters, "layers.0.kernal": np.ones(2)}, state, X)
    with pytest.raises(ShapeError, match=r"layers\.0\.bias of shape \(2,\); got \(3,\)"):
        f({**parameters, "layers.0.bias": np.ones(3)}, state, X)
    for wrong in ((None, None), (parameters, [1])):
        with pytest.raises(TypeError, match=r"functional expects \w+ as a dict of values by path; got"):
            f(*wrong, X)
    with pytest.raises(NotBuiltError):
        tg.functional(tg.layers.Dense(2))
    with pytest.raises(TypeError, match="functional expects a Module; got 3"):
        tg.functional(3)


def test_variables_in_tuples_which_cannot_be_replaced_are_refused():
    class Pair(tg.Module):
        def __init__(self):
            self.pair = tg.Parameter([2.0]), tg.Parameter([3.0])

    with pytest.raises(SettingError, match=r"attributes, lists and dicts; pair.0 is in a tuple"):
        tg.functional(Pair())
