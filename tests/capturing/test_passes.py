"""Passes: a smaller flow with the same bits."""

import numpy as np

import tinygrad_bn as tg
from tests.capturing.flows import calls, flow_of
from tinygrad_bn.capturing.passes import simplified, without_unused_steps
from tinygrad_bn.capturing.replaying import Replay

FINITE = np.array([[1.0, -2.0, -0.0], [0.0, 2.0, 3.0]], np.float32)


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
