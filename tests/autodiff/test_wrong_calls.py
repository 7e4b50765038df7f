"""Wrong calls of the transforms: each says what it expected, and leaves the mode as it was."""

import contextlib
import math

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn.errors import DtypeError, SettingError, ShapeError
from tinygrad_bn.mode import current

X, Y = np.array([1.0, 2.0, 3.0]), np.array([-1.0, 0.5, 2.0])


def cubes(x, y=1.0):
    return (x**3 * y).sum()


TENSOR = tg.tensor(X)


@pytest.mark.parametrize("transform", [tg.grad, tg.value_and_grad, tg.jacobian, tg.hessian, tg.vjp, tg.jvp, tg.hvp])
def test_tensors_instead_of_a_function_are_referred_to_gradients(transform):
    with pytest.raises(TypeError, match=r"expects a function; got Tensor\. .*tg\.gradients"):
        transform(TENSOR, *((X,), (X,)) if transform in (tg.jvp, tg.hvp) else [TENSOR])


@pytest.mark.parametrize(
    "transform", [tg.grad, tg.value_and_grad, tg.hessian, lambda f: lambda x: tg.hvp(f, (x,), (x,))]
)
@pytest.mark.parametrize(
    ("f", "error", "message"),
    [
        (tg.exp, ShapeError, r"scalar result; got shape \(3,\)"),
        (lambda x: (x.sum(), x), ShapeError, "scalar result; got a tuple"),
        (lambda x: tg.argmax(x), DtypeError, "floating result; got int64"),
        (lambda x: (x > 0).all(), DtypeError, "floating result; got bool"),
        (lambda x: None, DtypeError, "real numbers; got None"),
    ],
)
def test_results_that_are_not_one_floating_number_are_refused(transform, f, error, message):
    with pytest.raises(error, match=message):
        transform(f)(X)


def written(write):
    array = np.zeros(3)
    write(array)
    return tg.sum(tg.square(array))


@pytest.mark.parametrize(
    "f",
    [
        lambda x: math.sin(x[0]),
        lambda x: float(x[0]) ** 2,
        lambda x: tg.sum(np.array([x[0], x[1]])),
        lambda x: np.asarray(x) @ np.asarray(x),
        lambda x: tg.tensor(x.tolist()).sum(),
        lambda x: tg.grad(lambda z: z * z)(x[0].item()),
        lambda x: tg.grad(lambda z: z * float(x[0]))(1.0),
        lambda x: written(lambda a: np.copyto(a, x)),
        lambda x: written(lambda a: np.putmask(a, a == 0, x)),
        lambda x: written(lambda a: np.place(a, a == 0, x)),
        lambda x: written(lambda a: np.put_along_axis(a, np.arange(3), x, 0)),
        lambda x: tg.sum(np.frompyfunc(float, 1, 1)(x).astype(float)),
        lambda x: tg.square(np.frompyfunc(float, 1, 1)(x[0])),
    ],
)
def test_a_function_that_leaves_the_graph_is_refused_instead_of_constant(f):
    for transform in (tg.grad, tg.value_and_grad, tg.jacobian, tg.hessian):
        with pytest.raises(TypeError, match=r"left the graph for plain numbers, by (\.(item|numpy|tolist)\(\)|np\.)"):
            transform(f)(X)


@pytest.mark.parametrize(
    "f", [lambda x: 0.0 if x[0] > 0 else x.sum(), lambda x: x.detach().sum(), lambda x: float(x.detach()[0]), len]
)
def test_a_function_that_is_constant_has_derivative_zero(f):
    np.testing.assert_array_equal(tg.grad(f)(X), 0)


def test_a_number_on_the_way_is_a_constant():
    np.testing.assert_array_equal(tg.grad(lambda x: x.sum() * x[1].item())(X), 2)


def test_a_result_of_integers_cannot_be_pushed_forward():
    with pytest.raises(DtypeError, match="jvp expects a function with a floating result; got int64"):
        tg.jvp(lambda x: tg.argmax(x), (X,), (X,))


@pytest.mark.parametrize("argument", [2, np.arange(3), np.array([True]), tg.tensor([1])])
def test_integers_are_no_place_for_a_derivative(argument):
    with pytest.raises(DtypeError, match="floating arguments"):
        tg.grad(lambda x: (x * 1.0).sum())(argument)


@pytest.mark.parametrize(
    ("argnums", "error", "message"),
    [
        (2, SettingError, "among 2 arguments; got 2"),
        (-3, SettingError, "among 2"),
        ((0, 0), SettingError, "once"),
        ((0, -2), SettingError, "once"),
        ("x", TypeError, "an int or a tuple"),
        (0.0, TypeError, "an int or a tuple"),
        (None, TypeError, "an int or a tuple"),
    ],
    ids=repr,
)
def test_argnums_that_name_no_argument_are_refused(argnums, error, message):
    for transform in (tg.grad, tg.value_and_grad, tg.jacobian, tg.hessian):
        with pytest.raises(error, match=message):
            transform(cubes, argnums)(X, Y)


def test_cotangents_of_another_form_are_refused():
    _, pull = tg.vjp(lambda x: (2 * x, x.sum()), X)
    for wrong in ((X,), X, {"a": X}, (X, X), (np.ones(2), 1.0)):
        with pytest.raises(ShapeError, match="cotangent"):
            pull(wrong)
    _, pull = tg.vjp(lambda x: {"a": x}, X)
    for wrong in ({"b": X}, {"a": X, "b": X}, X):
        with pytest.raises(ShapeError, match="cotangent"):
            pull(wrong)
    _, pull = tg.vjp(tg.exp, X)
    for wrong in (1.0, np.ones(2), np.ones((3, 1))):
        with pytest.raises(ShapeError, match=r"cotangent .*\(3,\)"):
            pull(wrong)


@pytest.mark.parametrize("transform", [tg.jvp, tg.hvp])
def test_tangents_of_another_form_are_refused(transform):
    for tangents in ((), (X, X), (np.ones(2),), (1.0,)):
        with pytest.raises(ShapeError, match="tangent"):
            transform(cubes, (X,), tangents)
    for primals, tangents in ((X, (X,)), ((X,), X)):
        with pytest.raises(TypeError, match="expects a tuple of"):
            transform(cubes, primals, tangents)
    with pytest.raises(TypeError, match="tangent expects real numbers"):
        transform(cubes, (X,), ("a",))


@pytest.mark.parametrize("outside", [True, False])
def test_an_exception_inside_leaves_the_mode_as_it_was(outside):
    def fails(x):
        with tg.no_grad():
            raise ZeroDivisionError

    with contextlib.nullcontext() if outside else tg.no_grad():
        before = current()
        for transform in (tg.grad(fails), tg.hessian(fails), lambda x: tg.vjp(fails, x), tg.jacobian(tg.grad(fails))):
            with pytest.raises(ZeroDivisionError):
                transform(X)
            assert current() is before
