"""Initializers whose law does not look at the fans."""

from __future__ import annotations

import math

from tinygrad_bn.errors import ShapeError
from tinygrad_bn.initializers import laws
from tinygrad_bn.initializers.base import Initializer
from tinygrad_bn.initializers.laws import Law, Shape
from tinygrad_bn.module.settings import not_below_zero, number


class Constant(Initializer):
    """Every element is `value`."""

    def __init__(self, value: float = 0.0) -> None:
        self.value = float(number(self, "value", value))

    def law(self, shape: Shape) -> Law:
        return laws.constant(self.value)


class Zeros(Constant):
    """Every element is 0."""

    def __init__(self) -> None:
        super().__init__(0.0)


class Ones(Constant):
    """Every element is 1."""

    def __init__(self) -> None:
        super().__init__(1.0)


class RandomNormal(Initializer):
    """mean + stddev * z with z standard normal."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        super().__init__(seed)
        self.mean = float(number(self, "mean", mean))
        self.stddev = not_below_zero(self, "stddev", stddev)

    def law(self, shape: Shape) -> Law:
        return laws.normal(self.mean, self.stddev)


class TruncatedNormal(RandomNormal):
    """mean + stddev * z with z standard normal within [-2, 2]: `stddev` is that of the law before it is truncated."""

    def law(self, shape: Shape) -> Law:
        return laws.truncated_normal(self.mean, self.stddev)


class RandomUniform(Initializer):
    """Uniform from minval to maxval."""

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None) -> None:
        super().__init__(seed)
        self.minval = float(number(self, "minval", minval))
        expected = f"a number not below minval={minval!r}"
        self.maxval = float(number(self, "maxval", maxval, expected, lambda m: m >= minval))

    def law(self, shape: Shape) -> Law:
        return laws.uniform(self.minval, self.maxval)


class Orthogonal(Initializer):
    """gain * Q, with orthonormal columns or rows, whichever are fewer; axes before the last count as one.

    Q is uniform among all such matrices.  Reference: Saxe et al. (2014).
    """

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        super().__init__(seed)
        self.gain = float(number(self, "gain", gain))

    def law(self, shape: Shape) -> Law:
        if len(shape) < 2:
            raise ShapeError(f"Orthogonal expects a shape of at least 2 axes; got {shape}")
        return laws.orthogonal(self.gain, math.prod(shape[:-1]), shape[-1])
