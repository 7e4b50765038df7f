"""Joining: variables that are updated alike and lie side by side are updated as one; nobody notices."""

import numpy as np

import tinygrad_bn as tg
from tinygrad_bn.capturing.captured import capture
from tinygrad_bn.optimizers import SGD
from tinygrad_bn.variables import State


def test_what_copies_variables_goes_on_after_their_memory_has_been_moved():
    online, target = (tg.layers.Dense(2, input_shape=(3,)) for _ in range(2))
    x, optimizer = np.ones((1, 3), np.float32), SGD(0.1)

    @capture
    def follow():
        for mine, theirs in zip(target.parameters(), online.parameters(), strict=True):
            mine.assign(theirs)

    for _ in range(3):
        follow()
        np.testing.assert_array_equal(target.kernel.numpy(), online.kernel.numpy())
        online(x).sum().backward()
        optimizer.step(online.parameters())  # the first time it lays them side by side
        optimizer.zero_grad()


def test_an_argument_that_is_assigned_is_named_in_the_listing_and_in_the_drawing():
    state, other = State(np.zeros(3)), State(np.zeros(3))

    @capture
    def step(x):
        state.assign(x)
        return x * 2

    step(np.ones(3))
    tg.variables.side_by_side([state, other])
    step(np.full(3, 2.0))
    step(np.full(3, 3.0))
    assert state.numpy().tolist() == [3.0] * 3
    (program,) = step.programs
    assert "a variable <- argument 0" in str(program)
    assert "multiply" in program.draw().dot
