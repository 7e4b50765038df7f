"""At kinks, ties, bounds and poles the derivatives are those of the published table, in kinks.py."""

from math import inf
from pathlib import Path

import numpy as np
import pytest

import tinygrad_bn as tg
from tests.ops.kinks import KINKS, table
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
