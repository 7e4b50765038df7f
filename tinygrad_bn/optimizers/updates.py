"""How a step is carried out: every large parameter by itself, small ones side by side as one flat array."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_bn.capturing.inplace import InPlace
from tinygrad_bn.capturing.keys import users_classes
from tinygrad_bn.capturing.observing import Observer
from tinygrad_bn.capturing.surroundings import Settings, Surroundings
from tinygrad_bn.mode import undone_on_error
from tinygrad_bn.optimizers.penalties import constrained
from tinygrad_bn.variables import Parameter, Variable, side_by_side, written

if TYPE_CHECKING:  # numpy.typing costs more to import than all of ours
    from numpy.typing import NDArray

    from tinygrad_bn.optimizers.base import Optimizer

_SMALL = 2**14
"""Up to so many elements, bringing a gradient to the others costs less than the calls of an update of its own."""

Row = tuple[Variable, ...]
"""A parameter and its slots."""


class StepInPlace:
    """The steps of an optimizer that overwrite its parameters and slots."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self._rules: dict[bool, InPlace] = {}
        self._plans: dict[tuple[Parameter, ...], list[Update]] = {}
        self._around: Settings | None = None
        self._runs_text = False
        self._moves = -1

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_rules": {}, "_plans": {}, "_around": None}  # they are made anew when needed

    def __call__(self, learned: tuple[Parameter, ...], gradients: Sequence[NDArray[Any]]) -> None:
        """Overwrite these, from their gradients."""
        if self._around is not None and not self._around.hold():
            self.clear()
        plan = self._plans.get(learned) if self._moves == Variable.moves else None
        if plan is None:
            plan = self._plan(learned)
        if self._runs_text:
            with undone_on_error():
                self._run(plan, gradients)
        else:
            self._run(plan, gradients)
        for parameter in learned:
            if parameter._constraint is not None:
                parameter.assign(constrained(self.optimizer, parameter, parameter.value), self.optimizer._name)

    def _run(self, plan: list[Update], gradients: Sequence[NDArray[Any]]) -> None:
        for update in plan:
            update.run(gradients, self.optimizer._name)

    def clear(self) -> None:
        """The text has changed, or what it works on."""
        self._rules.clear()
        self._plans.clear()
        self._around = None

    def _plan(self, learned: tuple[Parameter, ...]) -> list[Update]:
        """The updates that make up a step; they are good until the text changes or a variable is moved."""
        if self._around is None and users_classes(type(self.optimizer)):
            ran = Observer(self._found)
            found: list[Update] = ran(learned)
            self._around = Settings(Surroundings(ran, [self.optimizer]))  # and what its text looks up
        else:
            found = self._found(learned)
        if self._moves != Variable.moves:  # others have moved some since, or this has just now
            self._plans.clear()
            self._moves = Variable.moves
        self._plans[learned] = found
        self._runs_text = any(rule.copies for rule in self._rules.values())  # NumPy's calls in place do not fail
        return found

    def _found(self, learned: tuple[Parameter, ...]) -> list[Update]:
        return [
            update
            for kind, positions in kinds(self.optimizer, learned).items()
            for update in self._updates(learned, positions, *kind)
        ]

    def _updates(
        self, learned: tuple[Parameter, ...], positions: list[int], dtype: np.dtype[Any], decays: bool
    ) -> list[Update]:
        optimizer = self.optimizer
        numbers = optimizer._numbers.arrays(dtype)
        if decays not in self._rules:
            self._rules[decays] = InPlace(partial(optimizer._text, len(optimizer.slots), tuple(numbers), decays))
        rows = [optimizer._row(learned[position]) for position in positions]
        return updates(self._rules[decays], rows, list(numbers.values()), positions)


def kinds(optimizer: Optimizer, learned: Iterable[Parameter]) -> dict[tuple[np.dtype[Any], bool], list[int]]:
    """The positions of the parameters that can be updated together: of one dtype, and decaying or not."""
    found: dict[tuple[np.dtype[Any], bool], list[int]] = {}
    for position, parameter in enumerate(learned):
        found.setdefault((parameter.dtype, optimizer.decays(parameter)), []).append(position)
    return found


class Update:
    """One run of an update rule.

    Args:
        rows: a parameter with its slots, or several in one.
        targets: the arrays that are overwritten: the parameters' values, and those of each slot.
        program: overwrites the targets, from themselves, the gradient and the rates.
        positions: which gradients of the step belong to it.
    """

    def __init__(
        self,
        rows: Iterable[Row],
        targets: list[NDArray[Any]],
        program: Callable[..., None],
        rates: Iterable[NDArray[Any]],
        positions: list[int],
    ) -> None:
        self.variables = [variable for row in rows for variable in row]
        self._run = program
        self._targets, self._rates = targets, list(rates)
        self._own: Callable[[Sequence[NDArray[Any]]], Any] = itemgetter(*positions)
        self._gathered = np.empty_like(targets[0]) if len(positions) > 1 else None

    def run(self, gradients: Sequence[NDArray[Any]], writer: str) -> None:
        """Overwrite the variables, in the name of `writer`."""
        if self._gathered is None:
            gradient = self._own(gradients)
        else:
            gradient = self._gathered
            np.concatenate(self._own(gradients), axis=None, out=gradient)
        written(self.variables, writer)
        self._run(*self._targets, gradient, *self._rates)


def updates(rule: InPlace, rows: Sequence[Row], rates: Sequence[NDArray[Any]], positions: list[int]) -> list[Update]:
    """The updates by `rule` of the rows, which have one dtype; `positions` are those of their gradients."""
    found = []
    for group in _groups(rule, rows, rates):
        targets = _flat([rows[member] for member in group])
        assert targets is not None
        program = rule.program(targets, [targets[0], *rates])
        found.append(Update([rows[member] for member in group], targets, program, rates, [positions[m] for m in group]))
    return found


def _groups(rule: InPlace, rows: Sequence[Row], rates: Sequence[NDArray[Any]]) -> list[list[int]]:
    """Which rows are updated in one, where they have been moved next to each other."""
    shapes = [[variable.value for variable in row] for row in rows]
    shapes.append([np.concatenate([value.ravel()] * 2) for value in shapes[0]])  # flat, as they would be in one
    formulas = {rule.formula(values, [values[0], *rates]) for values in shapes}
    if len(formulas) > 1 or None in formulas:
        return [[member] for member in range(len(rows))]
    order = lay_out(rows)
    large = [[member] for member in order if rows[member][0].size > _SMALL]
    small: dict[int, list[int]] = {}
    for member in order[len(large) :]:
        small.setdefault(id(rows[member][0].value.base), []).append(member)
    for group in small.values():
        large += [group] if _flat([rows[member] for member in group]) else [[member] for member in group]
    return large


def lay_out(rows: Sequence[Row]) -> list[int]:
    """Move what was never moved next to each other, column by column: the order of the rows, the large ones first."""
    order = sorted(range(len(rows)), key=lambda member: rows[member][0].size <= _SMALL)
    for column in zip(*[rows[member] for member in order], strict=True):
        loose = [variable for variable in column if variable.value.base is None]
        if len(loose) > 1:
            side_by_side(loose)
    return order


def _flat(rows: Sequence[Row]) -> list[NDArray[Any]] | None:
    """The values of one row, or for several the flat arrays that hold those of all; None where they lie apart."""
    if len(rows) == 1:
        return [variable.value for variable in rows[0]]
    columns = [side_by_side(column) for column in zip(*rows, strict=True)]
    return None if any(column is None for column in columns) else columns  # type: ignore[return-value]
