"""How an optimizer clips, and what it remembers of that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_bn import names, ops
from tinygrad_bn.clipping import (
    clip_by_value,
    expect_finite,
    gradients_of,
    names_of,
    norm_of,
    scaled,
    shrinkage,
    zeroed,
)
from tinygrad_bn.errors import SettingError
from tinygrad_bn.mode import feed
from tinygrad_bn.module.settings import above_zero
from tinygrad_bn.optimizers.rates import expect_read_outside
from tinygrad_bn.primitives import Array
from tinygrad_bn.variables import Parameter, State

LIMITS = ("clipvalue", "clipnorm", "global_clipnorm")
_POLICIES = ("keep", "raise", "skip", "zero")


class Clipping:
    """Makes the gradients of a step smaller where they are too large, and counts how often it had to.

    What is limited is called the norm: with `clipvalue` the largest absolute value, with `clipnorm` the largest of the
    norms, with `global_clipnorm` the norm of all gradients together; without a limit, the largest absolute value. Norms
    are Euclidean: for another `norm_type` there is `tg.clip_grad_norm`, before the step.

    Args:
        owner: what messages call whoever clips.
        limits: those of `clipvalue`, `clipnorm` and `global_clipnorm` that were given: one at most.
        nonfinite: "keep", "raise", "skip" or "zero", as an optimizer's.
        paths: what messages call parameters, where there is more to say than their names.

    Raises:
        ValueError: an argument lies outside what is allowed.
    """

    def __init__(self, owner: str, limits: Mapping[str, float], nonfinite: str, paths: Mapping[Parameter, str]) -> None:
        if len(limits) > 1:
            raise SettingError(f"{owner} expects at most one of {', '.join(LIMITS)}; got {', '.join(limits)}")
        names.expect("nonfinite", nonfinite, _POLICIES, f"{owner}()")
        self.owner, self.nonfinite, self._paths = owner, nonfinite, paths
        self.kind = next(iter(limits), None)
        self._limit = np.array(np.inf)
        if self.kind is not None:
            self.limit = limits[self.kind]
        self._norm, self._factor = (State(np.array(figure), name="clipping") for figure in (0.0, 1.0))
        self._acted, self._alarms = (State(np.array(0), name="clipping") for _ in range(2))
        self._blamed: dict[tuple[Parameter, ...], State] = {}

    def __repr__(self) -> str:
        limited = "" if self.kind is None else f"{self.kind}={self.limit:g}, "
        return (
            f"<Clipping {limited}nonfinite={self.nonfinite!r}: acted in {self.acted} steps, last norm {self.norm:g} "
            f"times {self.factor:g}, {self.alarms} steps with gradients that were not finite>"
        )

    @property
    def limit(self) -> float:
        """What the norm is kept at most; it can be set at any time."""
        expect_read_outside(self, self.kind or "limit")
        return float(self._limit)

    @limit.setter
    def limit(self, limit: float) -> None:
        if self.kind is None:
            raise SettingError(f"{self.owner} was made without a limit: make a new one with one of {', '.join(LIMITS)}")
        self._limit[...] = above_zero(self.owner, self.kind, limit)

    # What it remembers

    @property
    def norm(self) -> float:
        """The norm of the last step, before clipping."""
        return float(self._norm.item())

    @property
    def factor(self) -> float:
        """The smallest number that any gradient of the last step was multiplied by; 1 where all were left alone."""
        return float(self._factor.item())

    @property
    def acted(self) -> int:
        """In how many steps a gradient was made smaller."""
        return int(self._acted.item())

    @property
    def alarms(self) -> int:
        """In how many steps a gradient was not finite."""
        return int(self._alarms.item())

    @property
    def blamed(self) -> dict[str, int]:
        """Whose gradient was not finite, and in how many steps."""
        found: dict[str, int] = {}
        for parameters, times in self._blamed.items():
            for name, number in zip(names_of(parameters, self._paths), times.tolist(), strict=True):
                if number:
                    found[name] = found.get(name, 0) + number
        return found

    def state_of(self, parameters: Mapping[str, Parameter]) -> dict[str, Any]:
        """A copy of what it has counted; of alarms, those of these parameters, by path."""
        paths = {parameter: path for path, parameter in parameters.items()}
        blamed = Counter[str]()
        for owners, times in self._blamed.items():
            for owner, number in zip(owners, times.tolist(), strict=True):
                if number and owner in paths:
                    blamed[paths[owner]] += number
        return {**{name: figure.numpy() for name, figure in self._figures().items()}, "blamed": dict(blamed)}

    def load_state_of(self, parameters: Mapping[str, Parameter], state: Mapping[str, Any]) -> None:
        """Take over what another's `state_of` kept, for the parameters that have these paths here."""
        blamed = state["blamed"]
        if isinstance(blamed, list):  # older files have places, of several parameters at a time
            known, older = list(parameters), blamed
            blamed = {known[place]: n for places, times in older for place, n in zip(places, times, strict=True)}
        for name, figure in self._figures().items():
            figure.assign(state[name], "load_state_of")
        for times in self._blamed.values():
            times.assign(0, "load_state_of")
        for path in blamed.keys() & parameters.keys():
            owners = (parameters[path],)
            self._blamed.setdefault(owners, _no_alarms(owners)).assign(blamed[path], "load_state_of")

    def _figures(self) -> dict[str, State]:
        return {"norm": self._norm, "factor": self._factor, "acted": self._acted, "alarms": self._alarms}

    # A step

    def __call__(self, parameters: Iterable[Parameter], gradients: Sequence[Array]) -> tuple[Sequence[Array], Any]:
        """The gradients of these parameters, clipped, and whether the step is to be taken: it is for `mode.guard`.

        Raises:
            FloatingPointError: a gradient is not finite, and `nonfinite` is "raise"; the message names its parameter.
        """
        owners, finite = tuple(parameters), None
        if self.nonfinite == "zero":
            finite = ops.stack([ops.all(ops.isfinite(gradient)) for gradient in gradients])
            gradients = [zeroed(gradient) for gradient in gradients]
        norms = [norm_of(gradient, np.inf if self.kind in (None, "clipvalue") else 2) for gradient in gradients]
        if self.nonfinite == "raise":
            expect_finite(self.owner, gradients_of(owners, self._paths), norms)
        together = ops.stack(norms)
        norm = norm_of(together, 2 if self.kind == "global_clipnorm" else np.inf)
        if finite is None:
            finite = ops.isfinite(together)
        good = ops.all(finite)
        self._norm.assign(norm, self.owner)
        self._blame(owners, finite, good)
        if self.kind is not None:
            gradients = self._limited(gradients, norms, norm if self.kind == "global_clipnorm" else _largest(together))
        return gradients, good if self.nonfinite == "skip" else True

    def _blame(self, owners: tuple[Parameter, ...], finite: Array, good: Array) -> None:
        """Count a step with gradients that are not finite, and whose they are."""
        if owners not in self._blamed:
            self._blamed[owners] = _no_alarms(owners)
        for counts, passed in ((self._alarms, good), (self._blamed[owners], finite)):
            counts.assign(counts + ops.discretize(ops.logical_not(passed), dtype="int64"), self.owner)

    def _limited(self, gradients: Sequence[Array], norms: Sequence[Array], largest: Array) -> Sequence[Array]:
        """The gradients, made smaller where they are too large; `largest` is the largest norm that has a say in it."""
        limit = feed(self._limit)
        factor = shrinkage(largest, limit)
        self._factor.assign(factor, self.owner)
        self._acted.assign(self._acted + ops.discretize(factor < 1.0, dtype="int64"), self.owner)
        if self.kind == "clipvalue":
            return [clip_by_value(gradient, ops.astype(limit, dtype=gradient.dtype)) for gradient in gradients]
        factors = [shrinkage(own, limit) for own in norms] if self.kind == "clipnorm" else [factor] * len(gradients)
        return [scaled(gradient, factor) for gradient, factor in zip(gradients, factors, strict=True)]


def _no_alarms(owners: Sequence[Parameter]) -> State:
    return State(np.zeros(len(owners), np.int64), name="clipping")


def _largest(norms: Array) -> Array:
    """The largest of the norms that are finite; 0 where none is."""
    return ops.max(ops.where(ops.isfinite(norms), norms, 0.0))
