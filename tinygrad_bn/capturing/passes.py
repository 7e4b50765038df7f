"""Passes: from a flow to a smaller one that gives the same bits.

Each says what it takes out. They work on a flow in place.
"""

from __future__ import annotations

import numpy as np

from tinygrad_bn.capturing.flow import Flow


def simplified(flow: Flow) -> Flow:
    """The flow after all passes."""
    without_unused_steps(flow)
    without_numbers(flow)
    return flow


def without_unused_steps(flow: Flow) -> None:
    """Takes out calls whose results nobody needs."""
    needed = set(flow.ends())
    steps = []
    for step in reversed(flow.steps):
        if step.result in needed:
            steps.append(step)
            needed.update(step.inputs)
            if step.view is not None:
                needed.add(step.view)
    flow.steps = steps[::-1]


def without_numbers(flow: Flow) -> None:
    """Takes out the numbers of the recorded run: of what steps make, only shape, dtype and strides stay."""
    for step in flow.steps:
        sample = step.result.sample
        nothing = np.zeros(1, sample.dtype)
        step.result.sample = np.lib.stride_tricks.as_strided(nothing, sample.shape, sample.strides, writeable=False)
