"""What optimizers share: which parameters take a step, what the step remembers, and where it is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Self, overload

import numpy as np

from tinygrad_bn import names
from tinygrad_bn.capturing.inplace import InPlace
from tinygrad_bn.clipping import clip_by_value, global_norm, limited
from tinygrad_bn.errors import SettingError, ShapeError
from tinygrad_bn.module.settings import above_zero, number
from tinygrad_bn.optimizers.updates import Update, updates
from tinygrad_bn.primitives import Array
from tinygrad_bn.tensors import Tensor, as_array
from tinygrad_bn.variables import Parameter, State, Variable

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TAKES_ANY_NAME = 0x08  # the code flag of a function with **arguments
_NEVER_DECAY = ("gamma", "beta", "alpha")


class Rate:
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
        return self if optimizer is None else optimizer._rates[self.name]

    def __set__(self, optimizer: Optimizer, value: float | None) -> None:
        optimizer._set_rate(self.name, self.checked(value, type(optimizer).__name__))

    def checked(self, value: Any, where: str) -> float | None:
        """`value` as a float.

        Raises:
            SettingError: it is not a number from 0 to `below`.
        """
        if value is None and self.optional:
            return None
        if isinstance(value, np.ndarray) and value.size == 1:
            value = value.item()
        allowed = f"a number in [0, {self.below:g})" if self.below < np.inf else "a finite number not below 0"
        return float(number(where, self.name, value, allowed, lambda rate: 0 <= rate < self.below))


class Optimizer:
    """Takes the steps of `update` on all parameters that have a gradient.

    A subclass names its `slots`, the arrays it remembers for each parameter, and writes `update`, once, as a pure
    elementwise text in ordinary operators and tg functions; it is run in place.

    Args:
        learning_rate: at least 0.
        weight_decay: every step first takes this times the learning rate off each weight, apart from the gradient;
            never off gamma, beta and alpha.  Reference: Loshchilov and Hutter (2019).
        clipvalue: gradients are kept in [-clipvalue, clipvalue].
        clipnorm: the norm of each gradient is kept at most this.
        global_clipnorm: the norm of all gradients together is kept at most this. One of the three at most. Clipping
            lets gradients that are not finite pass as they are, so that they can be seen.

    Raises:
        TypeError, ValueError: an argument lies outside what is allowed.
    """

    learning_rate = Rate()
    weight_decay = Rate(optional=True)

    def __new__(cls, *_: Any, **settings: Any) -> Self:
        takes_any = cls.__init__.__code__.co_flags & _TAKES_ANY_NAME
        for setting in settings:
            if setting not in _arguments(cls) and not takes_any:
                raise TypeError(names.unknown("argument", setting, _arguments(cls), f"{cls.__name__}()"))
        return super().__new__(cls)

    def __init__(
        self,
        learning_rate: float,
        *,
        weight_decay: float | None = None,
        clipvalue: float | None = None,
        clipnorm: float | None = None,
        global_clipnorm: float | None = None,
    ) -> None:
        self._rates: dict[str, float | None] = {}
        self._arrays: dict[np.dtype[Any], dict[str, NDArray[Any]]] = {}
        self._rules: dict[bool, InPlace] = {}
        self._plans: dict[tuple[Parameter, ...], list[Update]] = {}
        self._moves = -1
        self._known: dict[Parameter, dict[str, State]] = {}
        self._loaded: dict[str, NDArray[Any]] = {}
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.clipvalue, self.clipnorm, self.global_clipnorm = clipvalue, clipnorm, global_clipnorm
        given = {name: limit for name in _LIMITS if (limit := getattr(self, name)) is not None}
        if len(given) > 1:
            raise SettingError(f"{self._name} expects at most one of {', '.join(_LIMITS)}; got {', '.join(given)}")
        for name, limit in given.items():
            above_zero(self._name, name, limit)

    def __repr__(self) -> str:
        settings = {name: getattr(self, name, None) for name in _arguments(type(self))}
        said = [f"{name}={value!r}" for name, value in settings.items() if value is not None and value is not False]
        return f"{self._name}({', '.join(said)})"

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_rules": {}, "_plans": {}}  # they are made anew when needed

    @property
    def slots(self) -> tuple[str, ...]:
        """The names of what is remembered for each parameter, in the order of `update`; it starts at 0."""
        return ()

    def update(self, parameter: Array, gradient: Array, *slots: Array, **rates: Array) -> tuple[Array, ...]:
        """The new parameter and the new slots, from the old ones, the gradient, and the rates by their names."""
        raise NotImplementedError(f"{self._name} has no update(parameter, gradient, ...)")

    def step(self, parameters: Iterable[Parameter]) -> None:
        """Update each parameter that is trainable and has a gradient; the others stay as they are.

        Raises:
            TypeError: these are not parameters.
            RuntimeError: none of them has a gradient.
        """
        learned = self._learned(parameters)
        gradients = self._clipped([grad.value for grad in learned.values()])
        for update in self._planned(tuple(learned)):
            update.run(gradients, self._name)

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters that `step` has ever been given."""
        for parameter in self._known:
            parameter._grad = None

    # What it keeps

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """A copy of the rates, by name, and of the slots, such as "3.velocity" of the fourth parameter.

        Parameters are counted in the order in which `step` first met them.
        """
        rates = {name: np.array(rate) for name, rate in self._rates.items() if rate is not None}
        slots = {path: state.value.copy() for path, state in self._states().items()}
        return {**rates, **slots, **{path: value.copy() for path, value in self._loaded.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what another's `state_dict` kept; slots of parameters yet to come wait for these.

        Raises:
            ValueError: a name is unknown, or a value does not fit. Nothing has been changed then.
        """
        rates = {key: getattr(type(self), key).checked(state[key], self._name) for key in state if key in self._rates}
        slots = {key: np.array(as_array(value)) for key, value in state.items() if key not in rates}
        allowed = self._slots_with(rates)
        shapes = dict(enumerate(parameter.shape for parameter in self._known))
        for key, value in slots.items():
            position, _, slot = key.partition(".")
            if not position.isdecimal() or slot not in allowed:
                choices = [*self._rates, *(f"0.{slot}" for slot in allowed)]
                raise SettingError(names.unknown("entry", key, choices, f"the state of {self._name}"))
            self._expect_fit(key, value, shapes.get(int(position), value.shape))
        for name, rate in rates.items():
            self._set_rate(name, rate)
        for key, variable in self._states().items():
            variable.assign(slots.pop(key, 0.0), "load_state_dict")
        self._loaded = slots

    def _slots_with(self, rates: dict[str, float | None]) -> tuple[str, ...]:
        """The slots that there would be with these rates."""
        present = self._rates
        self._rates = {**present, **rates}
        try:
            return self.slots
        finally:
            self._rates = present

    def _states(self) -> dict[str, State]:
        return {
            f"{position}.{slot}": state
            for position, states in enumerate(self._known.values())
            for slot, state in states.items()
        }

    @property
    def _name(self) -> str:
        return type(self).__name__

    # A step

    def _learned(self, parameters: Iterable[Parameter]) -> dict[Parameter, Tensor]:
        """The parameters that will be updated, each once, with their gradients."""
        if isinstance(parameters, Tensor) or not isinstance(parameters, Iterable):
            raise TypeError(f"{self._name}.step expects a list such as model.parameters(); got {parameters!r:.60}")
        learned = {}
        for parameter in parameters:
            if not isinstance(parameter, Parameter):
                raise TypeError(f"{self._name}.step expects Parameters, as model.parameters(); got {parameter!r:.60}")
            self._known.setdefault(parameter, {})
            grad = parameter._grad
            if grad is not None and parameter._wanted:
                learned[parameter] = grad
        if not learned:
            raise RuntimeError(f"{self._name}.step found no parameter with a gradient: call loss.backward() first")
        return learned

    def _clipped(self, gradients: list[NDArray[Any]]) -> list[NDArray[Any]]:
        if self.clipvalue is not None:
            return [clip_by_value(g, self.clipvalue) for g in gradients]
        if self.clipnorm is not None:
            return [_limited(g, global_norm([g]), self.clipnorm) for g in gradients]
        if self.global_clipnorm is not None:
            norm = global_norm(gradients)
            return [_limited(g, norm, self.global_clipnorm) for g in gradients]
        return gradients

    def _planned(self, learned: tuple[Parameter, ...]) -> list[Update]:
        """The updates that make up a step on these; good until a rate comes or goes, or a variable is moved."""
        if self._moves != Variable.moves or learned not in self._plans:
            if self._moves != Variable.moves:
                self._plans.clear()
            kinds: dict[Any, list[int]] = {}
            for position, parameter in enumerate(learned):
                kinds.setdefault((parameter.dtype, self._decays(parameter)), []).append(position)
            self._plans[learned] = [
                update for kind, positions in kinds.items() for update in self._updates(learned, positions, *kind)
            ]
            self._moves = Variable.moves
        return self._plans[learned]

    def _updates(
        self, learned: tuple[Parameter, ...], positions: list[int], dtype: np.dtype[Any], decays: bool
    ) -> list[Update]:
        rates = self._rates_in(dtype)
        if decays not in self._rules:
            self._rules[decays] = InPlace(partial(self._text, len(self.slots), tuple(rates), decays))
        rows = [(parameter, *self._slots_of(parameter)) for parameter in (learned[p] for p in positions)]
        return updates(self._rules[decays], rows, list(rates.values()), positions)

    def _decays(self, parameter: Parameter) -> bool:
        return self.weight_decay is not None and (parameter.name or "").rpartition(".")[2] not in _NEVER_DECAY

    def _text(self, slots: int, names: tuple[str, ...], decays: bool, parameter: Array, *others: Array) -> Any:
        """Decay and update, of what varies from call to call by position: the slots, the gradient, the rates."""
        rates = dict(zip(names, others[slots + 1 :], strict=True))
        decay = rates.pop("weight_decay", None)
        if decays:
            parameter = parameter - parameter * (decay * rates["learning_rate"])
        return self.update(parameter, others[slots], *others[:slots], **rates)

    def _rates_in(self, dtype: np.dtype[Any]) -> dict[str, NDArray[Any]]:
        if dtype not in self._arrays:
            rates = self._rates.items()
            self._arrays[dtype] = {name: np.array(rate, dtype) for name, rate in rates if rate is not None}
        return self._arrays[dtype]

    def _set_rate(self, name: str, value: float | None) -> None:
        old = self._rates.get(name)
        self._rates[name] = value
        if (value is None, not value) != (old is None, not old):  # slots and programs depend on which rates there are
            for made in (self._arrays, self._rules, self._plans):
                made.clear()
            for states in self._known.values():  # what is needed no longer, is forgotten
                for slot in states.keys() - set(self.slots):
                    del states[slot]
            self._loaded = {key: array for key, array in self._loaded.items() if key.partition(".")[2] in self.slots}
        for arrays in self._arrays.values():
            if name in arrays:
                arrays[name][...] = value

    def _slots_of(self, parameter: Parameter) -> list[State]:
        states = self._known[parameter]
        for slot in self.slots:
            if slot not in states:
                position = next(place for place, known in enumerate(self._known) if known is parameter)
                key = f"{position}.{slot}"
                value = self._loaded.get(key, np.zeros(parameter.shape, parameter.dtype))
                self._expect_fit(key, value, parameter.shape)
                states[slot] = State(value.astype(parameter.dtype), name=key)
                self._loaded.pop(key, None)
        return [states[slot] for slot in self.slots]

    def _expect_fit(self, key: str, value: NDArray[Any], shape: tuple[int, ...]) -> None:
        if value.shape != shape:
            raise ShapeError(f"{self._name} expects {key} of the shape of its parameter, {shape}; got {value.shape}")


_LIMITS = ("clipvalue", "clipnorm", "global_clipnorm")


def _arguments(kind: type[Optimizer]) -> tuple[str, ...]:
    code = kind.__init__.__code__
    return code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]


def _limited(gradient: NDArray[Any], norm: float, max_norm: float) -> NDArray[Any]:
    return limited(gradient, norm, max_norm) if np.isfinite(norm) else gradient
