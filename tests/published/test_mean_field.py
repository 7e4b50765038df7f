"""What a layer of a wide net does to signals and gradients, by quadrature over our own activations.

Poole et al. (2016), https://arxiv.org/abs/1606.05340; Schoenholz et al. (2017), https://arxiv.org/abs/1611.01232. With
weights of variance sw2 / n and biases of variance sb2, the mean square q of the pre-activations goes to
sw2 E[phi(sqrt(q) z)^2] + sb2 from layer to layer, and the variance of a gradient is multiplied by
chi = sw2 E[phi'(sqrt(q) z)^2], z standard normal. A net is critical where q stays and chi is 1.
"""

import os
from pathlib import Path

import numpy as np
import pytest

import tinygrad_bn as tg

GRIDS = Path(os.environ.get("TINYGRAD_BN_DATA", "")) / "mean-field"
needs_grids = pytest.mark.skipif(not GRIDS.is_dir(), reason="TINYGRAD_BN_DATA has no folder mean-field")

NODES, WEIGHTS = np.polynomial.legendre.leggauss(400)


def expected(f):
    """E[f(z)], each side of a kink at 0 by itself."""
    total = 0.0
    for low, high in ((-12.0, 0.0), (0.0, 12.0)):
        z = low + (high - low) * (NODES + 1) / 2
        total += np.sum(WEIGHTS * f(z) * np.exp(-z * z / 2)) * (high - low) / 2
    return total / np.sqrt(2 * np.pi)


def slope(phi, h):
    return tg.grad(lambda h: tg.sum(phi(h)))(h)


def after(phi, q, sw2, sb2=0.0):
    """The next q."""
    return sw2 * expected(lambda z: phi(np.sqrt(q) * z) ** 2) + sb2


def chi(phi, q, sw2):
    return sw2 * expected(lambda z: slope(phi, np.sqrt(q) * z) ** 2)


def settled(phi, sw2, sb2=0.0, q=1.0):
    """The q that stays as it is."""
    for _ in range(3000):
        previous, q = q, after(phi, q, sw2, sb2)
        if abs(q - previous) < 1e-13 * q:
            break
    return q


@pytest.mark.parametrize(
    ("phi", "sw2", "q", "factor"),
    [
        (tg.sigmoid, 1.0, 0.264687, 0.055721),
        (tg.selu, 1.0, 1.0, 1.071575),
        (tg.selu, 0.5625, 0.023034, 1.003670),
    ],
)
def test_where_signals_settle_and_what_gradients_are_multiplied_by(phi, sw2, q, factor):
    """Sigmoid with Glorot's weights, SELU with LeCun's, and SELU with PyTorch's gain of 3/4. In norm, 20 layers leave
    2.9e-13 of a sigmoid's gradient; 100 layers make SELU's 31.7 times as large with LeCun's weights.
    """
    found = settled(phi, sw2)
    assert found == pytest.approx(q, rel=1e-4)
    assert chi(phi, found, sw2) == pytest.approx(factor, abs=1e-6)


@pytest.mark.parametrize(
    ("sw2", "depth", "left"), [(1.0, 5, 0.1375), (1.0, 10, 0.0714), (1.0, 20, 0.0360), (1 / 3, 5, 0.00142)]
)
def test_what_tanh_leaves_of_a_gradients_variance_behind_a_signal_of_1(sw2, depth, left):
    """With Glorot's weights, critical only for small signals, little by little; with U(+-1/sqrt(n)), at once."""
    q, product = 1.0, 1.0
    for _ in range(depth):
        product *= chi(tg.tanh, q, sw2)
        q = after(tg.tanh, q, sw2)
    assert product == pytest.approx(left, rel=2e-3)


def test_selu_with_hes_weights_explodes():
    """By 2 lambda^2 / 2 = 1.104 a layer in variance, once signals are large."""
    assert after(tg.selu, 1e8, 2.0) / 1e8 == pytest.approx(1.0507009873554805**2, rel=1e-4)


@pytest.mark.parametrize(
    ("phi", "sw2", "grows"),
    [
        (tg.relu, 1.0, 0.5),
        (tg.relu, 2.0, 1.0),
        (lambda h: tg.leaky_relu(h, alpha=0.01), 2.0, 1.0001),
        (lambda h: tg.leaky_relu(h, alpha=0.25), 2.0, 1.0625),
        (lambda h: tg.leaky_relu(h, alpha=0.25), 2 / (1 + 0.25**2), 1.0),
    ],
)
@pytest.mark.parametrize("q", [0.01, 1.0, 100.0])
def test_what_is_linear_on_both_sides_of_0_multiplies_signals_and_gradients_alike(phi, sw2, grows, q):
    """He et al. (2015), Eq. 9, 13 and 15: by sw2 (1 + a^2) / 2, at every size."""
    assert after(phi, q, sw2) / q == pytest.approx(grows, rel=1e-10)
    assert chi(phi, q, sw2) == pytest.approx(grows, rel=1e-10)


def test_elu_with_hes_weights_grows_by_nearly_1_a_layer_without_end():
    """He's factor of 2 is made for ReLU. ELU adds 2 E[(e^h - 1)^2; h < 0] to each q, which is 1 - 3 / sqrt(2 pi q) for
    large q, and never 0: there is no variance at which signals settle.
    """
    gained = [after(tg.elu, q, 2.0) - q for q in (0.01, 1.0, 100.0, 10_000.0)]
    assert gained[0] > 0
    assert gained == sorted(gained)
    assert gained[-1] == pytest.approx(1 - 3 / np.sqrt(2 * np.pi * 10_000), abs=1e-3)


def test_what_keeps_a_variance_of_1_with_elu():
    """Weights of variance 1.550519 / n instead of 2 / n; the mean is then .160521, not 0."""
    assert after(tg.elu, 1.0, 1.550519) == pytest.approx(1.0, rel=1e-6)
    assert expected(tg.elu) == pytest.approx(0.160521, rel=1e-5)


@pytest.mark.parametrize(
    ("phi", "sigma_w", "sigma_b"),
    [
        (tg.tanh, 1.30415, 0.2),
        (tg.elu, 1.22925, 0.2),
        (tg.selu, 0.93748, 0.2),
        (tg.tanh, np.sqrt(1.760955), np.sqrt(0.05)),
    ],
)
def test_the_critical_points(phi, sigma_w, sigma_b):
    """Schoenholz et al.'s phase transition, chi = 1, for three activations; for tanh with sb2 = .05 it is their own."""
    q = settled(phi, sigma_w * sigma_w, sigma_b * sigma_b)
    assert chi(phi, q, sigma_w * sigma_w) == pytest.approx(1.0, abs=2e-5)


def test_tanh_settles_at_its_critical_point():
    assert settled(tg.tanh, 1.760955, 0.05) == pytest.approx(0.570048, rel=1e-5)


def test_beyond_it_gradients_grow():
    """With sw2 = 4, in the chaotic phase, by 1.3424 a layer in variance."""
    assert chi(tg.tanh, settled(tg.tanh, 4.0, 0.05), 4.0) == pytest.approx(1.3424, abs=5e-5)


@pytest.mark.parametrize(
    ("tau", "mean", "variance"),
    [(1.0, 0.0, 1.0), (0.5625, -0.028, 0.027), (2.0, 1.78, 18.5), (1.1, 0.049, 1.40), (0.95, -0.019, 0.829)],
)
def test_where_selu_takes_mean_and_variance_in_100_layers(tau, mean, variance):
    """Klambauer et al. (2017), Eq. 4 and 5, with weights of sum 0 and sum of squares tau: only 1, LeCun's law, keeps
    them; PyTorch's gain of 3/4 makes it .5625, He's law 2, and Theorem 1 allows .95 to 1.1.
    """
    found = 0.0, 1.0
    for _ in range(100):
        scale = np.sqrt(found[1] * tau)
        center = expected(lambda z, scale=scale: tg.selu(scale * z))
        found = center, expected(lambda z, scale=scale: tg.selu(scale * z) ** 2) - center * center
    assert found == (pytest.approx(mean, abs=5e-3), pytest.approx(variance, rel=5e-3, abs=5e-4))


HERMITE, MASS = np.polynomial.hermite_e.hermegauss(80)
MASS = MASS / MASS.sum()


def depth_scale(phi, sw2, sb2):
    """-1 / log(chi at the correlation c to which two signals go), the number of layers in which they lose 1 / e.

    Schoenholz et al. (2017), Eq. 5 and 9.
    """
    q, c = settled(phi, sw2, sb2), 0.5

    def pair():
        return np.sqrt(q) * HERMITE[:, None], np.sqrt(q) * (c * HERMITE[:, None] + np.sqrt(max(1 - c * c, 0)) * HERMITE)

    for _ in range(5000):
        one, other = pair()
        before, c = c, (sw2 * np.einsum("i,j,ij->", MASS, MASS, phi(one) * phi(other)) + sb2) / q
        if abs(c - before) < 1e-12:
            break
    one, other = pair()
    return -1 / np.log(sw2 * np.einsum("i,j,ij->", MASS, MASS, slope(phi, one) * slope(phi, other)))


@needs_grids
def test_depth_scales_and_which_nets_they_let_learn():
    """The 50 published depth scales of tanh with sb2 = .05, but for those at the transition. And of the 8,190 nets of
    width 300 that were trained on MNIST, those learn, half of the digits at least, whose depth is few of them.
    """
    published, grid = np.load(GRIDS / "depth_scale.npz"), np.load(GRIDS / "train_acc.npz")
    ours = np.array([depth_scale(tg.tanh, sw2, 0.05) for sw2 in published["sws"]])
    apart = np.abs(published["sws"] - 1.76) > 0.25
    np.testing.assert_allclose(ours[apart], published["xi_cs"][apart], rtol=1e-2)
    score = (np.interp(grid["xgrid"], published["sws"], ours) / grid["ygrid"][:, None]).ravel()
    learns = (grid["train_acc"] > 0.5).ravel()
    assert learns.size == 8190
    ranks, good = np.argsort(np.argsort(score)), learns.sum()
    area = (ranks[learns].sum() - good * (good - 1) / 2) / (good * (learns.size - good))
    assert area >= 0.975
    assert max(np.mean((score > bound) == learns) for bound in np.quantile(score, np.linspace(0, 1, 200))) >= 0.94
