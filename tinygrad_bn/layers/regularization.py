"""Layers that disturb the signal in training, and let it pass in inference."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tinygrad_bn import ops
from tinygrad_bn.layers.base import RandomLayer
from tinygrad_bn.module.settings import not_below_zero, number
from tinygrad_bn.ops.random import normal


def _rate(layer: Any, name: str, rate: Any) -> float:
    return float(number(layer, name, rate, "a number in [0, 1)", lambda r: 0 <= r < 1))


class Dropout(RandomLayer):
    """In training x / (1 - rate) with probability 1 - rate, else 0, element by element.

    Reference: Srivastava et al. (2014).
    """

    _checks: ClassVar = {"rate": _rate}

    def __init__(
        self, rate: float, seed: int | None = None, rng: np.random.Generator | None = None, **options: Any
    ) -> None:
        super().__init__(seed, rng, **options)
        self.rate = rate

    def forward(self, x: Any) -> Any:
        return ops.dropout(x, self.rate, rng=self._rng) if self.rate and self.in_training else x


class AlphaDropout(Dropout):
    """Dropout for SELU: in training it keeps mean 0 and variance 1.  Reference: Klambauer et al. (2017)."""

    def forward(self, x: Any) -> Any:
        return ops.alpha_dropout(x, self.rate, rng=self._rng) if self.rate and self.in_training else x


class GaussianNoise(RandomLayer):
    """In training x + stddev * z with z standard normal."""

    _checks: ClassVar = {"stddev": not_below_zero}

    def __init__(
        self, stddev: float, seed: int | None = None, rng: np.random.Generator | None = None, **options: Any
    ) -> None:
        super().__init__(seed, rng, **options)
        self.stddev = stddev

    def forward(self, x: Any) -> Any:
        if not (self.stddev and self.in_training):
            return x
        rng = ops.generator(self._rng, stream="gaussian_noise")
        return x + self.stddev * normal(shape=x.shape, dtype=x.dtype, rng=rng)
