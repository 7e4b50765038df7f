import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn import layers
from tinygrad_bn.errors import AxisError, SettingError, ShapeError

X = np.random.default_rng(0).normal(size=(6, 5, 4)).astype(np.float32)


@pytest.mark.parametrize(
    ("layer", "function"),
    [
        (layers.ReLU(), tg.relu),
        (layers.LeakyReLU(), tg.leaky_relu),
        (layers.ELU(), tg.elu),
        (layers.SELU(), tg.selu),
        (layers.Softmax(), tg.softmax),
        (layers.RReLU().eval(), lambda x: tg.rrelu(x, training=False)),
    ],
)
def test_a_functions_defaults_are_its_layers(layer, function):
    assert np.array_equal(layer(X), function(X))


def test_settings_reach_the_function():
    assert np.array_equal(layers.LeakyReLU(0.01)(X), tg.leaky_relu(X, alpha=0.01))
    assert np.array_equal(layers.ELU(alpha=2.0)(X), tg.elu(X, alpha=2.0))
    assert np.array_equal(layers.Softmax(axis=1)(X), tg.softmax(X, axis=1))


def test_prelu_starts_as_relu_and_learns_one_slope_per_place():
    layer = layers.PReLU()
    assert np.array_equal(layer(X), tg.relu(X))
    assert layer.alpha.shape == (5, 4)
    layer(X).sum().backward()
    np.testing.assert_allclose(layer.alpha.grad.numpy(), np.minimum(X, 0).sum(axis=0), rtol=1e-5)


def test_prelu_shares_slopes_along_axes_counted_from_the_batch():
    layer = layers.PReLU("ones", shared_axes=[1])
    assert np.array_equal(layer(X), X)
    assert layer.alpha.shape == (1, 4)
    assert layers.PReLU(shared_axes=(1, 2), input_shape=[5, 4]).parameters()[0].shape == (1, 1)
    assert layers.PReLU(shared_axes=-1, input_shape=[5, 4]).parameters()[0].shape == (5, 1)
    with pytest.raises(ShapeError, match=r"PReLU expects x of shape \(batch, 5, 4\); got \(6, 4, 5\)"):
        layer(X.transpose(0, 2, 1))


@pytest.mark.parametrize("axes", [0, [3], [1, -2], "1", [1.0]])
def test_prelu_cannot_share_along_the_batch_or_beyond(axes):
    with pytest.raises(AxisError, match=r"^PReLU expects shared_axes to name some of the axes 1 to 2; got "):
        layers.PReLU(shared_axes=axes)(X)


def test_rrelu_draws_slopes_in_training_and_takes_their_mean_afterwards():
    layer = layers.RReLU(lower=0.1, upper=0.3, seed=0)
    x = -np.ones((200, 200), np.float32)
    slopes = -layer(x)
    assert slopes.min() >= np.float32(0.1)
    assert slopes.max() <= np.float32(0.3)
    assert abs(slopes.mean() - 0.2) < 3 * 0.2 / np.sqrt(12) / 200
    np.testing.assert_allclose(layer(x, training=False), 0.2 * x, rtol=1e-6)
    assert np.array_equal(layer(-x), -x)


def test_rrelus_slope_in_inference_is_11_48ths_by_default():
    assert layers.RReLU()(np.array([[-48.0]]), training=False).item() == pytest.approx(-11)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: layers.LeakyReLU(-0.1), "LeakyReLU expects alpha to be a number not below 0; got -0.1"),
        (lambda: layers.ELU(alpha="1"), "ELU expects alpha to be a number not below 0; got '1'"),
        (lambda: layers.ELU(alpha=np.inf), "got inf"),
        (lambda: layers.RReLU(0.4, 0.3), "RReLU expects upper to be a number not below lower=0.4; got 0.3"),
        (lambda: layers.RReLU(-0.4), "RReLU expects lower to be a number not below 0; got -0.4"),
        (lambda: layers.PReLU("he"), "unknown initializer 'he' in PReLU"),
    ],
)
def test_wrong_settings(call, message):
    with pytest.raises(SettingError, match=message):
        call()
