"""grad, value_and_grad, vjp, jvp, jacobian, hessian, hvp: what they return, and what they refuse."""

from collections import namedtuple
from functools import partial
from types import MappingProxyType

import numpy as np
import pytest

import tinygrad_bn as tg

X, Y = np.array([1.0, 2.0, 3.0]), np.array([-1.0, 0.5, 2.0])


def cubes(x, y=1.0):
    return (x**3 * y).sum()


# Values


def test_grad_is_the_gradient():
    np.testing.assert_allclose(tg.grad(cubes)(X), 3 * X**2)
    np.testing.assert_allclose(tg.grad(cubes, argnums=1)(X, Y), X**3)
    np.testing.assert_allclose(tg.grad(cubes, argnums=-1)(X, Y), X**3)
    g_y, g_x = tg.grad(cubes, argnums=(1, 0))(X, Y)
    np.testing.assert_allclose(g_x, 3 * X**2 * Y)
    np.testing.assert_allclose(g_y, X**3)
    assert tg.grad(cubes, argnums=())(X) == ()
    np.testing.assert_allclose(tg.grad(cubes, argnums=np.int64(1))(X, Y), X**3)


def test_value_and_grad_is_both():
    value, (g,) = tg.value_and_grad(cubes, argnums=(0,))(X)
    assert value == cubes(X)
    np.testing.assert_allclose(g, 3 * X**2)


def test_vjp_pulls_back_as_often_as_asked():
    value, pull = tg.vjp(lambda x, y: x * y, X, Y)
    np.testing.assert_array_equal(value, X * Y)
    for cotangent in (np.ones(3), [1.0, 2.0, 3.0], Y):
        g_x, g_y = pull(cotangent)
        np.testing.assert_allclose(g_x, cotangent * Y)
        np.testing.assert_allclose(g_y, cotangent * X)


def test_what_was_handed_out_may_be_written():
    w = tg.Parameter(X, trainable=False)
    value, pull = tg.vjp(lambda x: (tg.exp(x), x.T, w), X)
    for part in value:
        part[:] = 0
    np.testing.assert_allclose(pull((np.ones(3), np.zeros(3), np.zeros(3)))[0], np.exp(X))
    np.testing.assert_array_equal(w, X)
    g_x, g_y = tg.grad(lambda x, y: (x + y).sum(), argnums=(0, 1))(X, Y)
    g_x[:] = 0
    np.testing.assert_array_equal(g_y, np.ones(3))


def test_jvp_pushes_forward():
    value, pushed = tg.jvp(lambda x, y: x * x * y, (X, Y), (Y, X))
    np.testing.assert_allclose(value, X * X * Y)
    np.testing.assert_allclose(pushed, 2 * X * Y * Y + X**3)
    for linear in (lambda x: x, lambda x: 2 * x, lambda x: x.reshape(3, 1)):
        np.testing.assert_allclose(tg.jvp(linear, (X,), (Y,))[1], linear(Y))


def test_the_numbers_of_tangents_and_cotangents_keep_their_digits():
    _, pull = tg.vjp(lambda x: 1 * x, X)
    _, pushed = tg.jvp(lambda x: 1 * x, (X,), ([0.1, 0.1, 0.1],))
    (product,) = tg.hvp(lambda x: (x * x / 2).sum(), (X,), ([0.1, 0.1, 0.1],))
    for found in (*pull([0.1, 0.1, 0.1]), pushed, product):
        np.testing.assert_array_equal(found, np.full(3, 0.1))


def test_jacobian_has_the_shape_of_result_and_argument():
    matrix = np.arange(6.0).reshape(2, 3)
    np.testing.assert_allclose(tg.jacobian(lambda x: matrix @ x)(X), matrix)
    assert tg.jacobian(lambda w: w @ X)(matrix).shape == (2, 2, 3)
    np.testing.assert_allclose(tg.jacobian(cubes)(X), 3 * X**2)
    g_x, g_y = tg.jacobian(lambda x, y: x * y, argnums=(0, 1))(X, Y)
    np.testing.assert_allclose(g_x, np.diag(Y))
    np.testing.assert_allclose(g_y, np.diag(X))


def test_hessian_and_its_products():
    np.testing.assert_allclose(tg.hessian(cubes)(X), np.diag(6 * X))
    matrix = np.arange(9.0).reshape(3, 3)
    np.testing.assert_allclose(tg.hessian(lambda x: x @ matrix @ x)(X), matrix + matrix.T)
    (product,) = tg.hvp(cubes, (X,), (Y,))
    np.testing.assert_allclose(product, 6 * X * Y)
    p_x, p_y = tg.hvp(cubes, (X, Y), (X, np.zeros(3)))
    np.testing.assert_allclose(p_x, 6 * X * Y * X)
    np.testing.assert_allclose(p_y, 3 * X**2 * X)


def test_empty_arrays_have_empty_derivatives():
    assert tg.grad(lambda x: x.sum())(np.zeros(0)).shape == (0,)
    assert tg.jacobian(lambda x: x * x)(np.zeros(0)).shape == (0, 0)
    assert tg.jacobian(lambda x: x[:0])(X).shape == (0, 3)


@pytest.mark.parametrize("constant", [lambda x: 3.0, lambda x: 3, lambda x: np.float64(3), lambda x: tg.tensor(3.0)])
def test_what_does_not_depend_on_the_argument_has_derivative_zero(constant):
    zero = np.zeros(3)
    np.testing.assert_array_equal(tg.grad(constant)(X), zero)
    np.testing.assert_array_equal(tg.jacobian(constant)(X), zero)
    np.testing.assert_array_equal(tg.hessian(constant)(X), np.zeros((3, 3)))
    np.testing.assert_array_equal(tg.hvp(constant, (X,), (Y,))[0], zero)
    value, pull = tg.vjp(constant, X)
    np.testing.assert_array_equal(pull(1.0)[0], zero)
    assert (value, *tg.jvp(constant, (X,), (Y,))) == (3, 3, 0)
    g_x, g_y = tg.grad(cubes, argnums=(0, 1))(X, np.ones((2, 3)))
    assert (g_x.shape, g_y.shape) == ((3,), (2, 3))
    np.testing.assert_array_equal(tg.grad(lambda x, y: y.sum())(X, tg.tensor(Y)), zero)


# What comes back is what was given


def test_arrays_for_arrays_and_tensors_for_tensors():
    for kind, given in ((np.ndarray, X), (tg.Tensor, tg.tensor(X))):
        value, g = tg.value_and_grad(cubes)(given)
        assert isinstance(value, kind) and isinstance(g, kind)
        for result in (
            tg.vjp(tg.exp, given)[0],
            tg.vjp(tg.exp, given)[1](X)[0],
            *tg.jvp(tg.exp, (given,), (X,)),
            tg.jacobian(tg.exp)(given),
            tg.hessian(cubes)(given),
            tg.hvp(cubes, (given,), (X,))[0],
        ):
            assert isinstance(result, kind)
            assert not getattr(result, "requires_grad", False)


def test_the_function_sees_tensors():
    def f(x):
        assert isinstance(x, tg.Tensor) and x.requires_grad and x.source is None
        return (x * x).sum()

    for given in (X, tg.tensor(X), X.tolist()[:1]):
        tg.grad(lambda x: f(x[0]) if isinstance(x, list) else f(x))(given)


def test_python_floats_are_float32_and_dtypes_are_kept():
    assert tg.grad(lambda x: x * x)(3.0).dtype == np.float32
    for dtype in (np.float16, np.float32, np.float64):
        assert tg.grad(cubes)(X.astype(dtype)).dtype == dtype
        assert tg.hessian(cubes)(X.astype(dtype)).dtype == dtype


def test_arguments_are_neither_changed_nor_shared():
    given = tg.tensor(X)
    tg.grad(cubes)(given)
    assert given.grad is None and not given.requires_grad
    array = X.copy()
    for result in (tg.grad(lambda x: x.sum())(array), tg.vjp(lambda x: x, array)[0]):
        assert not np.shares_memory(result, array)
    np.testing.assert_array_equal(array, X)


def test_lists_tuples_and_dicts_come_back_as_such():
    pair = namedtuple("pair", ["x", "y"])
    for given, result in (
        ([X, Y], lambda t: t[0] * t[1]),
        ((X, Y), lambda t: t[0] * t[1]),
        (pair(X, Y), lambda t: t.x * t.y),
        ({"x": X, "y": Y}, lambda t: t["x"] * t["y"]),
    ):
        g = tg.grad(lambda t, result=result: result(t).sum())(given)
        assert type(g) is type(given)
        found = list(g.values()) if isinstance(g, dict) else list(g)
        np.testing.assert_array_equal(found, [Y, X])
        jacobian = tg.jacobian(result)(given)
        assert type(jacobian) is type(given)


class Weights(dict):
    __getattr__ = dict.__getitem__


def test_nests_of_any_depth_and_class_come_back_as_such():
    def loss(layers):
        return sum((layer.kernel * layer.bias[0]).sum() for layer in layers)

    layers = [Weights(kernel=X, bias=(Y,)), Weights(kernel=Y, bias=(X,))]
    value, g = tg.value_and_grad(loss)(layers)
    assert value == 2 * (X * Y).sum()
    assert [type(part) for part in g] == [Weights, Weights] and type(g[0].bias) is tuple
    np.testing.assert_array_equal([g[0].kernel, g[0].bias[0], g[1].kernel, g[1].bias[0]], [Y, X, X, Y])
    _, along = tg.jvp(loss, (layers,), (g,))
    np.testing.assert_allclose(along, 2 * (X * X + Y * Y).sum())
    (product,) = tg.hvp(loss, (layers,), (g,))
    np.testing.assert_allclose(product[0].kernel, X)
    assert tg.jacobian(lambda t: [loss(t), {"double": 2 * t[0].kernel}])(layers)[1]["double"][0].kernel.shape == (3, 3)
    with pytest.raises(tg.errors.ShapeError, match="a dict with the keys kernel, bias"):
        tg.jvp(loss, (layers,), ([{"kernel": X}, g[1]],))


def test_a_function_may_write_into_its_nest():
    def loss(given):
        given["x"] = given.pop("x") * given["y"]
        return given["x"].sum()

    given = {"x": X, "y": Y}
    g = tg.grad(loss)(given)
    np.testing.assert_array_equal([g["x"], g["y"]], [Y, X])
    assert given["x"] is X


def test_results_may_be_lists_and_dicts_too():
    def both(x):
        return {"double": 2 * x, "sum": x.sum()}

    value, pull = tg.vjp(both, X)
    assert list(value) == ["double", "sum"]
    np.testing.assert_array_equal(pull({"sum": np.array(1.0), "double": Y})[0], 2 * Y + 1)
    value, pushed = tg.jvp(lambda x: list(both(x).values()), (X,), (Y,))
    np.testing.assert_array_equal(pushed[0], 2 * Y)
    np.testing.assert_array_equal(pushed[1], Y.sum())
    jacobian = tg.jacobian(both)(X)
    np.testing.assert_array_equal(jacobian["double"], 2 * np.eye(3))
    np.testing.assert_array_equal(jacobian["sum"], np.ones(3))


def test_tangents_are_matched_by_name():
    _, pushed = tg.jvp(lambda t: t["x"] * t["y"], ({"x": X, "y": Y},), ({"y": np.zeros(3), "x": np.ones(3)},))
    np.testing.assert_array_equal(pushed, Y)


def test_whatever_is_a_mapping_is_one_to_every_transform():
    def f(t):
        return (t["x"] * t["y"] ** 2).sum()

    given = MappingProxyType({"x": X, "y": Y})
    expected = Y**2, 2 * X * Y
    for g in (tg.grad(f)(given), tg.vjp(f, given)[1](1.0)[0]):
        np.testing.assert_array_equal([g["x"], g["y"]], expected)
    _, pushed = tg.jvp(f, (given,), (given,))
    np.testing.assert_allclose(pushed, (expected[0] * X + expected[1] * Y).sum())
    (product,) = tg.hvp(f, (given,), (given,))
    np.testing.assert_allclose([product["x"], product["y"]], [2 * Y * Y, 4 * X * Y])
    _, pull = tg.vjp(lambda t: MappingProxyType({"a": t["x"]}), {"x": X})
    np.testing.assert_array_equal(pull(MappingProxyType({"a": Y}))[0]["x"], Y)


def test_the_hessian_of_a_dict_is_a_dict_of_dicts():
    hessian = tg.hessian(lambda t: (t["x"] ** 2 * t["y"]).sum())({"x": X, "y": Y})
    np.testing.assert_allclose(hessian["x"]["x"], np.diag(2 * Y))
    np.testing.assert_allclose(hessian["x"]["y"], np.diag(2 * X))
    np.testing.assert_allclose(hessian["y"]["x"], np.diag(2 * X))
    np.testing.assert_array_equal(hessian["y"]["y"], np.zeros((3, 3)))


def test_other_arguments_and_keywords_go_through():
    def scaled(x, how, *, power=1):
        assert how == "sum"
        return (x**power).sum()

    np.testing.assert_allclose(tg.grad(scaled)(X, "sum", power=2), 2 * X)
    np.testing.assert_allclose(tg.hessian(scaled)(X, "sum", power=2), 2 * np.eye(3))


def test_any_callable_will_do():
    class Square:
        def __call__(self, x):
            return x * x

    for f, derivative in ((tg.sin, np.cos), (np.sin, np.cos), (Square(), lambda x: 2 * x), (partial(pow, exp=3), None)):
        np.testing.assert_allclose(tg.grad(f)(np.array(0.5)), derivative(0.5) if derivative else 3 * 0.5**2)
    assert tg.grad(cubes).__name__ == "cubes"
