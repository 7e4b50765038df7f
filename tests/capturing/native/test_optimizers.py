"""Every optimizer, clipping, and layers that draw: a native step is within 4 ulp of the replay's."""

import re
from functools import partial

import numpy as np
import pytest

import tinygrad_bn as tg
from tests.capturing.native.flows import Training, apart, flow_of
from tests.capturing.native.test_program import normalized, pytestmark  # noqa: F401
from tests.laws.parts import OPTIMIZERS
from tinygrad_bn.capturing.captured import capture
from tinygrad_bn.capturing.native.emitting import Source
from tinygrad_bn.capturing.native.program import NativeProgram
from tinygrad_bn.layers import BatchNormalization, Dense, Dropout, RReLU
from tinygrad_bn.optimizers import SGD, Adam
from tinygrad_bn.variables import Parameter

POLICIES = ("keep", "raise", "skip", "zero")


def random():
    return [Dense(40), RReLU(), Dropout(0.3), Dense(40, use_bias=False), BatchNormalization(), RReLU(), Dense(10)]


def expect_close(layers, optimizer, spoil=None):
    """Twins, one replayed and one native, stay close; both have been recorded in a step before."""
    outcomes = []
    for executor in ("numpy", "native"):
        training = Training(layers, 80, 10, 24, optimizer)
        run = capture(training.step, executor="numpy")
        run(training.x, training.y)
        if executor == "native":
            (recorded,) = run.programs
            run = partial(_run, NativeProgram(recorded.flow))
        if spoil is not None:
            training.x[0, 0] = spoil
        loss = run(training.x, training.y)
        outcomes.append([loss.value, *training.variables()])
    for found, expected in zip(*reversed(outcomes), strict=True):
        assert (np.isnan(found) == np.isnan(expected)).all()
        assert apart(np.nan_to_num(found), np.nan_to_num(expected)) <= 4


def _run(program, *arrays):
    (result,) = program.run(arrays)
    return tg.Tensor(result)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_step_of_every_optimizer_is_within_4_ulp_of_the_replay(kind):
    expect_close(normalized, partial(kind, learning_rate=0.001))


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_so_is_one_with_weight_decay(kind):
    expect_close(normalized, partial(kind, learning_rate=0.001, weight_decay=0.01))


@pytest.mark.parametrize("limit", [{"clipvalue": 0.1}, {"clipnorm": 0.01}, {"global_clipnorm": 0.01}])
@pytest.mark.parametrize("policy", POLICIES)
def test_so_is_a_clipped_one(limit, policy):
    expect_close(normalized, partial(SGD, learning_rate=0.05, momentum=0.9, nonfinite=policy, **limit))


@pytest.mark.parametrize("policy", ["keep", "skip", "zero"])
def test_so_is_one_whose_gradients_are_not_finite(policy):
    expect_close(normalized, partial(Adam, global_clipnorm=0.1, nonfinite=policy), spoil=np.nan)


def test_a_gradient_that_is_not_finite_raises_where_that_is_asked_for():
    training = Training(normalized, 80, 10, 24, partial(SGD, global_clipnorm=0.1, nonfinite="raise"))
    program = NativeProgram(flow_of(training.step, training.x, training.y))
    before = training.variables()[0]
    training.x[0, 0] = np.inf
    with pytest.raises(FloatingPointError, match="expects finite gradients"):
        program.run([training.x, training.y])
    assert apart(training.variables()[0], before) == 0


def test_so_is_one_of_layers_that_draw_and_the_draws_are_the_same():
    expect_close(random, partial(SGD, learning_rate=0.05))


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_every_name_is_a_c_identifier_of_its_own(kind):
    training = Training(normalized, 80, 10, 24, partial(kind, learning_rate=0.001))
    text = Source(flow_of(training.step, training.x, training.y)).text
    names = re.findall(r"^(?:LOOP|EXPORT void) (.*?)\(", text, re.MULTILINE)
    names += re.findall(r"^    \w+ \*const (\S+) = ", text, re.MULTILINE)
    assert all(re.fullmatch(r"[A-Za-z_]\w*", name) for name in names)
    assert len(names) == len(set(names)) > 10


@pytest.mark.parametrize("name", ["2nd", "i", "n", "register", "double", "größe", "given", "x_2", "copy", "log"])
def test_a_variable_may_be_called_anything(name):
    one, other = (Parameter(np.arange(6.0).reshape(2, 3) + 1, name=name) for _ in range(2))

    def step(x, y):
        one.assign(one * tg.log(other) + tg.sum(x, axis=1, keepdims=True) * y)
        return x + y

    x = np.ones((2, 3))
    expected = one.value * np.log(other.value) + x.sum(axis=1, keepdims=True) * x
    program = NativeProgram(flow_of(step, x, x))
    one.assign(np.arange(6.0).reshape(2, 3) + 1)
    program.run([x, x])
    assert apart(one.value, expected) <= 4
