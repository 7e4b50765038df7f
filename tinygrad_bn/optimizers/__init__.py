"""Optimizers: from the gradients of the parameters to their new values.

    optimizer = SGD(learning_rate=0.01, momentum=0.9)
    loss.backward()
    optimizer.step(model.parameters())
    optimizer.zero_grad()

The order within a step is clip, regularize, decay, update, constrain: the gradients are clipped; those of the
regularizers are added; the weights decay and take their step; and the constraints bring them back to where they may be.
"""

from __future__ import annotations

from tinygrad_bn import names
from tinygrad_bn.optimizers.adam import Adam, AdamW, Nadam
from tinygrad_bn.optimizers.adaptive import Adagrad, RMSprop
from tinygrad_bn.optimizers.base import Optimizer
from tinygrad_bn.optimizers.rates import Rate
from tinygrad_bn.optimizers.sgd import SGD

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Nadam", "Optimizer", "RMSprop", "Rate", "get"]

_BY_NAME = {kind.__name__.lower(): kind for kind in (SGD, RMSprop, Adam, AdamW, Nadam, Adagrad)}


def get(optimizer: str | Optimizer | type[Optimizer]) -> Optimizer:
    """An optimizer from its name or class, with default settings, or from itself.

    Raises:
        SettingError: it is none of these; the message lists the names.
    """
    spelled = optimizer.lower() if isinstance(optimizer, str) else optimizer
    return names.resolve("optimizer", spelled, Optimizer, _BY_NAME)


names.answer_for(__name__)
