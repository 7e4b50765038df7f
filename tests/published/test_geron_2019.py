"""Géron (2019), Hands-On Machine Learning with Scikit-Learn, Keras & TensorFlow, 2nd edition, chapter 11.

Its printed results: https://github.com/ageron/handson-ml2, 11_training_deep_neural_networks.ipynb.
"""

import pytest

import tinygrad_bn as tg
from tests.published.data import fashion_mnist
from tinygrad_bn.layers import Activation, BatchNormalization, Dense, Flatten, LeakyReLU, PReLU
from tinygrad_bn.optimizers import SGD


def with_activations(kind):
    he = {"kernel_initializer": "he_normal"}
    return [Dense(300, **he), kind(), Dense(100, **he), kind()]


def normalized_after():
    """Batch normalization after each activation, and of the pixels."""
    layers = [BatchNormalization()]
    for units in (300, 100):
        layers += [Dense(units, activation="relu"), BatchNormalization()]
    return layers


def normalized_before():
    """Batch normalization before each activation, and of the pixels."""
    layers = [BatchNormalization()]
    for units in (300, 100):
        layers += [Dense(units, use_bias=False), BatchNormalization(), Activation("relu")]
    return layers


def network(hidden):
    return tg.Sequential([Flatten(input_shape=(28, 28)), *hidden, Dense(10, activation="softmax")])


def test_the_summary_of_the_batch_normalized_network():
    """Parameters: 3,136 + 235,500 + 1,200 + 30,100 + 400 + 1,010 = 271,346, of them 2,368 not trainable."""
    model = network(normalized_after())
    counts = [
        sum(variable.size for variable in (*layer.parameters(), *(state for _, state in layer.named_states())))
        for layer in model.layers
    ]
    assert counts == [0, 3136, 235500, 1200, 30100, 400, 1010]
    trainable = sum(parameter.size for parameter in model.parameters())
    averages = sum(state.size for _, state in model.named_states())
    assert (trainable + averages, trainable, averages) == (271_346, 268_978, 2_368)


def test_the_first_normalizations_variables():
    """ "gamma", "beta" are trainable, "moving_mean", "moving_variance" are not: four for each of 784 pixels."""
    layer = network(normalized_after()).layers[1]
    assert [path for path, _ in layer.named_parameters()] == ["gamma", "beta"]
    assert [path for path, _ in layer.named_states()] == ["moving_mean", "moving_variance"]
    assert all(each.shape == (784,) for each in (layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hidden", "kind", "printed", "tolerance"),
    [
        (lambda: with_activations(LeakyReLU), "accuracy", 0.8333, 0.01),
        (lambda: with_activations(PReLU), "accuracy", 0.8321, 0.01),
        (normalized_after, "val_accuracy", 0.8750, 0.015),
        (normalized_before, "val_accuracy", 0.8660, 0.015),
    ],
    ids=["LeakyReLU", "PReLU", "BN after", "BN before"],
)
def test_accuracy_on_fashion_mnist_after_ten_epochs(hidden, kind, printed, tolerance):
    """SGD with rate .001, the first 5,000 images for validation. Copies of the data have orders of their own, and so
    other images among the 5,000, worth more than a point; those trained on are eleven times as many.
    """
    x, y, _, _ = fashion_mnist()
    tg.set_random_seed(42)
    model = network(hidden())
    model.compile(SGD(0.001), "sparse_categorical_crossentropy", ["accuracy"])
    history = model.fit(x[5000:], y[5000:], epochs=10, validation_data=(x[:5000], y[:5000]), verbose=0).history
    assert history[kind][-1] == pytest.approx(printed, abs=tolerance)
