"""He, Zhang, Ren & Sun (2015), Delving Deep into Rectifiers: https://arxiv.org/abs/1502.01852."""

import math

import numpy as np
import pytest

import tinygrad_bn as tg
from tests.published.data import digits
from tests.published.networks import activated, classifier, deep, factor, power, signals
from tinygrad_bn.initializers import Constant, HeNormal, VarianceScaling
from tinygrad_bn.layers import Dense, Flatten, PReLU
from tinygrad_bn.optimizers import SGD

SEEDS = range(5)


def prelu():
    return PReLU(alpha_initializer=Constant(0.25))


# Section 2.2: how variances grow from layer to layer


def test_page_5_what_a_standard_deviation_of_a_hundredth_does_to_vgg_b():
    """A network with 3 x 3 filters of 64, 128, 256 and 512 channels asks for std .059, .042, .029 and .021.

    With .01 instead, "the std of the gradient propagated from conv10 to conv2" is 1/(5.9 x 4.2^2 x 2.9^2 x 2.1^4) =
    1/(1.7 x 10^4) of what it should be. Backwards, Eq. 14 counts a filter's outputs: that is He's law in fan_out.
    """
    law = VarianceScaling(2.0, "fan_out", "untruncated_normal")
    stds = [math.sqrt(law.report((3, 3, 64, channels)).variance) for channels in (64, 128, 256, 512)]
    assert [f"{std:.4f}" for std in stds] == ["0.0589", "0.0417", "0.0295", "0.0208"]
    weakened = math.prod((std / 0.01) ** layers for std, layers in zip(stds, (1, 2, 2, 4), strict=True))
    assert round(weakened) == 16729
    assert round(5.9 * 4.2**2 * 2.9**2 * 2.1**4, -3) == 17000


@pytest.mark.parametrize(
    ("initializer", "activation", "grows"),
    [
        ("glorot_normal", "relu", 1 / 2),
        ("he_normal", "relu", 1.0),
        (VarianceScaling(2 / (1 + 0.25**2)), prelu, 1.0),
        ("he_normal", prelu, 1 + 0.25**2),
    ],
)
def test_eq_10_14_and_15_the_variances_of_30_layers_grow_by_half_the_weights_variance_each(
    initializer, activation, grows
):
    """By n Var[w] (1 + a^2) / 2 a layer, forwards and backwards: 1/2 with Xavier's weights, and so 9.3e-10 in all."""
    x = np.random.default_rng(0).standard_normal((32, 512)).astype(np.float32)
    forwards, backwards = [], []
    for seed in SEEDS:
        tg.set_random_seed(seed)
        found = signals(deep(30, 512, activation, initializer), x)
        forwards.append(math.log(factor([power(signal.y) for signal in found])))
        backwards.append(math.log(factor([power(signal.to_y) for signal in reversed(found)])))
    tolerance = 0.05 * math.log(2)
    assert np.mean(forwards) == pytest.approx(math.log(grows), abs=tolerance)
    assert np.mean(backwards) == pytest.approx(math.log(grows), abs=tolerance)


def test_the_two_laws_differ_by_the_square_root_of_2_a_layer_and_by_2_to_the_30th_in_variance():
    """Xavier's law is Eq. 10 without its factor 1/2: where fan_in is fan_out, all else is the same."""
    x = np.random.default_rng(0).standard_normal((8, 64))
    last = []
    for initializer in ("he_normal", "glorot_normal"):
        tg.set_random_seed(0)
        last.append(power(signals(deep(30, 64, "relu", initializer, dtype=np.float64), x)[-1].y))
    assert last[0] / last[1] == pytest.approx(2.0**30, rel=1e-9)


def trained(depth, initializer, epochs, seed):
    """The history of a net of `depth` layers of 100 ReLUs on the digits, with SGD of rate .01; how far signals got."""
    x, y, _, _ = digits()
    tg.set_random_seed(seed)
    model = classifier(depth, 100, "relu", initializer)
    model.compile(SGD(0.01), "sparse_categorical_crossentropy", ["accuracy"])
    first = tg.gradient_flow(model, x[:256], y[:256], "sparse_categorical_crossentropy")
    return model.fit(x, y, epochs=epochs, verbose=0).history, first


@pytest.mark.slow
def test_figure_3_with_30_layers_hes_initialization_converges_and_xaviers_stalls():
    """Xavier's "completely stalls" in a convolutional network on ImageNet. Here, in 17 epochs, it has not moved from
    the loss of guessing; given five times as many, it does in the end. The report says so before the first step: what
    reaches the first layer is 2^-14.5 of the signal at the last.
    """
    for seed in SEEDS:
        history, flow = trained(30, "he_normal", 17, seed)
        assert max(history["accuracy"]) >= 0.9
        assert flow.verdict == "healthy"
        history, flow = trained(30, "glorot_normal", 17, seed)
        np.testing.assert_allclose(history["loss"], math.log(10), atol=0.02)
        assert flow.verdict == "vanishing"
        assert flow.trend.factor == pytest.approx(math.sqrt(0.5), rel=0.03)


@pytest.mark.slow
def test_figure_2_with_22_layers_both_converge_and_hes_initialization_sooner():
    for seed in SEEDS[:3]:
        assert max(trained(22, "he_normal", 17, seed)[0]["accuracy"]) >= 0.95
        accuracies = trained(22, "glorot_normal", 100, seed)[0]["accuracy"]
        assert max(accuracies[:17]) < 0.5
        assert max(accuracies) >= 0.95


# Section 2.1: the learned slope


@pytest.mark.parametrize(("shared", "extra"), [((), 5 * 4 * 3), ((1, 2), 3), ((1, 2, 3), 1)])
def test_section_2_1_a_slope_per_channel_or_one_for_a_whole_layer(shared, extra):
    """ "The channel-shared variant only introduces a single extra parameter into each layer"."""
    layer = PReLU(shared_axes=shared, input_shape=(5, 4, 3))
    assert layer.parameters()[0].size == extra


def test_table_2_thirteen_extra_parameters_where_thirteen_activations_share_their_slopes():
    """Model A has 14 layers with weights, 13 of them followed by an activation."""
    sizes = {}
    for activation in ("relu", lambda: PReLU(shared_axes=1)):
        model = tg.Sequential([Flatten(input_shape=(8,))])
        for _ in range(13):
            model.add(Dense(8))
            model.add(activated(activation))
        model.add(Dense(10))
        sizes[activation] = sum(parameter.size for parameter in model.parameters())
    plain, learned = sizes.values()
    assert learned - plain == 13


@pytest.mark.parametrize(("shared", "summed"), [((), ()), ((1, 2), (1, 2)), ((1, 2, 3), (1, 2, 3))])
def test_eq_2_and_3_the_gradient_of_a_slope_sums_the_negative_inputs_of_all_it_serves(shared, summed):
    rng = np.random.default_rng(0)
    x, g = rng.standard_normal((2, 6, 5, 4, 3))
    layer = PReLU(alpha_initializer=Constant(0.25), shared_axes=shared, dtype=np.float64)
    layer(x).backward(g)
    expected = np.sum(g * np.where(x > 0, 0, x), axis=(0, *summed), keepdims=True)[0]
    np.testing.assert_allclose(layer.alpha.grad, expected, rtol=1e-12)


def test_section_2_1_the_slopes_are_not_decayed():
    """ "It is worth noticing that we do not use weight decay when updating a_i": it would push them towards ReLU."""
    model = tg.Sequential([Dense(4, input_shape=(3,)), prelu(), Dense(1)])
    slopes, kernel = model.layers[1].alpha, model.layers[0].kernel
    before = slopes.numpy().copy(), kernel.numpy().copy()
    optimizer = SGD(0.1, momentum=0.9, weight_decay=0.5)
    for parameter in model.parameters():
        parameter.grad = tg.tensor(np.zeros(parameter.shape, np.float32))
    optimizer.step(model.parameters())
    np.testing.assert_array_equal(slopes.numpy(), before[0])
    np.testing.assert_allclose(kernel.numpy(), 0.95 * before[1], rtol=1e-6)


def test_eq_4_the_momentum_form_of_their_update():
    """Delta a := mu Delta a + epsilon dE/da, taken off a, from a = .25."""
    layer = PReLU(alpha_initializer=Constant(0.25), input_shape=(1,), dtype=np.float64)
    layer.ensure_built()
    optimizer = SGD(0.1, momentum=0.9)
    slope, delta = 0.25, 0.0
    for gradient in (1.0, -0.5, 0.25):
        layer.alpha.grad = tg.tensor(np.array([gradient]))
        optimizer.step(layer.parameters())
        delta = 0.9 * delta + 0.1 * gradient
        slope -= delta
    np.testing.assert_allclose(layer.alpha, [slope], rtol=1e-12)


def test_hes_initializer_is_eq_10():
    """A Gaussian of mean 0 and variance 2 / n, n the inputs of a unit: k^2 c for a filter."""
    assert HeNormal().report((3, 3, 64, 128)).variance == pytest.approx(2 / (3 * 3 * 64), rel=1e-15)
