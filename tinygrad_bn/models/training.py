"""The loop of `fit`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from operator import is_
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_bn.callbacks import Callback
from tinygrad_bn.capturing import capture, chosen
from tinygrad_bn.errors import CaptureBusyError, CaptureError
from tinygrad_bn.losses import Loss
from tinygrad_bn.metrics import Metric
from tinygrad_bn.mode import changed
from tinygrad_bn.models.data import batches
from tinygrad_bn.optimizers import Optimizer
from tinygrad_bn.tensors import Tensor
from tinygrad_bn.variables import Parameter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tinygrad_bn.models.data import Examples
    from tinygrad_bn.models.model import Model


class Step:
    """One step of learning: forward, loss, backward, update."""

    def __init__(self, model: Model, optimizer: Optimizer, loss: Loss) -> None:
        self.model, self.optimizer, self.loss = model, optimizer, loss
        self.parameters: tuple[Parameter, ...] = tuple(model.parameters())

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        changed()

    def __call__(self, x: Any, y: Any) -> tuple[Any, Any]:
        """The loss of a batch before the step, and the predictions."""
        y_pred = self.model(x)
        loss = self.loss.unchecked(y, y_pred)
        if not isinstance(loss, Tensor) or not loss.requires_grad:
            left = "the loss" if isinstance(y_pred, Tensor) and y_pred.requires_grad else "some layer"
            raise TypeError(
                f"fit expects a loss that depends on the parameters: {left} left the graph for plain numbers"
            )
        self._forget()
        loss.backward()
        self.optimizer.step(self.parameters)
        self._forget()
        return loss, y_pred

    def does(self, optimizer: Optimizer, loss: Loss, parameters: list[Parameter]) -> bool:
        """Whether this is the step with these."""
        same = len(parameters) == len(self.parameters) and all(map(is_, parameters, self.parameters))
        return same and self.optimizer is optimizer and self.loss is loss

    def _forget(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None


_MOST_SHAPES = 8
"""Batches of so many shapes are captured; those of others run eagerly."""


class Replayed:
    """A step that is captured, and runs eagerly where it cannot be, after saying why.

    Attributes:
        step: the step itself.
    """

    def __init__(self, step: Any, executor: str | None) -> None:
        self.step = step
        self.executor = chosen(executor)
        self._shapes: set[Any] = set()
        self._run: Callable[..., Any] = step if self.executor == "eager" else capture(step, executor=self.executor)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.step, self.executor)  # copies are captured anew

    def __call__(self, *arrays: Any) -> Any:
        shapes = tuple([array.shape for array in arrays])
        if shapes not in self._shapes:
            if len(self._shapes) == _MOST_SHAPES:  # recording each anew would take longer than it saves
                return self.step(*arrays)
            self._shapes.add(shapes)
        try:
            return self._run(*arrays)
        except CaptureBusyError:  # another thread's call; this one need not wait
            return self.step(*arrays)
        except CaptureError as error:
            warnings.warn(f"this model runs without capture, and so more slowly: {error}", stacklevel=6)
            self._run = self.step
            return self._run(*arrays)


class Averages(Mapping[str, float]):
    """The mean loss and the metrics over the samples so far, by name.

    Metrics look at many batches at once, when their values are asked for: a small network's step is shorter than they.
    """

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = {metric.name: metric for metric in metrics}
        self._loss = 0.0
        self._samples = 0
        self._waiting: list[tuple[NDArray[Any], NDArray[Any]]] = []
        for metric in metrics:
            metric.reset()

    def update(self, loss: Any, y_true: NDArray[Any], y_pred: NDArray[Any]) -> None:
        """Add a batch, of which `loss` is the mean loss."""
        self._loss += float(loss) * len(y_true)
        self._samples += len(y_true)
        if self._metrics:
            self._waiting.append((y_true, y_pred))
            if len(self._waiting) * y_pred.size > _AT_ONCE:
                self._look()

    def _look(self) -> None:
        if self._waiting:
            y_true, y_pred = map(np.concatenate, zip(*self._waiting, strict=True))
            self._waiting.clear()
            for metric in self._metrics.values():
                metric.update(y_true, y_pred)

    def __getitem__(self, name: str) -> float:
        if name == "loss":
            return self._loss / self._samples
        metric = self._metrics[name]
        self._look()
        return metric.result()

    def __iter__(self) -> Iterator[str]:
        return iter(["loss", *self._metrics])

    def __len__(self) -> int:
        return 1 + len(self._metrics)


_AT_ONCE = 2**15
"""Metrics look at about so many numbers at a time."""


class Training:
    """Epoch after epoch over the data, in a new order each time if there is a generator to draw it from."""

    def __init__(
        self,
        model: Model,
        step: Callable[[Any, Any], tuple[Any, Any]],
        data: Examples,
        validation: Examples | None,
        *,
        batch_size: int,
        rng: np.random.Generator | None,
        callbacks: Sequence[Callback],
        executor: str | None = None,
    ) -> None:
        self.model, self.step, self.data, self.validation = model, step, data, validation
        self.batch_size, self.rng, self.callbacks, self.executor = batch_size, rng, callbacks, executor

    def run(self, epochs: int) -> None:
        """Train. However it ends, the model is then in inference mode and the callbacks know that it is over."""
        model = self.model
        model.stop_training = False
        for callback in self.callbacks:
            callback.model, callback.epochs, callback.steps = model, epochs, -(-len(self.data[0]) // self.batch_size)
        with ExitStack() as ending:  # the last that was put on it comes first; all come, even where one fails
            for callback in reversed(self.callbacks):
                ending.callback(callback.on_train_end)
            ending.callback(self._end)
            model.train()
            with np.errstate(over="ignore", invalid="ignore"):  # a loss of NaN is told by the loss itself
                for callback in self.callbacks:
                    callback.on_train_begin()
                for epoch in range(epochs):
                    self._epoch(epoch)
                    if model.stop_training:
                        break

    def _end(self) -> None:
        self.model.eval()
        self.model.zero_grad()

    def _epoch(self, epoch: int) -> None:
        for callback in self.callbacks:
            callback.on_epoch_begin(epoch)
        logs = self._learned()
        if self.validation is not None:
            measured = self.model.measure(self.validation, self.batch_size, self.executor)
            logs |= {f"val_{name}": value for name, value in measured.items()}
        for callback in self.callbacks:
            callback.on_epoch_end(epoch, logs)

    def _learned(self) -> dict[str, float]:
        """Learn from every sample once; the averages are those of the batches as they were met."""
        order = None if self.rng is None else self.rng.permutation(len(self.data[0]))
        averages = Averages(self.model.metrics)
        watchers = [
            callback.on_train_batch_end
            for callback in self.callbacks
            if type(callback).on_train_batch_end is not Callback.on_train_batch_end
        ]
        for batch, (x, y) in enumerate(batches(self.data, self.batch_size, order)):
            loss, y_pred = self.step(x, y)
            averages.update(loss.value, y, y_pred.value)
            for watcher in watchers:
                watcher(batch, averages)
            if self.model.stop_training:
                break
        return dict(averages)
