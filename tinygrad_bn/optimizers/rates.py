"""Rates: the numbers that an optimizer computes with, as floats to read and set, and as arrays for the update rules."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from tinygrad_bn.callers import is_ours
from tinygrad_bn.errors import SettingError
from tinygrad_bn.mode import changed, current, expect_outside
from tinygrad_bn.module.settings import number
from tinygrad_bn.names import Answering

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tinygrad_bn.optimizers.base import Optimizer


def expect_read_outside(owner: object, name: str) -> None:
    """Raise, while a step is being captured, that the user's text reads a number which a replay would not read anew.

    Our own texts may read it: what they compute for a step is fed to it.
    """
    if current().recorder is not None and not is_ours(sys._getframe(2)):
        expect_outside(f"reading {name} of {type(owner).__name__} (give the number to it as an argument)")


class Rate(Answering):
    """A number that an optimizer computes with, from 0 to `below`: a float to read, and to set at any time.

    Update rules get it as an array of 0 dimensions in the parameter's dtype: one array for good, whose value is
    rewritten. None stands for "not at all", where it is `optional`.
    """

    def __init__(self, *, below: float = np.inf, optional: bool = False) -> None:
        self.below = below
        self.optional = optional

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, optimizer: None, owner: type) -> Rate: ...
    @overload
    def __get__(self, optimizer: Optimizer, owner: type) -> float: ...
    def __get__(self, optimizer: Optimizer | None, owner: type) -> Any:
        if optimizer is None:
            return self
        expect_read_outside(optimizer, self.name)
        return optimizer._rates[self.name]

    def __set__(self, optimizer: Optimizer, value: float | None) -> None:
        expect_outside(f"setting {self.name}")
        optimizer._set_rates({self.name: self.checked(value, type(optimizer).__name__)})

    def checked(self, value: Any, owner: str) -> float | None:
        """`value` as a float.

        Raises:
            SettingError: it is not a number from 0 to `below`.
        """
        if value is None and self.optional:
            return None
        if isinstance(value, np.ndarray) and value.size == 1:
            value = value.item()
        allowed = f"a number in [0, {self.below:g})" if self.below < np.inf else "a finite number not below 0"
        return float(number(owner, self.name, value, allowed, lambda rate: 0 <= rate < self.below))


class LearningRate(Rate):
    """The rate that may follow a schedule: it reads as the float of the present step."""

    def __get__(self, optimizer: Optimizer | None, owner: type) -> Any:
        if optimizer is None:
            return self
        expect_read_outside(optimizer, self.name)
        return optimizer.rate_at(optimizer.iterations)

    def __set__(self, optimizer: Optimizer, value: float | Callable[[int], float] | None) -> None:
        expect_outside(f"setting {self.name}")
        schedule = value if callable(value) and not isinstance(value, type) else None
        rate = self.checked(value if schedule is None else schedule(optimizer.iterations), type(optimizer).__name__)
        optimizer._schedule = schedule
        changed()
        optimizer._set_rates({self.name: rate})


class Limit:
    """One of the limits of clipping: None where another or none was given; a float to read, and to set at any time."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, optimizer: Optimizer | None, owner: type) -> Any:
        if optimizer is None:
            return self
        expect_read_outside(optimizer, self.name)
        clipping = optimizer.clipping
        return clipping.limit if clipping is not None and clipping.kind == self.name else None

    def __set__(self, optimizer: Optimizer, limit: float) -> None:
        clipping = optimizer.clipping
        if clipping is None or clipping.kind != self.name:
            owner = type(optimizer).__name__
            raise SettingError(f"{owner} was made without {self.name}: make a new one, {owner}({self.name}={limit!r})")
        clipping.limit = limit


class Numbers:
    """What update rules compute with: arrays of 0 dimensions, for good, rewritten when their numbers change.

    Args:
        of: the numbers of a step, by name.

    Attributes:
        counter: the number of the next step, in an array of no dimensions; the first is 0.
        vary: whether they differ from step to step.
    """

    def __init__(self, of: Callable[[int], dict[str, float]]) -> None:
        self.of = of
        self.counter = np.array(0)
        self.vary = True
        self._arrays: dict[tuple[np.dtype[Any], int], dict[str, NDArray[Any]]] = {}
        self._written: dict[int, dict[str, float]] = {}
        self._reasons: dict[int, int] = {}

    def arrays(self, dtype: np.dtype[Any], place: int = 0) -> dict[str, NDArray[Any]]:
        """Those of the next step. Steps whose numbers have to stand side by side say at which place theirs do."""
        self.write(place)
        if (dtype, place) not in self._arrays:
            self._arrays[dtype, place] = {name: np.array(n, dtype) for name, n in self._written[place].items()}
        return self._arrays[dtype, place]

    def write(self, place: int = 0, ahead: int = 0) -> None:
        """Write what has changed into the arrays at a place: the numbers of the step so many ahead of the next."""
        step = int(self.counter) + ahead
        reason = step if self.vary else 0
        if self._reasons.get(place) == reason:
            return
        numbers, known = self.of(step), self._written.get(place, {})
        changed = [name for name, n in numbers.items() if n != known.get(name)]
        for (_, other), arrays in self._arrays.items():
            if other == place:
                for name in changed:
                    arrays[name][...] = numbers[name]
        self._written[place], self._reasons[place] = numbers, reason

    def rewrite(self) -> None:
        """The rates have changed: write all arrays."""
        self._reasons.clear()
        for place in list(self._written):
            self.write(place)

    def clear(self) -> None:
        """Other names have numbers now: make new arrays."""
        for made in (self._arrays, self._written, self._reasons):
            made.clear()
