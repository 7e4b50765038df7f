"""The cells of a notebook on training deep networks, written for Keras, run as they stand; each says what it shows.

The facts, and the calls that show them: Géron (2019), Hands-On Machine Learning, 2nd edition, chapter 11. The networks
are his; they see a few images only, so that each cell takes a second at most.
"""

# ruff: noqa: NPY002 the notebook draws from NumPy's own generator

import numpy as np
import pytest

import tinygrad_bn as keras


def images():
    """Fashion-MNIST where it is at hand; else the package's own digits, each pixel 3 x 3 large, in a frame of 2."""
    try:
        (x, y), _ = keras.datasets.load_fashion_mnist()
        x = x[:700] / 255
    except FileNotFoundError:
        (x, y), _ = keras.datasets.load_digits()
        x = np.pad(np.kron(x[:700] / 16, np.ones((1, 3, 3))), ((0, 0), (2, 2), (2, 2)))
    return x.astype(np.float32), y[: len(x)]


@pytest.fixture(scope="module")
def fashion():
    """X_train, y_train, X_valid, y_valid."""
    x, y = images()
    return x[200:], y[200:], x[:200], y[:200]


@pytest.fixture(autouse=True)
def _seeded():
    keras.set_random_seed(42)
    np.random.seed(42)


def trained(model, fashion, epochs=2, learning_rate=3e-2):
    X_train, y_train, X_valid, y_valid = fashion
    model.compile(
        loss="sparse_categorical_crossentropy",
        optimizer=keras.optimizers.SGD(learning_rate=learning_rate),
        metrics=["accuracy"],
    )
    return model.fit(X_train, y_train, epochs=epochs, validation_data=(X_valid, y_valid), verbose=0).history


# Vanishing and exploding gradients


def test_where_the_sigmoid_saturates_it_has_no_slope():
    """Far from 0 it is 0 or 1, and its slope, 1/4 at most, is close to 0: next to nothing is propagated back."""
    z = np.linspace(-10, 10, 201)
    slope = keras.grad(lambda z: keras.sum(keras.sigmoid(z)))(z)
    assert keras.sigmoid(z)[[0, 100, 200]] == pytest.approx([0, 0.5, 1], abs=1e-4)
    assert slope.max() == slope[100] == 0.25
    assert slope[[0, 200]] == pytest.approx([4.54e-5, 4.54e-5], rel=1e-3)
    assert slope.max() ** 10 < 1e-6  # the most that passes ten layers whose weights are 1


def test_sigmoid_and_standard_normal_weights_saturate_the_top_layers():
    """The outputs of a layer vary more than its inputs; further up the activation saturates."""
    layer = keras.layers.Dense(
        300, activation="sigmoid", kernel_initializer=keras.initializers.RandomNormal(stddev=1.0)
    )
    a = layer(np.random.rand(200, 300)).numpy()
    assert np.mean((a < 0.05) | (a > 0.95)) > 0.6
    assert a.mean() == pytest.approx(0.5, abs=0.05)  # and not 0, as that of tanh


# Glorot and He initialization


@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("glorot_normal", 2 / (300 + 100)),  # no activation, tanh, sigmoid, softmax
        ("glorot_uniform", 2 / (300 + 100)),
        ("he_normal", 2 / 300),  # ReLU and its variants
        ("he_uniform", 2 / 300),
        ("lecun_normal", 1 / 300),  # SELU
        ("lecun_uniform", 1 / 300),
    ],
)
def test_initialization_parameters_for_each_type_of_activation(name, variance):
    """Glorot: 1 / fan_avg. He: 2 / fan_in. LeCun: 1 / fan_in. A uniform law has the bound sqrt(3 * variance)."""
    kernel = keras.initializers.get(name)((300, 100))
    assert kernel.var() == pytest.approx(variance, rel=0.03)
    assert kernel.mean() == pytest.approx(0, abs=0.02 * np.sqrt(variance))
    if name.endswith("uniform"):
        assert 0.999 * np.sqrt(3 * variance) < np.abs(kernel).max() <= np.sqrt(3 * variance) * (1 + 1e-6)


def test_keras_starts_with_glorot_uniform():
    assert keras.layers.Dense(10).kernel_initializer == "glorot_uniform"


def test_he_initialization_by_its_name():
    layer = keras.layers.Dense(10, activation="relu", kernel_initializer="he_normal")
    layer(np.zeros((1, 1000)))
    assert layer.kernel.numpy().var() == pytest.approx(2 / 1000, rel=0.05)


def test_he_initialization_by_fan_avg():
    """The uniform law of variance 2 / fan_avg, where he_uniform has 2 / fan_in."""
    he_avg_init = keras.initializers.VarianceScaling(scale=2.0, mode="fan_avg", distribution="uniform")
    layer = keras.layers.Dense(10, activation="relu", kernel_initializer=he_avg_init)
    layer(np.zeros((1, 1000)))
    assert layer.kernel.numpy().var() == pytest.approx(2 / ((1000 + 10) / 2), rel=0.05)


def test_a_typing_error_is_answered_with_the_right_word():
    with pytest.raises(ValueError, match="Did you mean 'fan_avg'"):
        keras.initializers.VarianceScaling(scale=2.0, mode="fav_avg", distribution="uniform")
    with pytest.raises(ValueError, match="Did you mean 'relu'"):
        keras.layers.Dense(10, activation="rellu")
    with pytest.raises(TypeError, match="Did you mean 'learning_rate'"):
        keras.optimizers.SGD(lr=1e-3)


# Nonsaturating activations


def test_the_layers_of_the_relu_family():
    assert [m for m in dir(keras.layers) if "relu" in m.lower()] == ["LeakyReLU", "PReLU", "RReLU", "ReLU"]


def test_leaky_relu_never_dies():
    """alpha is its slope below 0, where that of ReLU is 0."""

    def leaky_relu(z, alpha=0.01):
        return np.maximum(alpha * z, z)

    z = np.linspace(-5, 5, 200)
    np.testing.assert_array_equal(keras.leaky_relu(z, 0.2), leaky_relu(z, 0.2))
    slope = keras.grad(lambda z: keras.sum(keras.leaky_relu(z, 0.2)))(z)
    assert set(slope) == {0.2, 1.0}
    assert set(keras.grad(lambda z: keras.sum(keras.relu(z)))(z)) == {0.0, 1.0}


def with_activation(layer):
    """The notebook's network: 300 and 100 units, each followed by a layer that is the activation."""
    return keras.models.Sequential(
        [
            keras.layers.Flatten(input_shape=[28, 28]),
            keras.layers.Dense(300, kernel_initializer="he_normal"),
            layer(),
            keras.layers.Dense(100, kernel_initializer="he_normal"),
            layer(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )


@pytest.mark.parametrize(
    "layer",
    [
        lambda: keras.layers.LeakyReLU(),
        lambda: keras.layers.LeakyReLU(alpha=0.2),
        lambda: keras.layers.RReLU(),
        lambda: keras.layers.PReLU(),
        lambda: keras.layers.ELU(),
    ],
    ids=["LeakyReLU", "LeakyReLU(alpha=.2)", "RReLU", "PReLU", "ELU"],
)
def test_a_network_learns_with_each_of_them(layer, fashion):
    history = trained(with_activation(layer), fashion)
    assert history["loss"][1] < 0.75 * history["loss"][0]
    assert history["val_accuracy"][1] > 0.5


def test_rrelu_draws_alpha_in_training_and_takes_the_mean_afterwards():
    layer = keras.layers.RReLU(lower=1 / 8, upper=1 / 3)
    z = -np.ones((1, 10_000))
    drawn = -layer(z, training=True)
    assert drawn.min() >= 1 / 8 and drawn.max() < 1 / 3
    assert drawn.mean() == pytest.approx(11 / 48, abs=0.003)
    np.testing.assert_allclose(layer(z, training=False), np.float32(-11 / 48) * np.ones_like(z), rtol=1e-6)


def test_prelu_learns_its_alpha(fashion):
    """One slope for each unit; they begin as 0."""
    model = with_activation(lambda: keras.layers.PReLU())
    model(fashion[0][:1])
    assert [layer.alpha.shape for layer in (model.layers[2], model.layers[4])] == [(300,), (100,)]
    assert not model.layers[2].alpha.numpy().any()
    trained(model, fashion, epochs=1)
    assert np.mean(model.layers[2].alpha.numpy() != 0) > 0.9


def test_elu_is_smooth_and_nearer_to_a_mean_of_zero():
    """With alpha = 1 its slope comes to 1 from both sides of 0, and it is not 0 for z < 0."""
    slope = keras.grad(keras.elu)
    assert slope(-1e-9) == pytest.approx(slope(1e-9), abs=1e-8)
    assert slope(-3.0) == pytest.approx(np.exp(-3))
    assert keras.elu(-50.0) == pytest.approx(-1.0)  # -alpha
    z = np.random.randn(100_000)
    assert 0 < keras.elu(z).mean() < 0.5 * keras.relu(z).mean()
    layer = keras.layers.Dense(10, activation="elu", kernel_initializer="he_normal")
    assert layer(np.random.randn(100, 50)).numpy().min() > -1


# SELU and self-normalization


def test_selu_keeps_mean_and_variance_through_a_thousand_layers():
    """500 inputs of 100 features: after every hundredth layer, mean and standard deviation are about 0 and 1."""
    Z = np.random.normal(size=(500, 100))  # standardized inputs
    for layer in range(1000):
        W = np.random.normal(size=(100, 100), scale=np.sqrt(1 / 100))  # LeCun initialization
        Z = keras.selu(np.dot(Z, W))
        means = np.mean(Z, axis=0).mean()
        stds = np.std(Z, axis=0).mean()
        if layer % 100 == 0:
            assert abs(means) < 0.1 and 0.8 < stds < 1.05


def selu_layer():
    return keras.layers.Dense(20, activation="selu", kernel_initializer="lecun_normal")


def test_a_hundred_layers_of_selu_learn(fashion):
    """Standardized inputs, LeCun's law, dense layers only, one after the other: then it normalizes itself."""
    X_train, y_train, X_valid, y_valid = fashion
    pixel_means = X_train.mean(axis=0, keepdims=True)
    pixel_stds = X_train.std(axis=0, keepdims=True) + 1e-7
    X_train_scaled = (X_train - pixel_means) / np.maximum(pixel_stds, 0.05)
    X_valid_scaled = (X_valid - pixel_means) / np.maximum(pixel_stds, 0.05)

    model = keras.models.Sequential()
    model.add(keras.layers.Flatten(input_shape=[28, 28]))
    model.add(keras.layers.Dense(60, activation="selu", kernel_initializer="lecun_normal"))
    for _ in range(99):
        model.add(keras.layers.Dense(20, activation="selu", kernel_initializer="lecun_normal"))
    model.add(keras.layers.Dense(10, activation="softmax"))
    history = trained(model, (X_train_scaled, y_train, X_valid_scaled, y_valid), 2, learning_rate=1e-3)
    assert all(np.isfinite(history["loss"]))
    assert history["loss"][1] < history["loss"][0]


# Batch normalization


def normalized_after():
    """Batch normalization as the first layer, and after every hidden layer."""
    return keras.models.Sequential(
        [
            keras.layers.Flatten(input_shape=[28, 28]),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(300, activation="elu", kernel_initializer="he_normal"),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(100, activation="elu", kernel_initializer="he_normal"),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )


def normalized_before():
    """Batch normalization before the activations: then a layer needs no bias, since beta is one."""
    return keras.models.Sequential(
        [
            keras.layers.Flatten(input_shape=[28, 28]),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(300, kernel_initializer="he_normal", use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.Activation("elu"),
            keras.layers.Dense(100, kernel_initializer="he_normal", use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.Activation("elu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )


def test_batch_normalization_adds_four_parameters_per_input():
    """3,136 is 4 * 784; the moving averages, 2,368 numbers in all, are not trainable: (3,136 + 1,200 + 400) / 2."""
    model = normalized_after()
    summary = model.summary()
    assert (summary.total, summary.trainable, summary.non_trainable) == (271_346, 268_978, 2_368)
    sizes = [sum(variable.size for _, variable in layer.named_variables()) for layer in model.layers]
    assert sizes == [0, 3_136, 235_500, 1_200, 30_100, 400, 1_010]


def test_two_variables_of_four_are_trained_by_backpropagation():
    model = normalized_after()
    assert [(var.name, var.trainable) for var in model.layers[1].variables] == [
        ("gamma", True),
        ("beta", True),
        ("moving_mean", False),
        ("moving_variance", False),
    ]


def test_without_biases_there_are_300_and_100_numbers_fewer():
    assert normalized_before().summary().total == 271_346 - 300 - 100


@pytest.mark.parametrize("model", [normalized_after, normalized_before])
def test_it_learns_with_batch_normalization_after_and_before_the_activation(model, fashion):
    X_train, y_train, _, _ = fashion
    model = model()
    history = trained(model, fashion, epochs=3)
    assert history["loss"][2] < 0.6 * history["loss"][0]
    keras.recalibrate_batch_normalization(model, X_train)
    assert model.evaluate(X_train, y_train)[1] > 0.8


def test_in_training_it_is_the_batch_that_is_normalized_and_afterwards_the_averages_are_used():
    """Per input: mean 0 and standard deviation 1 over the batch, times gamma, plus beta. Momentum weighs the old."""
    layer = keras.layers.BatchNormalization(momentum=0.9)
    X = np.random.normal(loc=5, scale=3, size=(200, 4))
    Z = layer(X, training=True).numpy()
    np.testing.assert_allclose(Z.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(Z.std(axis=0), 1, rtol=1e-3)
    np.testing.assert_allclose(layer.moving_mean, 0 * 0.9 + X.mean(axis=0) * (1 - 0.9), rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, 1 * 0.9 + X.var(axis=0) * (1 - 0.9), rtol=1e-5)
    expected = (X - layer.moving_mean.numpy()) / np.sqrt(layer.moving_variance.numpy() + 1e-3)
    np.testing.assert_allclose(layer(X, training=False), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("axis", "shape"), [(-1, (28,)), ([1, 2], (1, 28, 28))])
def test_axis_says_what_has_statistics_of_its_own(axis, shape):
    """Of (batch, height, width): 28 means and variances, one for each column; with [1, 2] one for each pixel."""
    layer = keras.layers.BatchNormalization(axis=axis)
    X = np.random.rand(32, 28, 28)
    Z = layer(X, training=True).numpy()
    assert [var.shape for _, var in layer.named_variables()] == [shape] * 4
    over = (0, 1) if axis == -1 else 0
    np.testing.assert_allclose(layer.moving_mean.numpy().squeeze(), 0.01 * X.mean(axis=over), rtol=1e-4)
    np.testing.assert_allclose(Z.mean(axis=over), 0, atol=1e-5)


def test_the_whole_training_set_once_through_the_network_gives_the_final_statistics(fashion):
    X_train, _, _, _ = fashion
    model = normalized_before()
    keras.recalibrate_batch_normalization(model, X_train)
    pixels = X_train.reshape(len(X_train), -1)
    np.testing.assert_allclose(model.layers[1].moving_mean, pixels.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(model.layers[1].moving_variance, pixels.var(axis=0), atol=1e-6)


def test_after_training_the_layer_before_can_take_over_its_work(fashion):
    """XW + b, normalized, is XW' + b' with other weights: no time is lost at prediction."""
    _, _, X_valid, _ = fashion
    model = normalized_before()
    trained(model, fashion, epochs=1)
    fast = keras.fold_batch_normalization(model, partial=True)  # no Dense comes before the pixels' own
    kinds = [type(layer).__name__ for layer in fast.layers]
    assert kinds.count("BatchNormalization") == 1
    np.testing.assert_allclose(fast.predict(X_valid), model.predict(X_valid), rtol=1e-3, atol=1e-6)


# Gradient clipping


def clipped(optimizer):
    """What is left of the gradient [0.9, 100.0]: plain descent with a learning rate of 1 goes just so far."""
    optimizer.learning_rate = 1.0
    theta = keras.Parameter(np.zeros(2))
    keras.sum(theta * np.array([0.9, 100.0])).backward()
    optimizer.step([theta])
    return -theta.numpy()


def test_clipping_by_value_may_change_the_direction():
    """[0.9, 100.0] points along the second axis; [0.9, 1.0] lies half way between the two."""
    optimizer = keras.optimizers.SGD(clipvalue=1.0)
    np.testing.assert_allclose(clipped(optimizer), [0.9, 1.0])


def test_clipping_by_norm_keeps_the_direction():
    """It becomes [0.00899964, 0.9999595]: the first component is almost gone."""
    optimizer = keras.optimizers.SGD(clipnorm=1.0)
    np.testing.assert_allclose(clipped(optimizer), [0.00899964, 0.9999595], rtol=1e-6)


@pytest.mark.filterwarnings("ignore:fit. the loss is nan")
@pytest.mark.parametrize("limit", [{"clipvalue": 1.0}, {"clipnorm": 1.0}])
def test_a_model_is_compiled_with_it(limit):
    """Targets a million times too large: the first gradients would throw the weights away."""
    X = np.random.randn(64, 8)
    y = 1e6 * X[:, :1]
    for optimizer, finite in [(keras.optimizers.SGD(0.1, **limit), True), (keras.optimizers.SGD(0.1), False)]:
        model = keras.models.Sequential(
            [
                keras.layers.Dense(30, activation="elu", input_shape=[8]),
                keras.layers.Dense(30, activation="elu"),
                keras.layers.Dense(1),
            ]
        )
        model.compile(loss="mse", optimizer=optimizer)
        history = model.fit(X, y, epochs=2, verbose=0).history
        assert np.isfinite(history["loss"][-1]) == finite
        assert history.get("clipping_rate", [None])[-1] == (1.0 if finite else None)
