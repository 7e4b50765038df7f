"""How the layers of a network are read from its graph."""

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn.diagnostics.structure import Structure


@pytest.mark.parametrize(
    "after",
    [
        lambda h, gamma, beta: gamma * h + beta,
        lambda h, gamma, beta: tg.scale_and_shift(h, gamma, beta),
        lambda h, gamma, beta: tg.scale_and_shift(h, 2.0, beta) / 3.0,
    ],
)
def test_what_scales_and_shifts_is_linear_on_the_way_to_an_activation(after):
    x, kernel = tg.tensor(np.ones((5, 4)), requires_grad=True), tg.Parameter(np.ones((4, 3)))
    gamma, beta = (tg.Parameter(np.ones(3)) for _ in range(2))
    y = tg.tanh(after(tg.matmul(x, kernel), gamma, beta))
    (layer,) = Structure(y, y, {kernel: "kernel", gamma: "gamma", beta: "beta"}, x).layers
    *inner, last = [link.kind for link in layer.links]
    assert {*inner} == {"linear"} and last == "elementwise"
    assert layer.activation is y
