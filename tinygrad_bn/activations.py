"""The activations that have a name: functions of arrays and Tensors, as `Dense(activation=...)` takes them."""

from tinygrad_bn import names
from tinygrad_bn.layers.activations import get
from tinygrad_bn.ops import (
    celu,
    elu,
    gelu,
    hard_sigmoid,
    leaky_relu,
    log_softmax,
    mish,
    relu,
    selu,
    sigmoid,
    silu,
    softmax,
    softplus,
    softsign,
    tanh,
)

__all__ = [
    "celu",
    "elu",
    "gelu",
    "get",
    "hard_sigmoid",
    "leaky_relu",
    "log_softmax",
    "mish",
    "relu",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "softsign",
    "tanh",
]


def __dir__() -> list[str]:
    return __all__


names.answer_for(__name__)
