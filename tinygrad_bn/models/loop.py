"""The loop of `fit`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_bn.callers import warn
from tinygrad_bn.models.data import batches
from tinygrad_bn.models.history import History
from tinygrad_bn.models.interrupts import held
from tinygrad_bn.models.listening import Callback
from tinygrad_bn.models.position import Position, new_averages
from tinygrad_bn.models.progress import ProgressBar, progress
from tinygrad_bn.ops import generator
from tinygrad_bn.saving import as_it_stands

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tinygrad_bn.models.averages import Averages
    from tinygrad_bn.models.data import Examples
    from tinygrad_bn.models.model import Model


class Training:
    """Epoch after epoch over the data, in a new order each time where they are shuffled."""

    def __init__(
        self,
        model: Model,
        step: Callable[[Any, Any], tuple[Any, Any]],
        data: Examples,
        validation: Examples | None,
        batch_size: int,
        *,
        shuffle: bool,
        seed: int | None,
        callbacks: Sequence[Callback],
        executor: str | None = None,
    ) -> None:
        self.model, self.step, self.data, self.validation = model, step, data, validation
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        self.callbacks, self.executor = callbacks, executor
        self._told = False

    def run(self, history: History, position: Position, epochs: int) -> None:
        """Train. However it ends, the model is then in inference mode and the callbacks know that it is over.

        Only an error before the first step has been taken leaves the modes, the history and the position as they were.
        An interrupt comes between batches, or while the model is validated.
        """
        model, self.position = self.model, position
        position.data = [len(self.data[0]), self.batch_size]
        position.own = None if self.seed is None else generator(seed=self.seed)
        position.callbacks = self.callbacks
        self._introduce(epochs)
        self._before: list[tuple[Any, str, Any]] = [
            *((model, name, getattr(model, name)) for name in ("history", "_position")),
            *((module, "training", module.training) for module in model.modules()),
        ]
        with held() as self._interrupts, ExitStack() as ending:  # the last on it comes first; all do, even if one fails
            model.history, model._position, model.stop_training = history, position, False
            ending.callback(position.told, model)
            for callback in reversed(self.callbacks):
                ending.callback(callback.on_train_end)
            ending.push(self._end)
            model.train()
            with np.errstate(over="ignore", invalid="ignore"):  # the loss tells
                for callback in self.callbacks:
                    callback.on_train_begin()
                position.resume(model)
                position.running = True
                while position.epoch < epochs and not model.stop_training:
                    self._epoch(position.epoch)

    def _introduce(self, epochs: int) -> None:
        """Let the callbacks know whose training they will be told of, and what."""
        batch_logs = tuple(new_averages(self.model))
        measured = ["loss", *(metric.name for metric in self.model.metrics)] if self.validation is not None else []
        epoch_logs: tuple[str, ...] | None = (*batch_logs, *(f"val_{name}" for name in measured))
        for callback in self.callbacks:
            callback.model, callback.initial_epoch, callback.epochs = self.model, self.position.epoch, epochs
            callback.steps = -(-len(self.data[0]) // self.batch_size)
            callback.batch_logs, callback.epoch_logs = batch_logs, epoch_logs
            if epoch_logs is not None:
                epoch_logs = (*epoch_logs, *callback.adds) if _says_what_it_adds(callback) else None

    def _end(self, error: type[BaseException] | None, *_: Any) -> None:
        before = self._before if error is not None else []
        if not before:
            self.position.ended(self.model)
        self.position.running = False
        self.model.eval()
        self.model.zero_grad()
        for thing, name, value in before:
            setattr(thing, name, value)

    def _epoch(self, epoch: int) -> None:
        for callback in self.callbacks:
            callback.on_epoch_begin(epoch)
        logs = self._learned()
        self._tell_of(logs["loss"], epoch)
        if self.validation is not None:
            with self._interrupts.let_through():
                measured = self.model.measure(self.validation, self.batch_size, self.executor)
            logs |= {f"val_{name}": value for name, value in measured.items()}
        position = self.position
        position.epoch, position.batch, position.averages = epoch + 1, 0, None
        for callback in self.callbacks:
            callback.on_epoch_end(epoch, logs)

    def _tell_of(self, loss: float, epoch: int) -> None:
        """Say once that the loss is not finite, unless the optimizer or a callback takes care of it."""
        cared_for = self.model.stop_training or getattr(self.model.optimizer, "nonfinite", "keep") != "keep"
        if not (self._told or cared_for or math.isfinite(loss)):
            self._told = True
            warn(
                f"fit: the loss is {loss} in epoch {epoch + 1}. Lower the learning rate, or let the optimizer clip "
                '(global_clipnorm=1.0) or refuse such gradients (nonfinite="raise" names their parameters)'
            )

    def _learned(self) -> dict[str, float]:
        """Learn from every sample once; the averages are those of the batches as they were met."""
        model, position, interrupts = self.model, self.position, self._interrupts
        averages, order = self._begun()
        openers, watchers = self._hooks("on_train_batch_begin"), self._hooks("on_train_batch_end")
        first = position.batch
        for batch, (x, y) in enumerate(batches(self.data, self.batch_size, order, first), first):
            for opener in openers:
                opener(batch)
            loss, y_pred = self.step(x, y)
            self._before = []
            averages.update(loss.value, y, y_pred.value)
            position.batch = batch + 1
            for watcher in watchers:
                watcher(batch, averages)
            if model.stop_training:
                break
            if interrupts.came:
                interrupts.let()
        return dict(averages)

    def _begun(self) -> tuple[Averages, NDArray[np.int64] | None]:
        """The averages and the order of this epoch: new ones, unless it has begun already."""
        position, rng = self.position, None
        if position.averages is None:
            rng = (position.own or generator()) if self.shuffle else None
            position.averages = new_averages(self.model)
            position.order = None if rng is None else rng.bit_generator.state
        elif position.order is not None:
            rng = as_it_stands(position.order)
        return position.averages, None if rng is None else rng.permutation(len(self.data[0]))

    def _hooks(self, name: str) -> list[Callable[..., None]]:
        """Of those that have something to do there."""
        return [
            getattr(callback, name)
            for callback in self.callbacks
            if getattr(type(callback), name) is not getattr(Callback, name)
        ]


def _says_what_it_adds(callback: Callback) -> bool:
    """Whether only our own text writes into the logs of an epoch."""
    home = getattr(callback.on_epoch_end, "__module__", None) or ""
    return home.partition(".")[0] == __name__.partition(".")[0]


def audience(history: History, callbacks: Any, verbose: str | int) -> list[Callback]:
    """All who are told, in this order: the history, a bar unless there is one, the user's callbacks by their places.

    The history comes first, so that wherever the training is saved, it has all the epochs that are completed.

    Raises:
        TypeError: these are not callbacks.
        ValueError: `verbose` is not among the choices.
    """
    given = [callbacks] if isinstance(callbacks, Callback) else () if callbacks is None else callbacks
    if not isinstance(given, Iterable):
        raise TypeError(f"fit expects callbacks to be a list of instances of Callback; got {callbacks!r:.60}")
    given = list(given)
    for callback in given:
        if not isinstance(callback, Callback):
            raise TypeError(f"fit expects callbacks to be instances of Callback; got {callback!r}")
    shown = progress(verbose)
    if not any(isinstance(callback, ProgressBar) for callback in given):
        given = shown + given
    return [history, *sorted(given, key=lambda callback: callback.place)]
