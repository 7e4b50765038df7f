"""Passes: a smaller flow with the same bits."""

import numpy as np
import pytest

import tinygrad_bn as tg
from tests.capturing.flows import calls, flow_of
from tinygrad_bn.capturing.passes import simplified, without_idle_steps, without_unused_steps
from tinygrad_bn.capturing.replaying import Replay

X = np.array([[1.0, -2.0, -0.0], [np.nan, np.inf, 3.0]], np.float32)
FINITE = np.nan_to_num(X, posinf=2.0)


@pytest.mark.parametrize(
    "idle",
    [
        lambda x: x * 1.0,
        lambda x: 1 * x,
        lambda x: x / 1,
        lambda x: x.copy(),
        lambda x: x.astype(np.float32),
        lambda x: x.reshape((2, 3)),
        lambda x: tg.broadcast_to(x, (2, 3)),
    ],
)
def test_idle_calls_are_taken_out(idle):
    flow = flow_of(lambda x: tg.exp(idle(x)), X)
    without_idle_steps(flow)
    assert calls(flow) == ["exp"]
    assert flow.steps[0].inputs() == [flow.arguments[0]]


@pytest.mark.parametrize(
    "busy",
    [
        lambda x: x + 0.0,  # -0 becomes 0
        lambda x: 1 / x,
        lambda x: x.T,
        lambda x: x.astype(np.float64),
        lambda x: x.T.copy(),  # another layout
        lambda x: x * np.ones((2, 2, 3), np.float32),
    ],
)
@pytest.mark.filterwarnings("ignore:the array that")
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_calls_that_change_a_bit_a_shape_or_a_layout_stay(busy):
    flow = flow_of(busy, X)
    kept = calls(flow)
    without_idle_steps(flow)
    assert calls(flow)[: len(kept)] == kept


def test_what_nobody_needs_is_taken_out():
    w = tg.Parameter(FINITE)

    def step(x):
        tg.sin(x)
        w.assign(x * 2)
        return tg.cos(x)

    flow = flow_of(step, FINITE)
    without_unused_steps(flow)
    assert calls(flow) == ["multiply", "cos"]


def test_numbers_of_the_recording_are_let_go_and_not_needed():
    flow = simplified(flow_of(lambda x: tg.exp(x.reshape((3, 2))) @ x, FINITE))
    assert all(step.result.sample.base is not None for step in flow.steps)
    (result,) = Replay(flow).run([FINITE])
    np.testing.assert_array_equal(result, np.exp(FINITE.reshape(3, 2)) @ FINITE)
