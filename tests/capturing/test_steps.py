"""The steps of a flow as a person sees them."""

import numpy as np

import tinygrad_bn as tg
from tinygrad_bn.capturing.captured import capture


def test_a_step_tells_what_is_called_of_what_and_where():
    model = tg.Sequential([tg.layers.Dense(3, input_shape=(2,))])
    step = capture(lambda x: tg.exp(model(x)), executor="numpy")
    step(np.ones((4, 2), np.float32))
    (program,) = step.programs
    assert list(map(repr, program.steps())) == [
        "Step(dot(float32[4, 2], float32[2, 3]), float32[4, 3], affine, layers.0)",
        "Step(add(float32[4, 3], float32[3]), float32[4, 3], affine, layers.0)",
        "Step(exp(float32[4, 3]), float32[4, 3], exp)",
    ]
