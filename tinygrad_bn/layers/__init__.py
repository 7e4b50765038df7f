"""The layers, a family a file. Functions live in `ops`; a layer owns a parameter, a state, a generator or a setting."""

from tinygrad_bn import names
from tinygrad_bn.layers.activations import ELU, SELU, LeakyReLU, PReLU, ReLU, RReLU, Softmax
from tinygrad_bn.layers.base import Layer
from tinygrad_bn.layers.core import Activation, Dense, Flatten, Input
from tinygrad_bn.layers.normalization import BatchNormalization, LayerNormalization, Normalization
from tinygrad_bn.layers.regularization import AlphaDropout, Dropout, GaussianNoise

__all__ = [
    "ELU",
    "SELU",
    "Activation",
    "AlphaDropout",
    "BatchNormalization",
    "Dense",
    "Dropout",
    "Flatten",
    "GaussianNoise",
    "Input",
    "Layer",
    "LayerNormalization",
    "LeakyReLU",
    "Normalization",
    "PReLU",
    "RReLU",
    "ReLU",
    "Softmax",
]

names.answer_for(__name__)
