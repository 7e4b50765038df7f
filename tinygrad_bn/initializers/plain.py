"""Initializers whose law does not look at the fans."""

from __future__ import annotations

import math
from operator import le
from typing import ClassVar

from tinygrad_bn.errors import ShapeError
from tinygrad_bn.initializers import laws
from tinygrad_bn.initializers.base import Initializer
from tinygrad_bn.initializers.laws import Law, Shape
from tinygrad_bn.module.settings import not_below_zero, real


class Constant(Initializer):
    """Every element is `value`."""

    _checks: ClassVar = {"value": real}

    def __init__(self, value: float = 0.0) -> None:
        self.value = value

    def law(self, shape: Shape) -> Law:
        return laws.constant(self.value)


class Zeros(Constant):
    """Every element is 0."""

    _settled = ("value",)

    def __init__(self) -> None:
        super().__init__(0.0)


class Ones(Constant):
    """Every element is 1."""

    _settled = ("value",)

    def __init__(self) -> None:
        super().__init__(1.0)


class RandomNormal(Initializer):
    """mean + stddev * z with z standard normal."""

    _checks: ClassVar = {"mean": real, "stddev": not_below_zero}

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        super().__init__(seed)
        self.mean, self.stddev = mean, stddev

    def law(self, shape: Shape) -> Law:
        return laws.normal(self.mean, self.stddev)


class TruncatedNormal(RandomNormal):
    """mean + stddev * z with z standard normal within [-2, 2]: `stddev` is that of the law before it is truncated."""

    def law(self, shape: Shape) -> Law:
        return laws.truncated_normal(self.mean, self.stddev)


class RandomUniform(Initializer):
    """Uniform from minval to maxval."""

    _checks: ClassVar = {"minval": real, "maxval": real}
    _agreements = ((("minval", "maxval"), le, "minval not above maxval"),)

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None) -> None:
        super().__init__(seed)
        self.minval, self.maxval = minval, maxval

    def law(self, shape: Shape) -> Law:
        return laws.uniform(self.minval, self.maxval)


class Orthogonal(Initializer):
    """gain * Q, with orthonormal columns or rows, whichever are fewer; axes before the last count as one.

    Q is uniform among all such matrices.  Reference: Saxe et al. (2014).
    """

    _checks: ClassVar = {"gain": real}

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        super().__init__(seed)
        self.gain = gain

    def law(self, shape: Shape) -> Law:
        if len(shape) < 2:
            raise ShapeError(f"Orthogonal expects a shape of at least 2 axes; got {shape}")
        return laws.orthogonal(self.gain, math.prod(shape[:-1]), shape[-1])
