"""Variance scaling: the only code of the Glorot, He and LeCun families."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar, Final

from tinygrad_bn.initializers import laws
from tinygrad_bn.initializers.base import Initializer, fans
from tinygrad_bn.initializers.laws import TRUNCATED_STDDEV, Law, Shape
from tinygrad_bn.module.settings import above_zero, one_of

_DISTRIBUTIONS: Final[dict[str, Callable[[float], Law]]] = {
    "truncated_normal": lambda stddev: laws.truncated_normal(0.0, stddev / TRUNCATED_STDDEV),
    "untruncated_normal": lambda stddev: laws.normal(0.0, stddev),
    "uniform": lambda stddev: laws.uniform(-math.sqrt(3) * stddev, math.sqrt(3) * stddev),
}
"""By name, the law of mean 0 with this standard deviation."""


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
    distributions: ClassVar[tuple[str, ...]] = (*_DISTRIBUTIONS, "normal")
    _checks: ClassVar = {"scale": above_zero, "mode": one_of(*modes), "distribution": one_of(*distributions)}

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
    ) -> None:
        super().__init__(seed)
        self.scale, self.mode, self.distribution = scale, mode, distribution

    def law(self, shape: Shape) -> Law:
        """Mean 0 and variance scale / max(1, fan)."""
        name = "truncated_normal" if self.distribution == "normal" else self.distribution
        variance = self.scale / max(1.0, self._fan(shape))
        return _DISTRIBUTIONS[name](math.sqrt(variance))._replace(variance=variance)  # not rounded on the way

    def _fan(self, shape: Shape) -> float:
        fan_in, fan_out = fans(shape)
        return {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]


class _Named(VarianceScaling):
    """A `VarianceScaling` with a name."""

    parameters: ClassVar[tuple[float, str, str]]
    _settled = ("scale", "mode", "distribution")

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
