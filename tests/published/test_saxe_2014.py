"""Saxe, McClelland & Ganguli (2014), Exact Solutions to the Nonlinear Dynamics of Learning in Deep Linear Networks.

https://arxiv.org/abs/1312.6120, section 3: orthogonal weights achieve dynamical isometry, Gaussian ones do not.
"""

import numpy as np
import pytest

import tinygrad_bn as tg
from tests.published.networks import deep, spectrum

DEPTH, WIDTH = 50, 64


def end_to_end(activation, initializer, seed):
    """The singular values of d output / d input through 50 layers, at a small random input."""
    tg.set_random_seed(seed)
    model = deep(DEPTH, WIDTH, activation, initializer, dtype=np.float64)
    x = 0.1 * np.random.default_rng(seed).standard_normal(WIDTH)
    return spectrum(tg.jacobian(lambda x: model(x[None])[0])(x))


def test_a_product_of_50_orthogonal_layers_is_orthogonal():
    np.testing.assert_allclose(end_to_end("linear", "orthogonal", 0), 1, atol=1e-12)


@pytest.mark.parametrize("activation", ["linear", "tanh"])
def test_gaussian_layers_of_the_same_scale_crush_most_directions_and_orthogonal_ones_none(activation):
    """ "The Gaussian ... most singular values are close to zero while a few are large": Figure 6, and for tanh at its
    critical gain of 1, section 3.1. The largest is 1 to 1.5 times the median, against more than a million times.
    """
    for seed in range(3):
        orthogonal, gaussian = (end_to_end(activation, law, seed) for law in ("orthogonal", "lecun_normal"))
        assert orthogonal[0] / np.median(orthogonal) < 1.5
        assert gaussian[0] / np.median(gaussian) > 1e6
