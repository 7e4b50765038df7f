"""Mishkin and Matas (2016), "All you need is a good init", https://arxiv.org/abs/1511.06422: Algorithm 1."""

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn import layers


@pytest.mark.parametrize("activation", ["tanh", "relu", "elu", "selu"])
def test_one_batch_gives_twenty_layers_variance_1(activation):
    """Within .02, in at most 20 divisions a layer; and the second time in none."""
    tg.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=(256, 50)).astype(np.float32)
    hidden = [layers.Dense(100, activation=activation) for _ in range(20)]
    model = tg.Sequential([layers.Input((50,)), *hidden, layers.Dense(10)])
    report = tg.lsuv(model, x)
    assert len(report.layers) == 21
    assert all(row.iterations <= 20 and abs(row.after - 1) <= 0.02 for row in report.layers)
    assert [row.iterations for row in tg.lsuv(model, x, orthogonal=False).layers] == [0] * 21
