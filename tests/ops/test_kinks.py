"""At kinks, ties, bounds and poles the derivatives are those of the published table, in kinks.py."""

from math import inf
from pathlib import Path

import numpy as np
import pytest

import tinygrad_bn as tg
from tests.ops.kinks import BRANCHES, KINKS, RULES, table
from tinygrad_bn import ops

SEMANTICS = Path(__file__).parents[2] / "docs" / "semantics.md"


def value(expression, point):
    return eval(expression, {**vars(ops), "inf": inf}, dict(point))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kink", KINKS, ids=str)
def test_the_derivative_is_that_of_the_table(kink, dtype):
    point = {name: tg.tensor(np.array(at, dtype), requires_grad=True) for name, at in kink.at.items()}
    with np.errstate(divide="ignore", invalid="ignore"):  # inf and nan are what the table says
        result = tg.sum(value(kink.expression, point))
        on_arrays = tg.gradients(result, list(point.values()))
        on_tensors = tg.gradients(result, list(point.values()), create_graph=True)
    for name, first, second in zip(point, on_arrays, on_tensors, strict=True):
        np.testing.assert_array_equal(first.numpy(), np.array(kink.derivative[name], dtype))
        np.testing.assert_array_equal(second.numpy(), first.numpy())


def second_derivatives(expression, point):
    """By each pair of names, the derivative of the derivative of the sum."""
    point = {name: tg.tensor(np.asarray(at), requires_grad=True) for name, at in point.items()}
    wanted = list(point.values())
    found = []
    for first in tg.gradients(tg.sum(value(expression, point)), wanted, create_graph=True):
        seconds = tg.gradients(tg.sum(first), wanted, allow_unused=True) if first.requires_grad else [None]
        found += [0.0 if second is None else float(second) for second in seconds]
    return found


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kink", RULES[BRANCHES], ids=str)
def test_the_second_derivatives_at_a_kink_are_those_of_the_branch_below(kink, dtype):
    at = {name: dtype(number) for name, number in kink.at.items()}
    below = {**at, "x": np.nextafter(at["x"], dtype(-inf))}
    np.testing.assert_allclose(second_derivatives(kink.expression, at), second_derivatives(kink.expression, below))


def test_the_second_derivatives_of_a_power_are_0_where_their_limit_would_be_no_number():
    np.testing.assert_array_equal(second_derivatives("power(x, y)", {"x": 0.0, "y": 0.0}), [0, 0, 0, 0])
    np.testing.assert_array_equal(second_derivatives("power(x, x)", {"x": 0.0}), [0])
    assert tg.grad(tg.power)(np.array(1e-42, np.float32), np.array(0, np.float32)) == 0
    for x in (np.float32(1e-42), np.float32(0), 0.0):
        for expression in ("power(x, 0)", "power(x, 1)", "power(x, 1.0)"):
            np.testing.assert_array_equal(second_derivatives(expression, {"x": x}), [0])


def test_the_second_derivatives_of_distances_at_0_are_those_at_a_distance_of_1():
    np.testing.assert_array_equal(tg.hessian(tg.norm)(np.zeros(3)), np.eye(3))
    np.testing.assert_array_equal(tg.hessian(tg.std)(np.full(2, 2.0)), [[0.25, -0.25], [-0.25, 0.25]])


def test_a_product_with_two_zeros_is_right_to_the_second_order():
    x = np.array([0.0, 0.0, 3.0])
    np.testing.assert_array_equal(tg.hessian(tg.prod)(x), [[0, 3, 0], [3, 0, 0], [0, 0, 0]])


def test_a_product_with_three_zeros_is_right_to_the_third_order():
    x = np.array([0.0, 0.0, 0.0])
    third = tg.jacobian(tg.hessian(tg.prod))(x)
    expected = np.zeros((3, 3, 3))
    for i, j, k in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)):
        expected[i, j, k] = 1
    np.testing.assert_array_equal(third, expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint64, np.int8, np.bool])
def test_an_integer_exponent_of_0_gives_a_large_base_derivative_0(dtype):
    slope = tg.grad(lambda x: tg.sum(x ** np.array([0, 1], dtype)))(np.array([1e100, 3.0]))
    np.testing.assert_array_equal(slope, [0, 1])


def test_the_mixed_derivative_of_a_power_is_right_where_the_exponent_is_0():
    mixed = tg.grad(lambda y: tg.grad(tg.power)(tg.tensor(np.array(2.0)), y))(np.array(0.0))
    np.testing.assert_allclose(mixed, 1 / 2, rtol=1e-15)


@pytest.mark.parametrize("factor", [0.1, 0.3, 1e-20, 1e20, 7.0])
@pytest.mark.parametrize("n", [3, 7, 32, 1000])
def test_every_constant_has_standard_deviation_0_with_derivative_0(factor, n):
    for dtype in (np.float32, np.float64):
        x = np.full((n, 2), factor, dtype)
        spread, slope = tg.value_and_grad(lambda x: tg.sum(tg.std(x, axis=0)))(x)
        assert spread == 0
        np.testing.assert_array_equal(slope, np.zeros_like(x))


def test_the_documentation_prints_this_table():
    assert table() in SEMANTICS.read_text("utf-8")
