"""What all initializers share: shapes, generators, settings and the report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tinygrad_bn import ops
from tinygrad_bn.errors import ShapeError
from tinygrad_bn.initializers.laws import Generator, Law, Shape
from tinygrad_bn.initializers.report import Report
from tinygrad_bn.module.settings import Described, floating, natural, optional

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray


class Initializer(Described):
    """Draws arrays. With a `seed` every call starts from it, and gives the same values; else every call draws anew.

    A subclass says in `law` what it draws from, or only draws, in `draw`. It keeps the arguments of its constructor
    under their own names.
    """

    seed: int | None = None
    _checks: ClassVar = {"seed": optional(partial(natural, least=0))}

    def __init__(self, seed: int | None = None) -> None:
        self.seed = seed

    def __call__(
        self, shape: Sequence[int], *, rng: Generator | None = None, dtype: DTypeLike = np.float32
    ) -> NDArray[Any]:
        """An array of this shape.

        Args:
            shape: the length of each axis; a kernel is (fan_in, fan_out).
            rng: where to draw from; None: from the seed, or else from the shared generator.
            dtype: of the result; the values are the same for each, but for rounding.

        Raises:
            ShapeError: `shape` is not made of lengths, or the law has no meaning for it.
            SettingError: `dtype` is not floating.
        """
        dtype = floating(self, dtype)
        return self.draw(self._lengths(shape), ops.generator(rng, self.seed)).astype(dtype)

    def law(self, shape: Shape) -> Law:
        """What an array of this shape is drawn from."""
        raise NotImplementedError(f"{type(self).__name__} defines no law(shape)")

    def draw(self, shape: Shape, rng: Generator) -> NDArray[Any]:
        """A float64 array of this shape."""
        return self.law(shape).draw(shape, rng)

    def report(self, shape: Sequence[int]) -> Report:
        """The law that an array of this shape is drawn from, in numbers, as a table and as a picture.

        Raises:
            ShapeError: `shape` is not made of lengths, or the law has no meaning for it.
        """
        lengths = self._lengths(shape)
        return Report(self, lengths, self.law(lengths), *fans(lengths), self._fan(lengths))

    def settings(self) -> dict[str, tuple[Any, Any]]:
        """Value and default of each argument of the constructor: an initializer made of the values is the same."""
        from inspect import signature  # only those who look pay for its import

        arguments = signature(type(self)).parameters.values()
        return {each.name: (vars(self)[each.name], each.default) for each in arguments if each.name in vars(self)}

    def _fan(self, shape: Shape) -> float | None:
        """The fan that the variance depends on, if it does."""
        return None

    def _lengths(self, shape: Sequence[int]) -> Shape:
        try:
            lengths = tuple(length.__index__() for length in shape)
        except (TypeError, AttributeError):
            lengths = (-1,)
        if min(lengths, default=0) < 0:
            raise ShapeError(f"{type(self).__name__} expects a shape, a sequence of lengths; got {shape!r}")
        return lengths


def fans(shape: Shape) -> tuple[int, int]:
    """fan_in and fan_out: of a kernel (fan_in, fan_out), times the size of the receptive field in front, if any.

    A vector has its length for both, a number has 1.
    """
    if len(shape) < 2:
        return math.prod(shape), math.prod(shape)
    field = math.prod(shape[:-2])
    return field * shape[-2], field * shape[-1]
