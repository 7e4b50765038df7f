"""Dead and saturated units, counted by unit over the batch."""

import numpy as np
import pytest

import tinygrad_bn as tg
from tinygrad_bn.layers import Dense

X = np.random.default_rng(0).standard_normal((200, 6)).astype(np.float32)
Y = np.arange(200) % 3


def counted(activation, biases, scale=1.0):
    """(dead, saturated) of a layer of units with these biases, whose pre-activations vary by `scale` around them."""
    hidden = Dense(len(biases), activation, input_shape=6)
    model = tg.Sequential([hidden, Dense(3, activation="softmax")])
    hidden.kernel.assign(scale * np.ones((6, len(biases))) / np.sqrt(6))
    hidden.bias.assign(np.asarray(biases, np.float32))
    layer = tg.gradient_flow(model, X, Y, "sparse_categorical_crossentropy").layers[0]
    assert layer.units == len(biases)
    return layer.dead, layer.saturated


@pytest.mark.parametrize(
    ("activation", "biases", "found"),
    [
        ("relu", [0, -1, -50, 50], (1, 0)),
        ("relu", [-1.5] * 4, (0, 0)),  # nine of ten elements are 0, and no unit is dead
        ("leaky_relu", [0, -50], (0, 0)),
        ("elu", [0, -1, -10, -50], (1, 1)),
        ("selu", [0, -10, -50, 50], (1, 1)),
        ("gelu", [0, -5, -50], (1, 1)),
        ("silu", [0, -9, -500], (1, 1)),
        ("sigmoid", [0, 6, -6, 60], (1, 2)),
        ("tanh", [0, 3.5, -3.5, 50], (1, 2)),
        ("softsign", [0, 9, -9], (0, 2)),
        ("hard_sigmoid", [0, 9, -9], (2, 0)),
        (lambda z: tg.minimum(tg.relu(z), 6.0), [0, 3, 50, -50], (2, 0)),
        (lambda z: z, [0, 50], (0, 0)),
        (None, [0, 50], (0, 0)),
    ],
)
def test_units_are_counted(activation, biases, found):
    assert counted(activation, biases) == found


def test_a_tanh_that_is_flat_for_most_samples_is_saturated_though_its_mean_is_0():
    assert counted("tanh", [0, 0], scale=10.0) == (0, 2)
    assert counted("tanh", [0, 0], scale=2.0) == (0, 0)


def test_units_with_slopes_of_their_own():
    hidden = tg.Sequential([Dense(3, input_shape=6), tg.layers.PReLU()])
    model = tg.Sequential([hidden, Dense(3, activation="softmax")])
    hidden.layers[0].bias.assign(np.array([-50.0, -50.0, 0.0]))
    hidden.layers[1].alpha.assign(np.array([0.0, 0.25, 0.0]))
    assert tg.gradient_flow(model, X, Y, "sparse_categorical_crossentropy").layers[0].dead == 1


def test_slopes_drawn_for_each_sample():
    model = tg.Sequential([Dense(3, input_shape=6), tg.layers.RReLU(seed=0), Dense(3, activation="softmax")])
    model.layers[0].bias.assign(np.full(3, -50.0))
    layer = tg.gradient_flow(model, X, Y, "sparse_categorical_crossentropy").layers[0]
    assert (layer.dead, layer.saturated) == (0, 0)


def test_behind_batch_normalization_no_unit_is_dead():
    layers = [Dense(4, input_shape=6), tg.layers.BatchNormalization(), tg.layers.ReLU(), Dense(3, activation="softmax")]
    model = tg.Sequential(layers)
    model.layers[0].bias.assign(np.full(4, -50.0))
    flow = tg.gradient_flow(model, X, Y, "sparse_categorical_crossentropy")
    assert flow.layers[0].dead == 0
    model.layers[1].beta.assign(np.array([0.0, -50.0, -50.0, 0.0]))
    assert tg.gradient_flow(model, X, Y, "sparse_categorical_crossentropy").layers[0].dead == 2


def test_sequences_have_their_units_on_the_last_axis():
    model = tg.Sequential([Dense(3, "relu", input_shape=(5, 6)), tg.layers.Flatten(), Dense(3, activation="softmax")])
    model.layers[0].bias.assign(np.array([0.0, -90.0, 0.0]))
    x = np.random.default_rng(0).standard_normal((40, 5, 6))
    layer = tg.gradient_flow(model, x, np.arange(40) % 3, "sparse_categorical_crossentropy").layers[0]
    assert layer.dead == 1
