"""However steps are fused, kept or computed again, the numbers are those of NumPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_bn as tg
from tests.capturing.native.flows import apart, flow_of
from tests.capturing.native.test_program import pytestmark  # noqa: F401
from tinygrad_bn.capturing.native import program as program_file
from tinygrad_bn.capturing.native.building import FLAGS, compiled
from tinygrad_bn.capturing.native.fusing import Plan
from tinygrad_bn.capturing.native.groups import Nest
from tinygrad_bn.capturing.native.program import NativeProgram
from tinygrad_bn.variables import State

UNARY = (tg.exp, tg.square, tg.tanh, tg.abs, lambda x: -x, lambda x: 1 / (2 + abs(x)), lambda x: (x > 0) * x)
BINARY = (tg.add, tg.subtract, tg.multiply, tg.maximum, tg.minimum)
REDUCTIONS = (tg.sum, tg.max, tg.min, tg.mean)
VIEWS = (
    lambda x: x.T,
    lambda x: x[::-1],
    lambda x: x.reshape((-1,)),
    lambda x: x.reshape((*x.shape, 1)),
    lambda x: tg.broadcast_to(x, shape=(2, *x.shape)),
)
SHAPES = ((), (3,), (5, 3), (5, 1), (1, 3), (2, 5, 3), (18,), (2, 1, 17))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Many small programs: it takes longer to compile them than to run them."""
    monkeypatch.setattr(program_file, "compiled", lambda source: compiled(source, flags=("-O1", *FLAGS[1:])))


@st.composite
def functions(draw):
    """A function of two arrays that updates a variable, and the arrays, as a list of random steps."""
    shapes = [draw(st.sampled_from(SHAPES)) for _ in range(2)]
    kinds = st.sampled_from("ubbrv")
    choices = [
        (draw(kinds), draw(st.integers(0, 11)), draw(st.integers(0, 99)), draw(st.integers(0, 99)), draw(st.booleans()))
        for _ in range(draw(st.integers(1, 14)))
    ]
    results = draw(st.lists(st.integers(0, 99), min_size=1, max_size=3))

    def function(x, y, total):
        values = [x, y, total * 0.5]
        for kind, which, first, second, flag in choices:
            a, b = values[first % len(values)], values[second % len(values)]
            if kind == "u":
                values.append(tg.tanh(UNARY[which % len(UNARY)](a)))
            elif kind == "b" and _fit(a.shape, b.shape):
                values.append(BINARY[which % len(BINARY)](a, b))
            elif kind == "r" and a.ndim:
                axis = which % (a.ndim + 1)
                values.append(REDUCTIONS[which % 4](a, axis=None if axis == a.ndim else axis, keepdims=flag))
            elif kind == "v" and 0 < a.ndim < 4:
                values.append(VIEWS[which % len(VIEWS)](a))
        chosen = [values[number % len(values)] for number in results]
        return chosen, total + tg.mean(values[-1]) - tg.mean(tg.square(values[-1]) * 0.25)

    return function, shapes


def _fit(*shapes):
    try:
        return len(np.broadcast_shapes(*shapes)) < 5
    except ValueError:
        return False


@given(functions(), st.sampled_from([np.float32, np.float64]))
@settings(max_examples=60)
def test_a_random_function_gives_the_numbers_of_numpy(drawn, dtype):
    function, shapes = drawn
    rng = np.random.default_rng(0)
    arrays = [rng.uniform(-1, 1, shape).astype(dtype) for shape in shapes]
    expected_total, total = np.full(3, 0.5, dtype), State(np.full(3, 0.5, dtype))

    def step(x, y):
        results, new = function(x, y, total)
        total.assign(new)
        return tuple(tg.copy(result) for result in results)

    program = NativeProgram(flow_of(step, *arrays))
    total.assign(expected_total)
    for _ in range(2):
        expected, new = function(*map(tg.Tensor, arrays), tg.Tensor(expected_total))
        for found, result in zip(program.run(arrays), expected, strict=True):
            assert _close(found, result.value)
        expected_total = new.value
        assert _close(total.value, expected_total)


def _close(actual, expected):
    largest = max(1, float(np.abs(expected).max(initial=0)))
    return np.allclose(actual, expected, rtol=0, atol=64 * np.finfo(expected.dtype).eps * largest)


def planned(function, *arrays):
    return Plan(flow_of(function, *arrays))


def test_an_elementwise_chain_is_one_loop_and_nothing_on_the_way_is_kept():
    plan = planned(lambda x, y: tg.exp(tg.tanh(x * 2) + y) / 3, np.ones((4, 5)), np.ones(5))
    (nest,) = plan.groups
    assert isinstance(nest, Nest)
    assert nest.shape == (4, 5)
    assert len(plan.kept) == 1


def test_a_sum_is_gathered_while_its_terms_are_computed():
    plan = planned(lambda x: tg.sum(tg.exp(x)), np.ones((4, 5)))
    (nest,) = plan.groups
    assert len(nest.reductions) == 1
    assert len(plan.kept) == 1


def test_what_is_cheap_is_computed_again_and_what_is_dear_is_kept():
    cheap = planned(lambda x: 2 * x - tg.mean(2 * x), np.ones((40, 5)))
    dear = planned(lambda x: tg.exp(x) - tg.mean(tg.exp(x)), np.ones((40, 5)))
    assert len(dear.kept) == len(cheap.kept) + 1


def test_a_product_goes_straight_into_the_velocity_where_nobody_else_wants_it():
    velocity, rate = State(np.zeros((80, 70), np.float32)), np.float32(0.1)

    def step(x, g, momentum, rate):
        gradient = tg.matmul(x.T, g)
        velocity.assign(momentum * velocity - rate * gradient)
        return tg.sum(x)

    def seen(x, g, momentum, rate):
        velocity.assign(momentum * velocity - rate * (gradient := tg.matmul(x.T, g)))
        return gradient

    rng = np.random.default_rng(0)
    arrays = rng.standard_normal((9, 80)).astype("f"), rng.standard_normal((9, 70)).astype("f")
    numbers = np.array(0.9, "f"), np.array(rate)
    assert planned(step, *arrays, *numbers)._accumulations
    assert not planned(seen, *arrays, *numbers)._accumulations
    program = NativeProgram(flow_of(step, *arrays, *numbers))
    before = velocity.value.copy()
    program.run([*arrays, *numbers])
    assert apart(velocity.value, np.float32(0.9) * before - rate * arrays[0].T @ arrays[1]) <= 4


def test_a_chain_of_a_thousand_steps_is_cut_into_loops_that_a_compiler_can_take():
    def function(x):
        for _ in range(1000):
            x = x + 1
            x = x * 0.5
        return x

    plan = planned(function, np.ones(7))
    assert max(len(nest.values) for nest in plan.groups) <= 128
    assert len(plan.groups) > 10
