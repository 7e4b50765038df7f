"""The nine ways in which the demo sets up one and the same network, and that network."""

from __future__ import annotations

from typing import Final, NamedTuple

from tinygrad_bn import initializers, layers
from tinygrad_bn.models import Sequential

DEPTH: Final = 20
"""Hidden layers."""
WIDTH: Final = 100
"""Units of each."""
CLASSES: Final = 10
"""That the images belong to."""
BN_MOMENTUM: Final = 0.9
"""Of the moving averages. The default, .99, is for more than the 45 steps that make an epoch here: after two epochs
they would still be so far from the truth that the network is tested at a fraction of what it has learned."""


class Recipe(NamedTuple):
    """What is done to let a deep network train.

    Attributes:
        name: how tables and plots call it.
        activation: of every hidden layer.
        initializer: of every hidden kernel.
        batch_normalization: whether it stands before every activation.
        standardize: whether the inputs are given mean 0 and standard deviation 1, pixel by pixel.
    """

    name: str
    activation: str
    initializer: str | initializers.Initializer
    batch_normalization: bool = False
    standardize: bool = False


RECIPES: Final = {
    "sigmoid-glorot": Recipe("sigmoid + Glorot", "sigmoid", "glorot_uniform"),
    "sigmoid-normal": Recipe("sigmoid + N(0, 1)", "sigmoid", initializers.RandomNormal(stddev=1.0)),
    "tanh-glorot": Recipe("tanh + Glorot", "tanh", "glorot_uniform"),
    "relu-glorot": Recipe("ReLU + Glorot", "relu", "glorot_uniform"),
    "relu-he": Recipe("ReLU + He", "relu", "he_normal"),
    "elu-he": Recipe("ELU + He", "elu", "he_normal"),
    "selu-lecun": Recipe("SELU + LeCun", "selu", "lecun_normal", standardize=True),
    "relu-he-bn": Recipe("ReLU + He + BN", "relu", "he_normal", batch_normalization=True),
    "prelu-he-bn": Recipe("PReLU + He + BN", "prelu", "he_normal", batch_normalization=True),
}
"""By the word that --recipes takes."""


def network(recipe: Recipe, input_shape: tuple[int, ...]) -> Sequential:
    """20 hidden layers of 100 units and a softmax over the classes."""
    model = Sequential([layers.Flatten(input_shape=input_shape)])
    for _ in range(DEPTH):
        for layer in _hidden(recipe):
            model.add(layer)
    model.add(layers.Dense(CLASSES, activation="softmax"))
    return model


def _hidden(recipe: Recipe) -> list[layers.Layer]:
    activation = layers.PReLU() if recipe.activation == "prelu" else layers.Activation(recipe.activation)
    if not recipe.batch_normalization:
        return [layers.Dense(WIDTH, kernel_initializer=recipe.initializer), activation]
    kernel = layers.Dense(WIDTH, use_bias=False, kernel_initializer=recipe.initializer)
    return [kernel, layers.BatchNormalization(momentum=BN_MOMENTUM), activation]
