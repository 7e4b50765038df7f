"""What an optimizer remembers for each parameter, such as its velocity."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_bn import names
from tinygrad_bn.errors import SettingError, ShapeError
from tinygrad_bn.variables import Parameter, State

if TYPE_CHECKING:  # numpy.typing costs more to import than all of ours
    from numpy.typing import NDArray


class Slots:
    """The states of each parameter by name; parameters are counted in the order in which they were first met.

    Attributes:
        known: the parameters that have been met, with their states.
        waiting: values that were loaded for parameters yet to come, by names such as "3.velocity".
    """

    def __init__(self, owner: str, start: Callable[[str], float]) -> None:
        self.owner, self.start = owner, start
        self.known: dict[Parameter, dict[str, State]] = {}
        self.waiting: dict[str, NDArray[Any]] = {}

    def of(self, parameter: Parameter, wanted: Iterable[str]) -> list[State]:
        """The states of a known parameter, made when they are first wanted."""
        states = self.known[parameter]
        for slot in wanted:
            if slot not in states:
                position = next(place for place, known in enumerate(self.known) if known is parameter)
                key = f"{position}.{slot}"
                value = self.waiting.get(key, np.full(parameter.shape, self.start(slot), parameter.dtype))
                self._expect_fit(key, value, parameter.shape)
                states[slot] = state = State(value.astype(parameter.dtype), name=key)
                if self.waiting.pop(key, None) is not None:
                    state.version.writers["load_state_dict"] = 1  # whatever is undone later, this was before it
        return [states[slot] for slot in wanted]

    def keep_only(self, wanted: tuple[str, ...]) -> None:
        """Forget all states of other names."""
        for states in self.known.values():
            for slot in states.keys() - set(wanted):
                del states[slot]
        self.waiting = {key: array for key, array in self.waiting.items() if key.partition(".")[2] in wanted}

    def values(self) -> dict[str, NDArray[Any]]:
        """A copy of all values, by names such as "3.velocity"; of a step that was skipped or undone nothing stays."""
        present = {key: state.value for key, state in self._states().items() if state.version.writers}
        return {key: value.copy() for key, value in {**present, **self.waiting}.items()}

    def expect(self, values: Mapping[str, NDArray[Any]], wanted: tuple[str, ...], others: Iterable[str]) -> None:
        """Raise if `load` could not take these values, for slots of the wanted names.

        Raises:
            SettingError: a name is unknown; `others` are those that belong to the optimizer itself.
            ShapeError: a value has not the shape of its parameter.
        """
        shapes = dict(enumerate(parameter.shape for parameter in self.known))
        for key, value in values.items():
            position, _, slot = key.partition(".")
            if not position.isdecimal() or slot not in wanted:
                choices = [*others, *(f"0.{slot}" for slot in wanted)]
                raise SettingError(names.unknown("entry", key, choices, f"the state of {self.owner}"))
            self._expect_fit(key, value, shapes.get(int(position), value.shape))

    def load(self, values: Mapping[str, NDArray[Any]]) -> None:
        """Take over these values; those that are not among them start anew."""
        left = dict(values)
        for key, state in self._states().items():
            state.assign(left.pop(key, self.start(key.partition(".")[2])), "load_state_dict")
        self.waiting = left

    def by_path(
        self, values: Mapping[str, NDArray[Any]], parameters: Mapping[str, Parameter]
    ) -> dict[str, NDArray[Any]]:
        """These values under the paths of parameters, not their places; those of all other parameters are left out."""
        paths = {place: path for path, place in self._places(parameters).items()}
        found = {}
        for key, value in values.items():
            place, _, slot = key.partition(".")
            if not place.isdecimal():
                found[key] = value
            elif int(place) in paths:
                found[f"{paths[int(place)]}.{slot}"] = value
        return found

    def by_place(
        self, values: Mapping[str, NDArray[Any]], parameters: Mapping[str, Parameter]
    ) -> dict[str, NDArray[Any]]:
        """What `by_path` gave, possibly elsewhere, under the places that parameters have here, or will have.

        Raises:
            SettingError, ShapeError: a value is of no such parameter, or has not the shape of its parameter.
        """
        places, paths, found = self._places(parameters), list(parameters), {}
        for key, value in values.items():
            path, _, slot = key.rpartition(".")
            if path.isdecimal():  # older files have the places that parameters have in the model
                if int(path) >= len(paths):
                    raise SettingError(f"{self.owner} expects slots of the model's {len(paths)} parameters; got {key}")
                path = paths[int(path)]
            if path in places:
                self._expect_fit(f"{path}.{slot}", value, parameters[path].shape)
                key = f"{places[path]}.{slot}"
            found[key] = value
        return found

    def _places(self, parameters: Mapping[str, Parameter]) -> dict[str, int]:
        """By path, each parameter's place; those yet to be met come next, in this order."""
        order = dict.fromkeys([*self.known, *parameters.values()])
        places = {parameter: place for place, parameter in enumerate(order)}
        return {path: places[parameter] for path, parameter in parameters.items()}

    def _states(self) -> dict[str, State]:
        return {
            f"{position}.{slot}": state
            for position, states in enumerate(self.known.values())
            for slot, state in states.items()
        }

    def _expect_fit(self, key: str, value: NDArray[Any], shape: tuple[int, ...]) -> None:
        if value.shape != shape:
            raise ShapeError(f"{self.owner} expects {key} of the shape of its parameter, {shape}; got {value.shape}")
