"""Where a training stands, so that it can be saved and go on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_bn.errors import SettingError
from tinygrad_bn.models.averages import Averages
from tinygrad_bn.models.listening import Callback
from tinygrad_bn.module.settings import natural
from tinygrad_bn.optimizers import Rate
from tinygrad_bn.saving import Generators, Known, UnsavableError, Writer, arguments, as_it_stands

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tinygrad_bn.models.model import Model
    from tinygrad_bn.optimizers import Optimizer


class Position:
    """Where the training of a model stands.

    Attributes:
        epoch: how many have been completed.
        batch: how many steps of the next one have been taken.
        data: how many samples there are, and in batches of how many they come.
        order: where the generator stood before the order of this epoch was drawn; None: the samples as they stand.
        own: the generator of the orders, if `fit` was given a seed.
        averages: those of this epoch, from its beginning to its end.
        callbacks: all that are told.
        running: whether `fit` is at work.
        pending: a state that was loaded, and that `fit` has not yet gone on from.
        values: the model's where the training ended, if callbacks have put others in their place then.
        shown: what tells these others from any that came later; None until all callbacks have been told of the end.
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
        self.values: dict[str, NDArray[Any]] | None = None
        self.shown: str | None = None

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
            "values": None if self.values is None else [self.values, self.shown or _digest(model.state_dict())],
        }

    def ended(self, model: Model) -> None:
        """The training is over; the callbacks are yet to be told."""
        self.values = model.state_dict()

    def told(self, model: Model) -> None:
        """All callbacks know that it is over."""
        if self.values is not None and _contents(self.values) == _contents(model.state_dict()):
            self.values = None
        self.shown = None if self.values is None else _digest(model.state_dict())

    def resume(self, model: Model) -> None:
        """Go on from what was loaded, if anything was.

        Raises:
            SettingError: it does not fit this model or these data.
        """
        saved = self.pending
        if saved is None:
            return
        if saved["batch"] and saved["data"] != self.data:
            expected, came = (f"{samples} samples in batches of {size}" for samples, size in (saved["data"], self.data))
            raise SettingError(
                f"fit expects {expected}, as when the training was saved in the middle of an epoch; got {came}"
            )
        values, shown = saved.get("values") or (None, None)  # older files have none
        if values is not None and shown == _digest(model.state_dict()):
            model.load_state_dict(values)
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
    parameters = dict(model.named_parameters())
    return {
        "optimizer": _made(optimizer),
        "slots": optimizer.state_of(parameters),
        "clipping": None if optimizer.clipping is None else optimizer.clipping.state_of(parameters),
        "position": (model._position or Position()).state_dict(model),
    }


def load_training_state(model: Model, state: Mapping[str, Any]) -> None:
    """Take it over; the generators, and what concerns the callbacks, follow when `fit` goes on.

    Raises:
        RuntimeError, ValueError: it does not fit this model.
    """
    optimizer = model.optimizer
    if optimizer is None:
        raise RuntimeError("load(training_state=True) expects a compiled model: call compile first")
    _expect_same(optimizer, state["optimizer"])
    position = Position(state["position"]["epoch"])
    position.pending = state["position"]
    Generators(model).expect(state["position"]["generators"])
    parameters = dict(model.named_parameters())
    if optimizer.clipping is not None:
        optimizer.clipping.load_state_of(parameters, state["clipping"])
    # All or nothing; what is written before it can be undone:
    optimizer.load_state_of(parameters, state["slots"])
    model._position = position


def _digest(values: Mapping[str, NDArray[Any]]) -> str:
    """What tells these values from others."""
    digest = hashlib.sha256()
    for path, shape, content in _contents(values):
        digest.update(f"{path} {shape}".encode() + content)
    return digest.hexdigest()


def _contents(values: Mapping[str, NDArray[Any]]) -> list[tuple[str, tuple[int, ...], bytes]]:
    return [(path, value.shape, value.tobytes()) for path, value in values.items()]


def _expect_same(optimizer: Optimizer, saved: Mapping[str, Any]) -> None:
    """Raise a SettingError unless what was saved is how such an optimizer is made."""
    made = _made(optimizer)
    alike = saved["kind"] == made["kind"]
    differ = [name for name in {**saved, **made} if saved.get(name) != made.get(name)] if alike else []
    if differ or not alike:
        expected, came = (
            each["kind"] + (f"({', '.join(f'{name}={_said(each.get(name))}' for name in differ)})" if differ else "")
            for each in (saved, made)
        )
        raise SettingError(
            f"load(training_state=True) expects a model compiled with {expected}, as the one that was saved; got {came}"
        )


def _made(optimizer: Optimizer) -> dict[str, Any]:
    """How an optimizer is made, as a file says it; the numbers that its state brings are left open."""
    try:
        settings = arguments(optimizer)
    except UnsavableError:  # one of the user's own that does not keep them
        settings = {}
    rates = {name for name in settings if isinstance(getattr(type(optimizer), name, None), Rate)}
    said = {
        name: "a number" if name in rates and isinstance(value, float) else _written(value)
        for name, value in settings.items()
    }
    return {"kind": type(optimizer).__name__, **said}


def _written(setting: Any) -> Any:
    """Its JSON; the kind of what has none, such as a lambda."""
    writer = Writer(Known({}), "")
    try:
        written = writer.write(setting)
    except UnsavableError:
        return f"a {type(setting).__name__}"
    return [written, *(array.tolist() for array in writer.arrays.values())] if writer.arrays else written


def _said(written: Any) -> str:
    if not isinstance(written, dict) or "settings" not in written:
        return str(written)
    kind, settings = written.values()
    return f"{kind}({', '.join(f'{name}={_said(value)}' for name, value in settings.items())})"


def _named(callbacks: Sequence[Callback]) -> Iterator[tuple[str, Callback]]:
    """Each callback by its kind and its place among those of this kind."""
    counts: dict[str, int] = {}
    for callback in callbacks:
        kind = type(callback).__name__
        counts[kind] = counts.get(kind, -1) + 1
        yield f"{kind} {counts[kind]}", callback
