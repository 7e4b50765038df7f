"""Where a training stands, so that it can be saved and go on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_bn.errors import SettingError
from tinygrad_bn.models.averages import Averages
from tinygrad_bn.models.listening import Callback
from tinygrad_bn.module.settings import natural
from tinygrad_bn.saving import Generators, as_it_stands
from tinygrad_bn.variables import State

if TYPE_CHECKING:
    from tinygrad_bn.models.model import Model
    from tinygrad_bn.optimizers import Optimizer


class Position:
    """Where the training of a model stands.

    Attributes:
        epoch: how many have been completed.
        batch: how many steps of the next one have been taken.
        data: how many samples there are, and in batches of how many they come.
        order: where the generator stood before the order of this epoch was drawn.
        own: the generator of the orders, if `fit` was given a seed.
        averages: those of this epoch, while it lasts.
        callbacks: all that are told.
        running: whether `fit` is at work.
        pending: a state that was loaded, and that `fit` has not yet gone on from.
    """

    def __init__(self, epoch: int = 0) -> None:
        self.epoch, self.batch = epoch, 0
        self.data = [0, 0]
        self.order: Any = None
        self.own: np.random.Generator | None = None
        self.averages: Averages | None = None
        self.callbacks: Sequence[Callback] = ()
        self.running = False
        self.pending: Mapping[str, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        nothing = {"callbacks": (), "averages": None, "batch": 0, "running": False}
        return {**vars(self), **nothing}  # a copy of the model is not being trained

    def state_dict(self, model: Model) -> Mapping[str, Any]:
        """All of it, with the states of the callbacks and of all generators."""
        if self.pending is not None:
            return self.pending
        return {
            "epoch": self.epoch,
            "batch": self.batch,
            "data": self.data,
            "order": self.order,
            "own": None if self.own is None else self.own.bit_generator.state,
            "averages": None if self.averages is None else self.averages.state_dict(),
            "callbacks": {name: callback.state_dict() for name, callback in _named(self.callbacks)},
            "stopped": self.running and model.stop_training,
            "generators": Generators(model).states(),
        }

    def resume(self, model: Model) -> np.ndarray[Any, Any] | None:
        """Go on from what was loaded, if anything was; returns the order of an epoch that has begun already.

        Raises:
            SettingError: it does not fit this model or these data.
        """
        saved = self.pending
        if saved is None:
            return None
        if saved["batch"] and saved["data"] != self.data:
            expected, came = (f"{samples} samples in batches of {size}" for samples, size in (saved["data"], self.data))
            raise SettingError(
                f"fit expects {expected}, as when the training was saved in the middle of an epoch; got {came}"
            )
        Generators(model).put_back(saved["generators"])
        self.batch, self.order = saved["batch"], saved["order"]
        self.own = self.own if saved["own"] is None else as_it_stands(saved["own"])
        if saved["averages"] is not None:
            self.averages = new_averages(model)
            self.averages.load_state_dict(saved["averages"])
        for name, callback in _named(self.callbacks):
            callback.load_state_dict(saved["callbacks"].get(name, {}))
        model.stop_training = saved["stopped"]
        self.pending = None
        return as_it_stands(self.order).permutation(self.data[0]) if self.batch and self.order is not None else None


def started(before: Position | None, initial_epoch: int | None, epochs: int) -> Position:
    """Where a training begins: at the epoch that was asked for, or else where one that was loaded stands.

    Raises:
        SettingError: the two do not go together, or there is nothing to be done.
    """
    if initial_epoch is not None:
        natural("fit", "initial_epoch", initial_epoch, least=0)
    if before is None or before.pending is None:
        if (initial_epoch or 0) >= epochs:
            raise SettingError(
                f"fit expects epochs, the number of the last one, to be above initial_epoch={initial_epoch}; "
                f"got {epochs}"
            )
        return Position(initial_epoch or 0)
    if initial_epoch not in (None, before.epoch):
        raise SettingError(
            f"fit expects initial_epoch={before.epoch}, where the training that was loaded stands, or None; "
            f"got {initial_epoch}. To train anew, load without training_state"
        )
    position = Position(before.epoch)
    position.pending = before.pending
    return position


def new_averages(model: Model) -> Averages:
    """Those of an epoch of training."""
    return Averages(model.metrics, None if model.optimizer is None else model.optimizer.clipping)


def training_state(model: Model) -> dict[str, Any]:
    """What a training needs to go on, besides the values of the model's variables.

    Raises:
        RuntimeError: the model is not compiled.
    """
    optimizer = model.optimizer
    if optimizer is None:
        raise RuntimeError("save(training_state=True) expects a compiled model: call compile first")
    return {
        "optimizer": type(optimizer).__name__,
        "slots": optimizer.state_dict(),
        "clipping": {name: state.numpy() for name, state in _telemetry(optimizer.clipping)},
        "blamed": _blamed(model, optimizer.clipping),
        "position": (model._position or Position()).state_dict(model),
    }


def expect_same_optimizer(model: Model, state: Mapping[str, Any]) -> Optimizer:
    """The optimizer of the model, which the state is to be for.

    Raises:
        RuntimeError: the model is not compiled.
        SettingError: it is the state of another optimizer.
    """
    if model.optimizer is None:
        raise RuntimeError("load(training_state=True) expects a compiled model: call compile first")
    if type(model.optimizer).__name__ != state["optimizer"]:
        raise SettingError(
            f"load(training_state=True) expects a model compiled with {state['optimizer']}, as the one that was "
            f"saved; got {type(model.optimizer).__name__}"
        )
    return model.optimizer


def load_training_state(model: Model, state: Mapping[str, Any]) -> None:
    """Take it over; the generators, and what concerns the callbacks, follow when `fit` goes on.

    Raises:
        RuntimeError, ValueError: it does not fit this model.
    """
    optimizer = expect_same_optimizer(model, state)
    optimizer.load_state_dict(state["slots"])
    for name, figure in _telemetry(optimizer.clipping):
        if name in state["clipping"]:
            figure.assign(state["clipping"][name], "load")
    parameters = model.parameters()
    if optimizer.clipping is not None:
        for positions, times in state.get("blamed", ()):
            blamed = tuple(parameters[position] for position in positions)
            optimizer.clipping._blamed[blamed] = State(times, name="clipping")
    model._position = Position(state["position"]["epoch"])
    model._position.pending = state["position"]


def _telemetry(clipping: Any) -> list[tuple[str, State]]:
    held = {} if clipping is None else vars(clipping)
    return [(name, value) for name, value in held.items() if isinstance(value, State)]


def _blamed(model: Model, clipping: Any) -> list[Any]:
    """How often each of some parameters, by their positions in the model, had a gradient that was not finite."""
    positions = {parameter: position for position, parameter in enumerate(model.parameters())}
    counted = {} if clipping is None else clipping._blamed
    return [
        [[positions[parameter] for parameter in parameters], times.numpy()]
        for parameters, times in counted.items()
        if all(parameter in positions for parameter in parameters)
    ]


def _named(callbacks: Sequence[Callback]) -> Iterator[tuple[str, Callback]]:
    """Each callback by its kind and its place among those of this kind."""
    counts: dict[str, int] = {}
    for callback in callbacks:
        kind = type(callback).__name__
        counts[kind] = counts.get(kind, -1) + 1
        yield f"{kind} {counts[kind]}", callback
