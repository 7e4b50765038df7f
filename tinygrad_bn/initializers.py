"""Initializers: the laws that weights are drawn from before training.

A kernel is (fan_in, fan_out). One class, `VarianceScaling`, is the only code of the Glorot, He and LeCun families.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from tinygrad_bn import names, ops
from tinygrad_bn.errors import SettingError, ShapeError
from tinygrad_bn.module.settings import floating, number

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

Generator = np.random.Generator
Shape = tuple[int, ...]

TRUNCATED_STDDEV = 0.87962566103423978
"""The standard deviation of a standard normal variable that is kept only within [-2, 2]."""


class Report(NamedTuple):
    """The law that the elements of an array are drawn from."""

    law: str
    variance: float
    bounds: tuple[float, float]
    fan: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return self._asdict()

    def __str__(self) -> str:
        fan = "" if self.fan is None else f", fan {self.fan:g}"
        return f"{self.law}, variance {self.variance:.4g}{fan}, within [{self.bounds[0]:.4g}, {self.bounds[1]:.4g}]"


class Initializer:
    """Draws arrays. With a `seed` every call starts from it, and gives the same values; else every call draws anew."""

    seed: int | None = None

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

    def draw(self, shape: Shape, rng: Generator) -> NDArray[Any]:
        """A float64 array of this shape."""
        raise NotImplementedError(f"{type(self).__name__} defines no draw(shape, rng)")

    def report(self, shape: Sequence[int]) -> Report:
        """The law that an array of this shape is drawn from."""
        raise NotImplementedError(f"{type(self).__name__} defines no report(shape)")

    def __repr__(self) -> str:
        code = type(self).__init__.__code__
        given = {name: getattr(self, name) for name in code.co_varnames[1 : code.co_argcount]}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in given.items())})"

    def _lengths(self, shape: Sequence[int]) -> Shape:
        try:
            lengths = tuple(length.__index__() for length in shape)
        except (TypeError, AttributeError):
            lengths = (-1,)
        if min(lengths, default=0) < 0:
            raise ShapeError(f"{type(self).__name__} expects a shape, a sequence of lengths; got {shape!r}")
        return lengths


def _truncated(shape: Shape, rng: Generator) -> NDArray[Any]:
    """Standard normal values; those beyond 2 are drawn again until there are none."""
    drawn = rng.standard_normal(shape)
    while (beyond := np.abs(drawn) > 2).any():
        drawn[beyond] = rng.standard_normal(np.count_nonzero(beyond))
    return drawn


class _Distribution(NamedTuple):
    """A distribution of mean 0 and variance 1."""

    law: str
    draw: Callable[[Shape, Generator], NDArray[Any]]
    bound: float


_DISTRIBUTIONS = {
    "truncated_normal": _Distribution(
        "normal truncated at 2 standard deviations",
        lambda shape, rng: _truncated(shape, rng) / TRUNCATED_STDDEV,
        2 / TRUNCATED_STDDEV,
    ),
    "untruncated_normal": _Distribution("normal", lambda shape, rng: rng.standard_normal(shape), math.inf),
    "uniform": _Distribution("uniform", lambda shape, rng: math.sqrt(3) * rng.uniform(-1, 1, shape), math.sqrt(3)),
}
_DISTRIBUTIONS["normal"] = _DISTRIBUTIONS["truncated_normal"]


class VarianceScaling(Initializer):
    """Mean 0 and variance scale / max(1, fan), whatever the distribution.

    Args:
        scale: a positive number.
        mode: which fan: "fan_in", "fan_out", or "fan_avg", the mean of the two.
        distribution: "truncated_normal", also called "normal": truncated at 2 standard deviations of a normal law wide
            enough for the variance to come out right; "untruncated_normal"; or "uniform".
        seed: makes every call give the same values.

    Raises:
        SettingError: one of these is not among the choices.

    Reference: Glorot and Bengio (2010), Eq. 12 and 16; He et al. (2015), Eq. 10 and 14.
    """

    modes: ClassVar[tuple[str, ...]] = ("fan_in", "fan_out", "fan_avg")

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
    ) -> None:
        for kind, name, choices in (("mode", mode, self.modes), ("distribution", distribution, _DISTRIBUTIONS)):
            if name not in choices:
                raise SettingError(names.unknown(kind, name, choices, type(self).__name__))
        self.scale = number(self, "scale", scale, "a number above 0", lambda s: s > 0)
        self.mode = mode
        self.distribution = distribution
        self.seed = seed

    def draw(self, shape: Shape, rng: Generator) -> NDArray[Any]:
        return _DISTRIBUTIONS[self.distribution].draw(shape, rng) * math.sqrt(self.report(shape).variance)

    def report(self, shape: Sequence[int]) -> Report:
        fan_in, fan_out = fans(self._lengths(shape))
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, fan)
        distribution = _DISTRIBUTIONS[self.distribution]
        bound = distribution.bound * math.sqrt(variance)
        return Report(distribution.law, variance, (-bound, bound), fan)


def fans(shape: Shape) -> tuple[int, int]:
    """fan_in and fan_out: of a kernel (fan_in, fan_out), times the size of the receptive field in front, if any.

    A vector has its length for both, a number has 1.
    """
    if len(shape) < 2:
        return math.prod(shape), math.prod(shape)
    field = math.prod(shape[:-2])
    return field * shape[-2], field * shape[-1]


class _Named(VarianceScaling):
    """A `VarianceScaling` with a name."""

    parameters: ClassVar[tuple[float, str, str]]

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(*self.parameters, seed)


class GlorotUniform(_Named):
    """Uniform, variance 1 / fan_avg: within sqrt(3 / fan_avg).  Reference: Glorot and Bengio (2010), Eq. 16."""

    parameters = 1.0, "fan_avg", "uniform"


class GlorotNormal(_Named):
    """Truncated normal, variance 1 / fan_avg.  Reference: Glorot and Bengio (2010), Eq. 12."""

    parameters = 1.0, "fan_avg", "truncated_normal"


class HeUniform(_Named):
    """Uniform, variance 2 / fan_in: within sqrt(6 / fan_in).  Reference: He et al. (2015), Eq. 10."""

    parameters = 2.0, "fan_in", "uniform"


class HeNormal(_Named):
    """Truncated normal, variance 2 / fan_in.  Reference: He et al. (2015), Eq. 10."""

    parameters = 2.0, "fan_in", "truncated_normal"


class LecunUniform(_Named):
    """Uniform, variance 1 / fan_in: within sqrt(3 / fan_in).  Reference: LeCun et al. (1998), section 4.6."""

    parameters = 1.0, "fan_in", "uniform"


class LecunNormal(_Named):
    """Truncated normal, variance 1 / fan_in.  Reference: LeCun et al. (1998), section 4.6."""

    parameters = 1.0, "fan_in", "truncated_normal"


class Constant(Initializer):
    """Every element is `value`."""

    def __init__(self, value: float = 0.0) -> None:
        self.value = number(self, "value", value)

    def draw(self, shape: Shape, rng: Generator) -> NDArray[Any]:
        return np.full(shape, self.value, np.float64)

    def report(self, shape: Sequence[int]) -> Report:
        return Report(f"constant {self.value:g}", 0.0, (self.value, self.value))


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
        self.mean: float = number(self, "mean", mean)
        self.stddev: float = number(self, "stddev", stddev, "a number not below 0", lambda s: s >= 0)
        self.seed = seed

    def draw(self, shape: Shape, rng: Generator) -> NDArray[Any]:
        return self.mean + self.stddev * rng.standard_normal(shape)

    def report(self, shape: Sequence[int]) -> Report:
        return Report("normal", self.stddev**2, (-math.inf, math.inf))


class TruncatedNormal(RandomNormal):
    """mean + stddev * z with z standard normal within [-2, 2]: `stddev` is that of the law before it is truncated."""

    def draw(self, shape: Shape, rng: Generator) -> NDArray[Any]:
        return self.mean + self.stddev * _truncated(shape, rng)

    def report(self, shape: Sequence[int]) -> Report:
        bounds = (self.mean - 2 * self.stddev, self.mean + 2 * self.stddev)
        return Report(_DISTRIBUTIONS["truncated_normal"].law, (TRUNCATED_STDDEV * self.stddev) ** 2, bounds)


class RandomUniform(Initializer):
    """Uniform in [minval, maxval)."""

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None) -> None:
        self.minval = number(self, "minval", minval)
        self.maxval = number(self, "maxval", maxval, f"a number not below minval={minval!r}", lambda m: m >= minval)
        self.seed = seed

    def draw(self, shape: Shape, rng: Generator) -> NDArray[Any]:
        return rng.uniform(self.minval, self.maxval, shape)

    def report(self, shape: Sequence[int]) -> Report:
        return Report("uniform", (self.maxval - self.minval) ** 2 / 12, (self.minval, self.maxval))


class Orthogonal(Initializer):
    """gain * Q, with orthonormal columns or rows, whichever are fewer; axes before the last count as one.

    Q is uniform among all such matrices.  Reference: Saxe et al. (2014); Mezzadri (2007) for the signs.
    """

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        self.gain: float = number(self, "gain", gain)
        self.seed = seed

    def draw(self, shape: Shape, rng: Generator) -> NDArray[Any]:
        rows, columns = self._matrix(shape)
        q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
        q = q * np.sign(np.diagonal(r))
        orthogonal: NDArray[Any] = self.gain * (q if rows >= columns else q.T)
        return orthogonal.reshape(shape)

    def report(self, shape: Sequence[int]) -> Report:
        variance = self.gain**2 / max(1, *self._matrix(self._lengths(shape)))
        return Report("orthogonal", variance, (-abs(self.gain), abs(self.gain)))

    def _matrix(self, shape: Shape) -> tuple[int, int]:
        if len(shape) < 2:
            raise ShapeError(f"Orthogonal expects a shape of at least 2 axes; got {shape}")
        return math.prod(shape[:-1]), shape[-1]


_KINDS: dict[str, type[Initializer]] = {
    re.sub("(?<!^)(?=[A-Z])", "_", name).lower(): kind
    for name, kind in list(globals().items())
    if isinstance(kind, type) and issubclass(kind, Initializer) and kind not in (Initializer, _Named)
}


def get(initializer: str | Initializer | type[Initializer], where: str = "") -> Initializer:
    """The initializer of a snake_case name such as "he_normal", of a class, or itself.

    Raises:
        SettingError: `where` was given something else; the message lists the names.
    """
    if isinstance(initializer, Initializer):
        return initializer
    if isinstance(initializer, type) and issubclass(initializer, Initializer):
        return initializer()
    return names.chosen("initializer", initializer, _KINDS, where)()
