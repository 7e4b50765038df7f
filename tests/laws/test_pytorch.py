"""PyTorch as one more oracle, where it is installed: values, gradients and second derivatives, at kinks too."""

from math import inf

import numpy as np
import pytest

import tinygrad_bn as tg
from tests.ops.defaults import DEFAULTS
from tests.ops.kinks import BRANCHES, KINKS, RULES
from tinygrad_bn import ops

torch = pytest.importorskip("torch", exc_type=ImportError)

THEIRS = {"torch": torch, "F": torch.nn.functional, "inf": inf}
OURS = {**vars(ops), "inf": inf, "np": np}
X = np.random.default_rng(1).uniform(-3.5, 3.5, (3, 4))


def joined(result):
    """A list of results as one."""
    return (
        result
        if not isinstance(result, (list, tuple))
        else (torch.stack if torch.is_tensor(result[0]) else ops.stack)(result)
    )


def floating(expression, names, **point):
    return joined(eval(expression, names, point))


@pytest.mark.parametrize("default", DEFAULTS, ids=lambda default: default.name)
def test_values_and_derivatives_are_pytorchs(default):
    x, t = tg.tensor(X, requires_grad=True), torch.tensor(X, requires_grad=True)
    ours, theirs = floating(default.called, OURS, x=x), floating(default.torch, THEIRS, x=t)
    np.testing.assert_allclose(ours.numpy(), theirs.detach().numpy(), rtol=1e-12, atol=1e-14)
    if not ours.requires_grad:
        assert not theirs.requires_grad
        return
    w = np.random.default_rng(2).uniform(-1, 1, ours.shape)
    g = tg.gradients(ours, x, grad_outputs=w, create_graph=True)
    (h,) = torch.autograd.grad(theirs, t, torch.tensor(w), create_graph=True)
    coarse = default.name == "hard_sigmoid"  # whose 1/6 PyTorch keeps in float32, and it has no second derivative
    np.testing.assert_allclose(g.numpy(), h.detach().numpy(), rtol=1e-7 if coarse else 1e-11, atol=1e-13)
    second = tg.gradients((g * X).sum(), x, allow_unused=True) if g.requires_grad else None
    if h.requires_grad and not coarse:
        (curved,) = torch.autograd.grad((h * torch.tensor(X)).sum(), t, allow_unused=True)
        curved = np.zeros_like(X) if curved is None else curved.numpy()
        np.testing.assert_allclose(
            np.zeros_like(X) if second is None else second.numpy(), curved, rtol=1e-9, atol=1e-11
        )


@pytest.mark.parametrize("kink", KINKS, ids=str)
def test_kinks_are_pytorchs(kink):
    point = {name: torch.tensor(np.array(at), requires_grad=True) for name, at in kink.at.items()}
    if kink.expression.startswith("prelu"):
        point["alpha"] = torch.tensor([kink.at["alpha"]], dtype=torch.float64, requires_grad=True)
    result = floating(kink.torch, THEIRS, **point).sum()
    found = torch.autograd.grad(result, list(point.values()))
    for name, g in zip(point, found, strict=True):
        expected = (kink.theirs or kink.derivative)[name]
        np.testing.assert_array_equal(np.squeeze(g.numpy()), expected)


CURVED = ("elu", "selu", "celu", "softsign")


@pytest.mark.parametrize("kink", [kink for kink in RULES[BRANCHES] if kink.expression.startswith(CURVED)], ids=str)
def test_pytorchs_second_derivative_is_0_where_a_curved_branch_begins(kink):
    x = torch.tensor(kink.at["x"], dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(floating(kink.torch, THEIRS, x=x), x, create_graph=True)
    (second,) = torch.autograd.grad(first, x)
    assert second == 0
