"""Derivatives of derivatives, through closures, parameters, `no_grad` and batch normalization."""

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn.errors import GradientError
from tinygrad_bn.mode import current, frozen_state
from tinygrad_bn.primitives import Function, Primitive

X = np.array([0.5, -1.0, 2.0])


def slope(f, x, h=1e-5):
    """The derivatives of a function of an array, by central differences."""
    x = np.asarray(x, float)
    steps = h * np.eye(x.size).reshape(x.size, *x.shape)
    rows = [(np.asarray(f(x + step)) - np.asarray(f(x - step))) / (2 * h) for step in steps]
    return np.moveaxis(np.array(rows), 0, -1).reshape(np.shape(rows[0]) + x.shape)


def test_perturbations_are_not_confused():
    assert tg.grad(lambda x: tg.grad(lambda y: x * y)(2.0))(3.0) == 1
    assert tg.grad(lambda x: x * tg.grad(lambda y: x + y)(1.0))(2.0) == 1
    assert tg.grad(lambda x: x * tg.grad(lambda y: x * y)(2.0))(3.0) == 6
    assert tg.grad(lambda x: tg.grad(lambda x: x * x)(x) * x)(3.0) == 12
    assert tg.jvp(lambda x: x * tg.jvp(lambda y: x + y, (1.0,), (1.0,))[1], (2.0,), (1.0,))[1] == 1


def test_transforms_nest_to_any_order():
    f, value = tg.sin, np.array(0.7)
    for derivative in (np.sin, np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x), np.sin, np.cos):
        np.testing.assert_allclose(f(value), derivative(value), rtol=1e-14)
        f = tg.grad(f)


@pytest.mark.parametrize("inner", ["grad", "jvp", "vjp", "jacobian", "hvp"])
@pytest.mark.parametrize("outer", ["grad", "jvp", "vjp", "jacobian"])
def test_every_transform_goes_through_every_other(inner, outer):
    def square_sum(x, y):
        return (x * x * tg.sin(y)).sum()

    inside = {
        "grad": lambda f, y: tg.grad(f)(y).sum(),
        "jvp": lambda f, y: tg.jvp(f, (y,), (np.ones(3),))[1],
        "vjp": lambda f, y: tg.vjp(f, y)[1](1.0)[0].sum(),
        "jacobian": lambda f, y: tg.jacobian(f)(y).sum(),
        "hvp": lambda f, y: tg.hvp(f, (y,), (np.ones(3),))[0].sum(),
    }[inner]
    outside = {
        "grad": lambda f: tg.grad(f)(X),
        "jvp": lambda f: np.array([tg.jvp(f, (X,), (e,))[1] for e in np.eye(3)]),
        "vjp": lambda f: tg.vjp(f, X)[1](1.0)[0],
        "jacobian": lambda f: tg.jacobian(f)(X),
    }[outer]
    y = np.array([0.3, 0.7, 1.1])
    found = outside(lambda x: inside(lambda y: square_sum(x, y), y))
    right = 2 * X * (-np.sin(y) if inner == "hvp" else np.cos(y))
    assert isinstance(found, np.ndarray)
    np.testing.assert_allclose(found, right, rtol=1e-12)


def test_a_closure_over_a_parameter_gives_tensors_that_reach_it():
    w = tg.Parameter(X)
    g = tg.grad(lambda x: (x * x * w).sum())(np.ones(3))
    assert isinstance(g, tg.Tensor)
    (g * g).sum().backward()
    np.testing.assert_allclose(w.grad, 8 * X)
    for result in (
        tg.value_and_grad(lambda x: (x * w).sum())(np.ones(3))[0],
        tg.jvp(lambda x: x * w, (np.ones(3),), (np.ones(3),))[1],
        tg.vjp(lambda x: x * w, np.ones(3))[1](np.ones(3))[0],
        tg.jacobian(lambda x: x * w)(np.ones(3)),
        tg.hessian(lambda x: (x * x * w).sum() / 2)(np.ones(3)),
        tg.hvp(lambda x: (x * x * w).sum() / 2, (np.ones(3),), (np.ones(3),))[0],
    ):
        assert isinstance(result, tg.Tensor) and result.requires_grad
        np.testing.assert_allclose(tg.gradients(result.sum(), w), np.ones(3))


def test_a_frozen_parameter_or_one_under_no_grad_gives_arrays():
    w = tg.Parameter(X)
    frozen = tg.Parameter(X, trainable=False)
    assert isinstance(tg.grad(lambda x: (x * frozen).sum())(X), np.ndarray)
    with tg.no_grad():
        g = tg.grad(lambda x: (x * x * w).sum())(X)
        t = tg.grad(lambda x: (x * x * w).sum())(tg.tensor(X))
    assert isinstance(g, np.ndarray) and isinstance(t, tg.Tensor) and not t.requires_grad
    np.testing.assert_allclose(g, 2 * X * X)


def test_a_tensor_that_is_being_differentiated_can_be_the_argument():
    x = tg.tensor(X, requires_grad=True)
    g = tg.grad(lambda x: (x**3).sum())(x)
    g.sum().backward()
    np.testing.assert_allclose(x.grad, 6 * X)
    values = tg.grad(lambda pair: (pair[0] * pair[1]).sum())([X, x])
    assert all(isinstance(value, tg.Tensor) for value in values)


def test_no_grad_inside_holds_and_outside_does_not_reach_in():
    def f(x):
        assert current().gradients
        with tg.no_grad():
            constant = x * x
        return (x * constant).sum()

    with tg.no_grad():
        np.testing.assert_allclose(tg.grad(f)(X), X * X)
        np.testing.assert_allclose(tg.hessian(lambda x: (x**3).sum())(X), np.diag(6 * X))
        assert not current().gradients


def test_frozen_state_does_not_disturb_derivatives():
    with frozen_state():
        np.testing.assert_allclose(tg.grad(lambda x: (x**3).sum())(X), 3 * X * X)


@pytest.mark.parametrize("epsilon", [1e-3, 0.5])
def test_a_gradient_penalty_through_batch_normalization_to_the_third_order(epsilon):
    rng = np.random.default_rng(0)
    x, v = rng.standard_normal((2, 4, 3))
    w = rng.standard_normal((3, 2))

    def loss(x, w):
        return (tg.tanh(tg.standardize(x, axis=0, epsilon=epsilon) @ w) * v[:, :2]).sum()

    def penalty(x, w):
        return (tg.grad(loss)(x, w) ** 2).sum()

    for argnum, (start, weights) in enumerate(((x, v), (w, v[:3, :2]))):

        def at(f, value, argnum=argnum):
            return f(x, value) if argnum else f(value, w)

        first = tg.grad(penalty, argnum)
        along = tg.grad(lambda x, w, first=first, weights=weights: (first(x, w) * weights).sum(), argnum)
        for f, derivative, tolerance in (
            (penalty, first, 1e-6),
            (lambda x, w, first=first, weights=weights: (first(x, w) * weights).sum(), along, 1e-5),
        ):
            found = at(derivative, start)
            assert isinstance(found, np.ndarray)
            np.testing.assert_allclose(found, slope(lambda value, f=f: at(f, value), start), tolerance, tolerance)


def test_hessians_are_symmetric_and_agree_with_their_products():
    rng = np.random.default_rng(1)
    x, v = rng.standard_normal((2, 2, 3))

    def f(x):
        return (tg.softmax(x) * tg.elu(x[::-1])).sum()

    hessian = tg.hessian(f)(x).reshape(6, 6)
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-14)
    (product,) = tg.hvp(f, (x,), (v,))
    np.testing.assert_allclose(product.reshape(6), hessian @ v.reshape(6), rtol=1e-12)
    np.testing.assert_allclose(hessian, slope(tg.grad(f), x).reshape(6, 6), atol=1e-8)


def test_jvp_is_the_transpose_of_vjp():
    rng = np.random.default_rng(2)
    x, tangent = rng.standard_normal((2, 3))
    cotangent = rng.standard_normal((3, 3))

    def f(x):
        return tg.tanh(x[:, None] * x + 1)

    _, pushed = tg.jvp(f, (x,), (tangent,))
    (pulled,) = tg.vjp(f, x)[1](cotangent)
    np.testing.assert_allclose((pushed * cotangent).sum(), (pulled * tangent).sum(), rtol=1e-12)


def test_per_sample_gradients_are_rows_of_a_jacobian():
    rng = np.random.default_rng(3)
    inputs, w = rng.standard_normal((5, 3)), rng.standard_normal(3)
    rows = tg.jacobian(lambda w: tg.square(inputs @ w))(w)
    singles = [tg.grad(lambda w, x=x: tg.square(x @ w))(w) for x in inputs]
    np.testing.assert_allclose(rows, singles)


def test_a_second_derivative_goes_through_a_constant_matrix():
    x = np.random.default_rng(0).standard_normal((6, 3))
    h = tg.hessian(lambda w: tg.square(x @ w).sum())(np.ones((3, 1)))
    np.testing.assert_allclose(h.reshape(3, 3), 2 * x.T @ x)


def test_a_rule_that_takes_values_out_of_tensors_is_refused():
    hidden = Primitive(lambda x: x * x * x, name="hidden")
    Function.registry.remove(hidden)
    hidden.defvjp(lambda g, y, x: np.asarray(g) * np.asarray(3 * x * x))
    with pytest.raises(GradientError, match="a rule of hidden takes the values out of Tensors"):
        tg.grad(tg.grad(hidden))(np.array(2.0))
