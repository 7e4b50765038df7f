"""Trajectories on the quadratic sum(curvature * w ** 2) / 2, against the recurrence solved by hand, and PyTorch."""

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn.errors import SettingError
from tinygrad_bn.optimizers import SGD

CURVATURE = np.array([[0.5, 1.0], [2.0, 4.0]])
START = np.array([[1.0, -2.0], [3.0, -4.0]])
STEPS = 25


def trajectory(optimizer, dtype="float64", steps=STEPS, name=None):
    w = tg.Parameter(START.astype(dtype), name=name)
    for _ in range(steps):
        optimizer.zero_grad()
        (CURVATURE.astype(dtype) * tg.square(w) / 2).sum().backward()
        optimizer.step([w])
    return w.numpy()


def power(matrix):
    """The first component of matrix ** STEPS on (START, 0), for the matrix of each curvature."""
    return np.vectorize(lambda h, w: (np.linalg.matrix_power(np.array(matrix(h)), STEPS) @ [w, 0.0])[0])(
        CURVATURE, START
    )


RATE, MOMENTUM = 0.1, 0.9
CLOSED_FORMS = {
    "plain": ({}, START * (1 - RATE * CURVATURE) ** STEPS),
    "momentum": (
        {"momentum": MOMENTUM},
        power(lambda h: [[1 - RATE * h, MOMENTUM], [-RATE * h, MOMENTUM]]),
    ),
    "nesterov": (
        {"momentum": MOMENTUM, "nesterov": True},
        power(lambda h: [[1 - (1 + MOMENTUM) * RATE * h, MOMENTUM**2], [-RATE * h, MOMENTUM]]),
    ),
    "decay": ({"weight_decay": 0.3}, START * (1 - RATE * 0.3 - RATE * CURVATURE) ** STEPS),
}


@pytest.mark.parametrize("name", CLOSED_FORMS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("float64", 1e-11)])
def test_the_closed_form(name, dtype, tolerance):
    settings, expected = CLOSED_FORMS[name]
    w = trajectory(SGD(RATE, **settings), dtype)
    assert w.dtype == dtype
    np.testing.assert_allclose(w, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("settings", [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}])
def test_the_step_in_place_has_the_bits_of_the_text(settings):
    optimizer, w, velocity = SGD(RATE, **settings), START.astype(np.float32), ()
    for _ in range(5):
        g = CURVATURE.astype(np.float32) * w
        rates = {name: np.float32(getattr(optimizer, name)) for name in ("learning_rate", "momentum")}
        w, *velocity = optimizer.update(w, g, *(velocity or [np.zeros_like(w)] * bool(settings)), **rates)
    assert trajectory(optimizer, "float32", steps=5).tobytes() == w.tobytes()


@pytest.mark.parametrize("settings", [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}])
def test_pytorch_agrees_at_a_constant_rate(settings):
    torch = pytest.importorskip("torch")
    w = torch.tensor(START, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=RATE, **settings)
    for _ in range(STEPS):
        optimizer.zero_grad()
        (torch.tensor(CURVATURE) * w**2 / 2).sum().backward()
        optimizer.step()
    np.testing.assert_allclose(trajectory(SGD(RATE, **settings)), w.detach().numpy(), rtol=1e-9)


def test_a_new_rate_acts_at_once_and_the_velocity_keeps_the_old_one():
    w = tg.Parameter(np.zeros(1))
    optimizer = SGD(1.0, momentum=0.5)
    steps = []
    for rate in (1.0, 0.1, 0.1):
        optimizer.learning_rate = rate
        w.grad = tg.tensor(np.ones(1))
        before = w.numpy()
        optimizer.step([w])
        steps.append((before - w.numpy()).item())
    np.testing.assert_allclose(steps, [1.0, 0.5 * 1.0 + 0.1, 0.5 * 0.6 + 0.1])


def test_momentum_may_come_and_go():
    optimizer = SGD(RATE)
    w = tg.Parameter(START)
    for momentum, expected in [(0.0, -1.0), (0.5, -1.0), (0.5, -1.5), (0.0, -1.0)]:
        optimizer.momentum = momentum
        w.grad = tg.tensor(np.ones_like(START))
        before = w.numpy()
        optimizer.step([w])
        np.testing.assert_allclose((w.numpy() - before) / RATE, expected)


def test_nesterov_is_nothing_without_momentum():
    nesterov = SGD(RATE, momentum=0.9, nesterov=True)
    for wrong in (lambda: SGD(nesterov=True), lambda: setattr(nesterov, "momentum", 0.0)):
        with pytest.raises(SettingError, match="SGD expects a momentum above 0 with nesterov; got 0"):
            wrong()
    assert nesterov.momentum == 0.9
    with pytest.raises(SettingError, match="SGD expects nesterov to be True or False; got 'no'"):
        SGD(momentum=0.9, nesterov="no")


@pytest.mark.parametrize("name", ["gamma", "beta", "alpha"])
def test_gamma_beta_and_alpha_never_decay(name):
    decaying, plain = SGD(RATE, weight_decay=0.5), SGD(RATE)
    assert trajectory(decaying, name=name).tobytes() == trajectory(plain).tobytes()
    assert trajectory(decaying, name="kernel").tobytes() != trajectory(plain).tobytes()
