"""What optimizers share: which parameters take a step, with which numbers, and where the result is written."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tinygrad_bn import names
from tinygrad_bn.clipping import Parameters, unpaired
from tinygrad_bn.mode import changed, count, current, guard, undone_on_error, using
from tinygrad_bn.module.settings import natural
from tinygrad_bn.optimizers.clipping import LIMITS, Clipping
from tinygrad_bn.optimizers.penalties import regularized
from tinygrad_bn.optimizers.rates import LearningRate, Limit, Numbers, Rate, expect_read_outside
from tinygrad_bn.optimizers.recorded import RecordedStep
from tinygrad_bn.optimizers.slots import Slots
from tinygrad_bn.optimizers.updates import StepInPlace
from tinygrad_bn.primitives import Array
from tinygrad_bn.recorders import Recorder
from tinygrad_bn.tensors import Tensor, as_array
from tinygrad_bn.variables import Parameter, Variable

if TYPE_CHECKING:
    from numpy.typing import NDArray

Schedule: TypeAlias = Callable[[int], float]
"""The learning rate as a function of the number of steps taken: those of `tg.schedules`, or any other."""

_NEVER_DECAY = ("gamma", "beta", "alpha")


class Optimizer(names.Answering):
    """Takes the steps of `update` on all parameters that have a gradient.

    A step clips the gradients, adds those of the regularizers, lets the weights decay, updates them, and applies the
    constraints, in this order.

    A subclass names its `slots`, the arrays it remembers for each parameter, and writes `update`, once, as a pure
    elementwise text in ordinary operators and tg functions; it is run in place, and can be captured.

    Args:
        learning_rate: at least 0; or a schedule, a function of the number of steps taken.
        weight_decay: every step first takes this times the learning rate off each weight, apart from the gradient;
            never off gamma, beta and alpha.  Reference: Loshchilov and Hutter (2019).
        clipvalue: gradients are kept in [-clipvalue, clipvalue].
        clipnorm: the Euclidean norm of each gradient is kept at most this.
        global_clipnorm: that of all gradients together is kept at most this. One of the three at most.
        nonfinite: what to do about a gradient with a NaN or an infinity: "keep" it as it is, so that it can be seen;
            "raise" FloatingPointError with the names of the parameters, which are left as they were (a captured step
            names the first); "skip" the whole step; or put "zero" in the places of such elements.

    Attributes:
        clipping: how often the gradients had to be clipped, by how much, and whose were not finite; None without any
            of these settings.
        changes: how often something was set that a step captured before does not follow. It follows new numbers, but
            not a momentum or a weight decay that comes or goes.

    Raises:
        TypeError, ValueError: an argument lies outside what is allowed.
    """

    learning_rate = LearningRate()
    weight_decay = Rate(optional=True)
    clipvalue, clipnorm, global_clipnorm = Limit(), Limit(), Limit()
    counters = ("_paths",)  # what a captured step does not look at

    def __init__(
        self,
        learning_rate: float | Schedule,
        *,
        weight_decay: float | None = None,
        clipvalue: float | None = None,
        clipnorm: float | None = None,
        global_clipnorm: float | None = None,
        nonfinite: str = "keep",
    ) -> None:
        self._name = type(self).__name__
        self.changes = 0
        self._schedule: Schedule | None = None
        self._rates: dict[str, float | None] = {}
        self._numbers = Numbers(self._numbers_of)
        self._slots = Slots(self._name, self.start)
        self._in_place, self._recorded = StepInPlace(self), RecordedStep(self)
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        given = zip(LIMITS, (clipvalue, clipnorm, global_clipnorm), strict=True)
        limits = {name: limit for name, limit in given if limit is not None}
        self._paths: dict[Parameter, str] = {}
        clipping = Clipping(self._name, limits, nonfinite, self._paths)
        self.clipping = None if clipping.kind is None and nonfinite == "keep" else clipping

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; one that is new only from within, so that a mistyped name does not pass for a setting."""
        if not (name in vars(self) or hasattr(type(self), name) or name.startswith("_") or _within(self)):
            raise AttributeError(names.unknown("setting", name, names.arguments(type(self)), type(self).__name__))
        if isinstance(held := getattr(type(self), name, None), property) and held.fset is None:
            made = f"make a new one, {type(self).__name__}({name}={value!r})"
            raise AttributeError(f"{type(self).__name__} was built with {name}={getattr(self, name)!r}: {made}")
        super().__setattr__(name, value)
        if not isinstance(getattr(type(self), name, None), (Rate, Limit)):
            self._text_has_changed()

    def __repr__(self) -> str:
        settings = {name: getattr(self, name, None) for name in names.arguments(type(self))}
        settings["learning_rate"] = self.schedule or self.learning_rate
        said = [
            f"{name}={value!r}"
            for name, value in settings.items()
            if value not in (None, "keep") and value is not False
        ]
        return f"{self._name}({', '.join(said)})"

    @property
    def iterations(self) -> int:
        """How many steps have been taken."""
        expect_read_outside(self, "iterations")
        return int(self._numbers.counter)

    @property
    def schedule(self) -> Schedule | None:
        """What the learning rate follows, if it follows anything; set `learning_rate` to change it."""
        return self._schedule

    @property
    def nonfinite(self) -> str:
        """What is done about gradients that are not finite."""
        return "keep" if self.clipping is None else self.clipping.nonfinite

    # What a subclass defines

    @property
    def slots(self) -> tuple[str, ...]:
        """The names of what is remembered for each parameter, in the order of `update`."""
        return ()

    def start(self, slot: str) -> float:
        """The number that all elements of this slot begin with."""
        return 0.0

    def numbers(self, step: int) -> dict[str, float]:
        """What `update` computes with in the step of this number, by name; the first is 0. Here, the rates."""
        rates = {name: rate for name, rate in self._rates.items() if rate is not None and name != "weight_decay"}
        return {**rates, "learning_rate": self.rate_at(step)}

    def update(self, parameter: Array, gradient: Array, *slots: Array, **numbers: Array) -> tuple[Array, ...]:
        """The new parameter and the new slots, from the old ones, the gradient, and the numbers by their names."""
        raise NotImplementedError(f"{self._name} has no update(parameter, gradient, ...)")

    # What a user calls

    def step(self, parameters: Parameters) -> None:
        """Update each parameter that is trainable and has a gradient; the others stay as they are.

        Whatever fails, a schedule or a constraint, say, nothing has been changed then.

        Args:
            parameters: those of a model, or its `named_parameters()`: messages then call them by their paths.

        Raises:
            TypeError: these are not parameters.
            RuntimeError: none of them has a gradient.
            FloatingPointError: a gradient is not finite, and `nonfinite` is "raise".
        """
        recorder = current().recorder
        learned = self._learned(parameters, recorder)
        if recorder is None:
            if self._numbers.vary:
                self._numbers.write()  # here, since a schedule may fail
            self._take(learned, self._in_place)
        else:
            recorder.use(self)
            with using(gradients=False):
                self._take(learned, self._recorded)

    def learn_names(self, parameters: Iterable[tuple[str, Parameter]]) -> None:
        """Let messages call these parameters by their paths, as `model.named_parameters()` has them."""
        self._paths.update((parameter, path) for path, parameter in parameters)

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters that `step` has ever been given."""
        known, recorder = self._slots.known, current().recorder
        if recorder is not None:
            recorder.depends(known.__len__)  # it only grows, also by a step of the same run
            for parameter in known:
                recorder.gradient(parameter, read=False)
        for parameter in known:
            parameter._grad = None

    def decays(self, parameter: Variable) -> bool:
        """Whether the weight decay is taken off this parameter."""
        return self.weight_decay is not None and (parameter.name or "").rpartition(".")[2] not in _NEVER_DECAY

    def rate_at(self, step: int) -> float:
        """The learning rate in the step of this number; the first is 0."""
        expect_read_outside(self, "rate_at")
        rate: Any = self._rates["learning_rate"]
        if self._schedule is not None:
            rate = type(self).learning_rate.checked(self._schedule(step), self._name)
        return float(rate)

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """A copy of `iterations`, of the rates, and of the slots, such as "3.velocity" of the fourth parameter.

        Parameters are counted in the order in which `step` first met them. A schedule is not kept: the learning rate
        follows from the iterations.
        """
        kept: dict[str, Any] = {"iterations": self.iterations, **self._rates}
        if self._schedule is not None:
            del kept["learning_rate"]
        return {name: np.array(n) for name, n in kept.items() if n is not None} | self._slots.values()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what another's `state_dict` kept; slots of parameters yet to come wait for these.

        What is not in it starts anew, but for the rates and the schedule, which stay.

        Raises:
            ValueError: a name is unknown, or a value does not fit. Nothing has been changed then.
            TypeError: this is no dict, or a value is not made of numbers.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"{self._name} expects a dict as state_dict gives it; got {state!r:.60}")
        rates = {key: getattr(type(self), key).checked(state[key], self._name) for key in state if key in self._rates}
        iterations = natural(self._name, "iterations", np.asarray(state.get("iterations", 0)).item(), least=0)
        others = state.keys() - rates.keys() - {"iterations"}
        slots = {key: as_array(state[key], None, key, np.float64) for key in state if key in others}
        self._slots.expect(slots, self._slots_with(rates), ["iterations", *self._rates])
        self._expect_rates(rates)
        if "learning_rate" in rates:
            self._schedule = None
        self._numbers.counter[...] = iterations
        self._set_rates(rates)
        self._slots.load({key: np.array(value) for key, value in slots.items()})

    def state_of(self, parameters: Mapping[str, Parameter]) -> dict[str, NDArray[Any]]:
        """What `state_dict` gives, with the slots of these parameters alone, by path: "layers.0.kernel.velocity"."""
        return self._slots.by_path(self.state_dict(), parameters)

    def load_state_of(self, parameters: Mapping[str, Parameter], state: Mapping[str, Any]) -> None:
        """Take over what another's `state_of` kept, for the parameters that have these paths here.

        Raises:
            TypeError, ValueError: as `load_state_dict`. Nothing has been changed then.
        """
        self.load_state_dict(self._slots.by_place(state, parameters))
        for parameter in parameters.values():  # now they are met, so that no other takes what waits for them
            self._slots.known.setdefault(parameter, {})

    def _slots_with(self, rates: dict[str, float | None]) -> tuple[str, ...]:
        """The slots that there would be with these rates."""
        present = self._rates
        self._rates = {**present, **rates}
        try:
            return self.slots
        finally:
            self._rates = present

    # A step

    def _learned(self, parameters: Parameters, recorder: Recorder | None) -> dict[Parameter, Array]:
        """The parameters that will be updated, each once, with their gradients as arrays.

        A recorder is told who was asked, and gets Tensors.
        """
        if isinstance(parameters, Tensor) or not hasattr(parameters, "__iter__"):
            raise TypeError(f"{self._name}.step expects a list such as model.parameters(); got {_came(parameters)}")
        known = self._slots.known
        learned = {}
        for parameter in parameters:
            if type(parameter) is tuple:
                (parameter,) = unpaired([parameter], self._paths)
            if not isinstance(parameter, Parameter):
                raise TypeError(f"{self._name}.step expects Parameters, as model.parameters(); got {_came(parameter)}")
            if parameter not in known:
                known[parameter] = {}
            grad: Array = parameter._grad
            if recorder is not None:
                recorder.use(parameter)
                if parameter._wanted:
                    recorder.gradient(parameter, read=True)
                grad = parameter._gradient()
            elif isinstance(grad, Tensor):
                grad = grad.value
            if grad is not None and parameter._wanted:
                learned[parameter] = grad
        if not learned:
            raise RuntimeError(f"{self._name}.step found no parameter with a gradient: call loss.backward() first")
        return learned

    def _take(self, learned: Mapping[Parameter, Array], step: Callable[..., None]) -> None:
        """Take a step; it is undone where a constraint or a recorder fails after updates."""
        constrained = [parameter for parameter in learned if parameter._constraint is not None]
        if constrained or current().recorder is not None:
            with undone_on_error():
                self._carry_out(learned, step)
        else:
            self._carry_out(learned, step)

    def _carry_out(self, learned: Mapping[Parameter, Array], step: Callable[..., None]) -> None:
        """Clip, regularize, let `step` update, and count, unless the gradients are such that the step is skipped."""
        gradients: Any = list(learned.values())
        if self.clipping is None:
            gradients = regularized(learned, gradients)
        else:
            with undone_on_error():
                gradients, good = self.clipping(learned, gradients)
                if not guard(good):
                    return
                gradients = regularized(learned, gradients)
        step(tuple(learned), gradients)
        count(self._numbers.counter)

    def _text(self, slots: int, names: tuple[str, ...], decays: bool, parameter: Array, *others: Array) -> Any:
        """Decay and update, of what varies from call to call by position: the slots, the gradient, the numbers."""
        numbers = dict(zip(names, others[slots + 1 :], strict=True))
        decay = numbers.pop("weight_decay", None)
        if decays:
            parameter = parameter - parameter * decay
        return self.update(parameter, others[slots], *others[:slots], **numbers)

    def _row(self, parameter: Parameter) -> tuple[Variable, ...]:
        return (parameter, *self._slots.of(parameter, self.slots))

    def _text_has_changed(self) -> None:
        """Or may have: what was made of it is made anew."""
        changed()
        if "_in_place" in vars(self):
            self._in_place.clear()

    # Its rates

    def _numbers_of(self, step: int) -> dict[str, float]:
        """The numbers of a step, and what share of itself a decaying parameter loses in it."""
        if self.weight_decay is None:
            return self.numbers(step)
        return {**self.numbers(step), "weight_decay": self.weight_decay * self.rate_at(step)}

    def _expect_rates(self, rates: Mapping[str, float | None]) -> None:
        """Raise a SettingError if these rates do not go with the other settings."""

    def _set_rates(self, rates: Mapping[str, float | None]) -> None:
        self._expect_rates(rates)
        are_new = rates.keys() - self._rates.keys()
        before = self._structure()
        self._rates.update(rates)
        self._numbers.vary = self._schedule is not None or type(self).numbers is not Optimizer.numbers
        if are_new or self._structure() == before:
            self._numbers.rewrite()
            return
        self._numbers.clear()
        self._slots.keep_only(self.slots)
        self.changes += 1

    def _structure(self) -> list[tuple[str, bool, bool]]:
        """Which rates there are: on that, slots and texts depend."""
        rates = self._rates.items()
        return [(name, rate is None, not rate) for name, rate in rates if name != "learning_rate"]


def _came(thing: Any) -> str:
    if hasattr(thing, "parameters"):
        return f"a {type(thing).__name__}; give its .parameters()"
    return f"{thing!r:.60}"


def _within(optimizer: Optimizer) -> bool:
    """Whether a method of `optimizer` sets the attribute that is being set."""
    code, held = sys._getframe(2).f_code, sys._getframe(2).f_locals
    return code.co_argcount > 0 and held.get(code.co_varnames[0]) is optimizer
