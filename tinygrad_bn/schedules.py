"""Schedules: the learning rate as a function of how many steps have been taken.

    optimizer = SGD(ExponentialDecay(0.1, decay_steps=1000, decay_rate=0.5))

The first step is number 0. Any function of the step's number will do in their place.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np

from tinygrad_bn import names
from tinygrad_bn.errors import SettingError
from tinygrad_bn.module.settings import Described, above_zero, flag, natural, not_below_zero, number, optional


class Schedule(Described):
    """The learning rate of each step: a subclass defines `__call__`."""

    _checks: ClassVar = {"initial_learning_rate": not_below_zero, "decay_steps": above_zero}

    def __call__(self, step: int) -> float:
        """The learning rate of the step with this number; the first is 0."""
        raise NotImplementedError(f"{type(self).__name__} defines no __call__(step)")


class ExponentialDecay(Schedule):
    """initial_learning_rate * decay_rate ** (step / decay_steps).

    Args:
        initial_learning_rate: at least 0.
        decay_steps: after so many steps, `decay_rate` is left of the rate.
        decay_rate: a positive number.
        staircase: round step / decay_steps down, so that the rate falls once in `decay_steps` steps.

    Raises:
        ValueError: an argument lies outside what is allowed.
    """

    _checks: ClassVar = {"decay_rate": above_zero, "staircase": flag}

    def __init__(
        self, initial_learning_rate: float, decay_steps: float, decay_rate: float, staircase: bool = False
    ) -> None:
        self.initial_learning_rate, self.decay_steps = initial_learning_rate, decay_steps
        self.decay_rate, self.staircase = decay_rate, staircase

    def __call__(self, step: int) -> float:
        times = step / self.decay_steps
        return float(self.initial_learning_rate * self.decay_rate ** (math.floor(times) if self.staircase else times))


class PowerDecay(Schedule):
    """initial_learning_rate / (1 + step / decay_steps) ** power.

    Args:
        initial_learning_rate: at least 0.
        decay_steps: with power 1, the rate is halved after so many steps, and a third is left after twice as many.
        power: at least 0.

    Raises:
        ValueError: an argument lies outside what is allowed.

    Reference: Géron (2019), chapter 11, power scheduling.
    """

    _checks: ClassVar = {"power": not_below_zero}

    def __init__(self, initial_learning_rate: float, decay_steps: float, power: float = 1.0) -> None:
        self.initial_learning_rate, self.decay_steps, self.power = initial_learning_rate, decay_steps, power

    def __call__(self, step: int) -> float:
        return float(self.initial_learning_rate / (1 + step / self.decay_steps) ** self.power)


def _numbers(owner: Schedule, name: str, values: Any) -> list[float]:
    if not isinstance(values, (list, tuple, np.ndarray)):
        raise SettingError(f"{type(owner).__name__} expects {name} to be a list of numbers; got {values!r}")
    return [float(number(owner, f"each of {name}", value)) for value in values]


def _boundaries(owner: Schedule, name: str, boundaries: Any) -> list[float]:
    found = _numbers(owner, name, boundaries)
    if found != sorted(set(found)):
        raise SettingError(f"{type(owner).__name__} expects {name} that rise; got {boundaries!r}")
    return found


def _values(owner: Schedule, name: str, values: Any) -> list[float]:
    return [not_below_zero(owner, f"each of {name}", value) for value in _numbers(owner, name, values)]


class PiecewiseConstant(Schedule):
    """values[i] in the steps after boundaries[i - 1], up to boundaries[i] itself.

    Args:
        boundaries: the last step of every value but the last; they rise.
        values: one more than boundaries; each at least 0.

    Raises:
        ValueError: an argument lies outside what is allowed.
    """

    _checks: ClassVar = {"boundaries": _boundaries, "values": _values}
    _agreements = (
        (
            ("boundaries", "values"),
            lambda boundaries, values: len(values) == len(boundaries) + 1,
            "one value more than boundaries",
        ),
    )

    def __init__(self, boundaries: Sequence[float], values: Sequence[float]) -> None:
        self.boundaries: Sequence[float] = boundaries
        self.values: Sequence[float] = values

    def __call__(self, step: int) -> float:
        return self.values[bisect_left(self.boundaries, step)]


class CosineDecay(Schedule):
    """rate * ((1 - alpha) * (1 + cos(pi * step / decay_steps)) / 2 + alpha), and alpha * rate from then on.

    With a warm-up, the rate first rises on a straight line from `initial_learning_rate` to `warmup_target`, in
    `warmup_steps` steps; the decay then starts from there.

    Args:
        initial_learning_rate: at least 0.
        decay_steps: how long the decay takes.
        alpha: the share of the rate that is left in the end.
        warmup_target: what to warm up to; None for no warm-up.
        warmup_steps: how long that takes.

    Raises:
        ValueError: an argument lies outside what is allowed.

    Reference: Loshchilov and Hutter (2017), Eq. 5.
    """

    _checks: ClassVar = {
        "alpha": not_below_zero,
        "warmup_target": optional(not_below_zero),
        "warmup_steps": not_below_zero,
    }
    _agreements = (
        (
            ("warmup_target", "warmup_steps"),
            lambda target, steps: target is not None or not steps,
            "a warmup_target with warmup_steps",
        ),
    )

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        alpha: float = 0.0,
        warmup_target: float | None = None,
        warmup_steps: float = 0,
    ) -> None:
        self.initial_learning_rate, self.decay_steps, self.alpha = initial_learning_rate, decay_steps, alpha
        self.warmup_target = warmup_target
        self.warmup_steps = warmup_steps

    def __call__(self, step: int) -> float:
        start = self.initial_learning_rate
        if self.warmup_target is not None:
            if step < self.warmup_steps:
                return _between(start, self.warmup_target, step / self.warmup_steps)
            start = self.warmup_target
        done = min((step - self.warmup_steps) / self.decay_steps, 1.0)
        return float(start * ((1 - self.alpha) * (1 + math.cos(math.pi * done)) / 2 + self.alpha))


class OneCycle(Schedule):
    """A straight line up from start to max_learning_rate, one down to start, and a short one down to the last rate.

    Args:
        max_learning_rate: the top, half-way through.
        steps: how many the training will have; from then on the rate stays where it is.
        start_learning_rate: None stands for a tenth of the maximum.
        last_steps: the length of the third line; None stands for a tenth of the steps, and one more.
        last_learning_rate: None stands for a thousandth of the start.

    Raises:
        ValueError: an argument lies outside what is allowed.

    Reference: Smith (2018), the 1cycle policy; as in Géron (2019), chapter 11.
    """

    _checks: ClassVar = {
        **dict.fromkeys(("max_learning_rate", "start_learning_rate", "last_learning_rate"), not_below_zero),
        "steps": partial(natural, least=3),
        "last_steps": natural,
    }
    _agreements = ((("steps", "last_steps"), lambda steps, last: last <= steps - 2, "last_steps of at most steps - 2"),)

    def __init__(
        self,
        max_learning_rate: float,
        steps: int,
        *,
        start_learning_rate: float | None = None,
        last_steps: int | None = None,
        last_learning_rate: float | None = None,
    ) -> None:
        self.max_learning_rate, self.steps = max_learning_rate, steps
        self.start_learning_rate = self.max_learning_rate / 10 if start_learning_rate is None else start_learning_rate
        self.last_steps = self.steps // 10 + 1 if last_steps is None else last_steps
        last = self.start_learning_rate / 1000 if last_learning_rate is None else last_learning_rate
        self.last_learning_rate = last

    def __call__(self, step: int) -> float:
        start, half = self.start_learning_rate, (self.steps - self.last_steps) // 2
        if step < half:
            return _between(start, self.max_learning_rate, step / half)
        if step < 2 * half:
            return _between(self.max_learning_rate, start, (step - half) / half)
        return _between(start, self.last_learning_rate, min((step - 2 * half) / (self.steps - 2 * half), 1.0))


def _between(first: float, last: float, share: float) -> float:
    return float((1 - share) * first + share * last)


names.answer_for(__name__)
