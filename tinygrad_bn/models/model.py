"""Model: a module that can be compiled, trained, evaluated and asked for predictions."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_bn import losses, names, optimizers
from tinygrad_bn import metrics as metric_kinds
from tinygrad_bn.autodiff.gradients import no_grad
from tinygrad_bn.callbacks import Callback, progress, told
from tinygrad_bn.capturing import chosen
from tinygrad_bn.errors import SettingError
from tinygrad_bn.layers import BatchNormalization
from tinygrad_bn.losses import Loss
from tinygrad_bn.metrics import Metric, MetricLike
from tinygrad_bn.models.data import batches, divided, examples, expect_truth, samples
from tinygrad_bn.models.history import History
from tinygrad_bn.models.training import Averages, Replayed, Step, Training
from tinygrad_bn.module import Module, called
from tinygrad_bn.module.settings import natural
from tinygrad_bn.ops import generator
from tinygrad_bn.optimizers import Optimizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tinygrad_bn.models.data import Examples


class Model(Module):
    """A module that is trained by `compile` and `fit`. A subclass sets layers and defines `forward`.

    Attributes:
        optimizer, loss, metrics: as `compile` made them.
        history: of the last `fit`.
        stop_training: set by a callback to end `fit` after the present batch.
    """

    optimizer: Optimizer | None = None
    loss: Loss | None = None
    metrics: Sequence[Metric] = ()
    history: History | None = None
    stop_training: bool = False
    counters = ("history", "stop_training", "metrics", "_captured")  # what a captured step does not depend on

    @cached_property
    def _captured(self) -> dict[str, Replayed]:
        return {}

    @names.checked
    def compile(
        self,
        optimizer: str | Optimizer,
        loss: str | Loss | Callable[[Any, Any], Any],
        metrics: MetricLike | Iterable[MetricLike] | None = (),
    ) -> None:
        """Say how to train: names such as "sgd", "sparse_categorical_crossentropy" and "accuracy", or objects.

        Raises:
            ValueError: a name is unknown; the message lists the choices. Or two metrics share a name.
            TypeError: something is neither a name nor of the right kind.
        """
        several = [metrics] if isinstance(metrics, (str, Metric)) or callable(metrics) else metrics or ()
        if not isinstance(several, Iterable):
            raise TypeError(f"compile expects metrics to be names or Metrics, in a list; got {metrics!r}")
        chosen = [metric_kinds.get(metric) for metric in several]
        called = ["loss", *(metric.name for metric in chosen)]
        if len(set(called)) < len(called):
            raise SettingError(f"compile expects metrics of different names; got {', '.join(called[1:])}")
        self.optimizer, self.loss, self.metrics = optimizers.get(optimizer), losses.get(loss), tuple(chosen)

    @names.checked
    def fit(
        self,
        x: Any,
        y: Any,
        *,
        batch_size: int = 32,
        epochs: int = 1,
        validation_data: tuple[Any, Any] | None = None,
        validation_split: float = 0.0,
        callbacks: Sequence[Callback] | None = (),
        shuffle: bool = True,
        verbose: str | int = "auto",
        seed: int | None = None,
        executor: str | None = None,
    ) -> History:
        """Train on x and y; afterwards the model is in inference mode, even after an error or an interrupt.

        Args:
            x: samples, of shape (n, ...).
            y: truths, of shape (n, ...).
            batch_size: samples per step.
            epochs: how many times to go through them all.
            validation_data: (x, y) to measure the model on after each epoch; goes before `validation_split`.
            validation_split: the share of the samples, the last ones, to hold out for that.
            callbacks: what else is to happen.
            shuffle: go through the samples in a new order in each epoch.
            verbose: 0 says nothing, 1 shows a bar for each epoch, 2 a line, "auto" bars where they can be shown.
            seed: of the orders; without one they come from the shared generator.
            executor: how steps run: "numpy" replays them with the bits of "eager"; "native" compiles them to C. Without
                it `tg.set_executor` or TINYGRAD_BN_EXECUTOR says.

        Warns:
            UserWarning: the model does what cannot be captured, and runs eagerly.

        Raises:
            RuntimeError: `compile` has not been called.
            ShapeError, DtypeError, ValueError: data or settings are not as they should be; nothing was trained then.
        """
        optimizer, loss = self._compiled("fit")
        batch_size, epochs = natural("fit", "batch_size", batch_size), natural("fit", "epochs", epochs)
        data, validation = divided(x, y, validation_data, validation_split)
        history = History()
        listeners = [history, *progress(verbose), *_expect_callbacks(callbacks)]
        self._expect_match("fit", loss, data)
        if validation is not None:
            self._expect_match("validation_data", loss, validation)
        step = self._learning_step(optimizer, loss, executor)
        if not any(parameter.trainable for parameter in self.parameters()):
            raise SettingError("fit expects a model with trainable parameters; this one has none")
        rng = generator(seed=seed) if shuffle else None
        self.history = history
        Training(
            self, step, data, validation, batch_size=batch_size, rng=rng, callbacks=listeners, executor=executor
        ).run(epochs)
        return history

    @names.checked
    def evaluate(
        self, x: Any, y: Any, *, batch_size: int = 32, return_dict: bool = False, verbose: int = 0
    ) -> float | list[float] | dict[str, float]:
        """The loss on x and y, in inference mode: a list of it and the metrics where there are metrics, as in Keras.

        Args:
            x: samples, of shape (n, ...).
            y: truths, of shape (n, ...).
            batch_size: samples at a time; it changes the results by rounding only.
            return_dict: give the values by name instead.
            verbose: 1 also prints them.

        Warns:
            UserWarning: the moving averages of a BatchNormalization are too young, as its `immature` says.

        Raises:
            RuntimeError: `compile` has not been called.
            ShapeError, DtypeError, ValueError: data or settings are not as they should be.
        """
        _, loss = self._compiled("evaluate")
        data = examples("evaluate", x, y)
        self._expect_match("evaluate", loss, data)
        logs = self.measure(data, natural("evaluate", "batch_size", batch_size))
        self._warn_of_young_averages()
        if verbose:
            print(told(logs))
        values = list(logs.values())
        return logs if return_dict else values if len(values) > 1 else values[0]

    @names.checked
    def predict(self, x: Any, batch_size: int = 32) -> NDArray[Any]:
        """The results for x of shape (n, ...), in inference mode.

        Raises:
            ShapeError, DtypeError, ValueError: x is not as it should be.
        """
        x = samples("predict: x", x)
        forward = self._inference("_predicted")
        with no_grad():
            parts = batches((x, x), natural("predict", "batch_size", batch_size))
            return np.concatenate([_values(forward(part)) for part, _ in parts])

    def _predicted(self, x: Any) -> Any:
        return self(x, training=False)

    def export_c(self, path: str | os.PathLike[str], x: Any = None, *, batch_size: int = 1) -> tuple[Path, Path]:
        """Write what the trained model computes in inference as one C file, with a header beside it.

        The C99 file needs nothing but the C library (-lm); weights are constant arrays, and all that does not depend on
        the input is computed already. `void <stem>_predict(const float *x, float *y)` takes a batch. Compiled with
        -D<STEM>_TEST it is a program that runs an example, and ends with 0 if the result is as expected.

        Args:
            path: of the C file; .c may be left out.
            x: samples for the example, of shape (n, ...); needed where the model does not know the shape of its inputs.
            batch_size: how many samples a call takes.

        Returns:
            The paths of the C file and of the header.

        Raises:
            NotBuiltError: a layer has no parameters yet.
            CaptureError: the model does what cannot be written in C; the message names it.
            ValueError, FileNotFoundError: another suffix; a folder that is not there.
        """
        from tinygrad_bn.capturing.native.export import export_c  # what few need

        return export_c(self, path, x, natural("export_c", "batch_size", batch_size))

    def measure(self, data: Examples, batch_size: int, executor: str | None = None) -> dict[str, float]:
        """Loss and metrics on checked data, by name, in inference mode."""
        measured = self._inference("_measured", executor)
        averages = Averages(self.metrics)
        with no_grad(), np.errstate(over="ignore", invalid="ignore"):
            for x, y in batches(data, batch_size):
                loss, y_pred = measured(x, y)
                averages.update(_values(loss), y, _values(y_pred))
        return dict(averages)

    def _measured(self, x: Any, y: Any) -> tuple[Any, Any]:
        y_pred = self(x, training=False)
        return self._compiled("evaluate")[1].unchecked(y, y_pred), y_pred

    def _inference(self, name: str, executor: str | None = None) -> Replayed:
        """A method of this model that changes nothing, captured."""
        executor = chosen(executor)
        if name not in self._captured or self._captured[name].executor != executor:
            self._captured[name] = Replayed(getattr(self, name), executor)
        return self._captured[name]

    def _learning_step(self, optimizer: Optimizer, loss: Loss, executor: str | None) -> Replayed:
        """The captured step of the last `fit`, if it does the same; else a new one."""
        known, parameters = self._captured.get("step"), self.parameters()
        if known is None or known.executor != chosen(executor) or not known.step.does(optimizer, loss, parameters):
            known = self._captured["step"] = Replayed(Step(self, optimizer, loss), executor)
        return known

    def _warn_of_young_averages(self) -> None:
        for path, module in self.named_modules():
            if isinstance(module, BatchNormalization) and (said := module.immature()):
                warnings.warn(f"evaluate: {called(module, path)} {said}", stacklevel=4)
                return

    def _compiled(self, wanted: str) -> tuple[Optimizer, Loss]:
        if self.optimizer is None or self.loss is None:
            raise RuntimeError(f'{wanted} expects a compiled model: call compile("sgd", loss, metrics) first')
        return self.optimizer, self.loss

    def _expect_match(self, name: str, loss: Loss, data: Examples) -> None:
        """Raise if the model cannot take x, or the loss cannot take y; a model that is not built yet, is built."""
        x, y = data
        shape = self.known_output_shape()
        if shape is None:
            with no_grad():
                shape = self(x[:1], training=False).shape
        expect_truth(name, loss, y, shape)


def _expect_callbacks(callbacks: Any) -> Sequence[Callback]:
    given = [callbacks] if isinstance(callbacks, Callback) else list(callbacks or ())
    for callback in given:
        if not isinstance(callback, Callback):
            raise TypeError(f"fit expects callbacks to be instances of Callback; got {callback!r}")
    return given


def _values(result: Any) -> NDArray[Any]:
    return result if isinstance(result, np.ndarray) else result.value
