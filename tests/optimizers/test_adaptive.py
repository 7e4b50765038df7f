"""Adagrad and RMSprop: what their trajectories alone do not show."""

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn.optimizers import RMSprop


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("executor", ["eager", "numpy"])
def test_a_variance_is_never_below_0_by_rounding(executor, dtype):
    """Of a constant gradient it is 0 in the end, and the step rate / sqrt(epsilon) times the gradient."""
    gradient = np.array([1.2344689, -3.7e3, 0.3333333, 1e-3, 77.7], dtype)
    parameter, optimizer = tg.Parameter(np.ones(5, dtype)), RMSprop(1e-3, centered=True)

    def step(gradient):
        parameter.grad = gradient
        optimizer.step([parameter])
        optimizer.zero_grad()

    take = step if executor == "eager" else tg.capture(step, executor=executor)
    for _ in range(600):
        before = parameter.numpy()
        take(gradient)
        assert np.isfinite(parameter.numpy()).all()
        assert (np.abs(parameter.numpy() - before) <= 1.01e-3 * np.abs(gradient) / np.sqrt(1e-7)).all()
