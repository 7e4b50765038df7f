"""Model: a module that can be compiled, trained, evaluated and asked for predictions."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_bn import losses, names, optimizers
from tinygrad_bn import metrics as metric_kinds
from tinygrad_bn.autodiff.gradients import no_grad
from tinygrad_bn.callers import warn
from tinygrad_bn.errors import SettingError
from tinygrad_bn.layers import BatchNormalization
from tinygrad_bn.losses import Loss
from tinygrad_bn.metrics import Metric, MetricLike
from tinygrad_bn.models.averages import Averages
from tinygrad_bn.models.data import batches, divided, examples, expect_match, expect_result, samples
from tinygrad_bn.models.history import History
from tinygrad_bn.models.listening import Callback, told
from tinygrad_bn.models.loop import Training, audience
from tinygrad_bn.models.position import Position, started
from tinygrad_bn.models.saving import read_into, write_model
from tinygrad_bn.models.training import Replayed, inference, learning_step, penalized
from tinygrad_bn.module import Module, called
from tinygrad_bn.module.settings import flag, natural
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
    _position: Position | None = None
    # What a captured step looks at none of:
    counters = ("history", "stop_training", "metrics", "_position", "_captured")

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
        taken = ["loss", *(metric.name for metric in chosen)]
        if len(set(taken)) < len(taken):
            raise SettingError(f"compile expects metrics of different names; got {', '.join(taken[1:])}")
        self.optimizer, self.loss, self.metrics = optimizers.get(optimizer), losses.get(loss), tuple(chosen)

    @names.checked
    def fit(
        self,
        x: Any,
        y: Any,
        *,
        batch_size: int = 32,
        epochs: int = 1,
        initial_epoch: int | None = None,
        validation_data: tuple[Any, Any] | None = None,
        validation_split: float = 0.0,
        callbacks: Sequence[Callback] | None = (),
        shuffle: bool = True,
        verbose: str | int = "auto",
        seed: int | None = None,
        executor: str | None = None,
    ) -> History:
        """Train on x and y; afterwards the model is in inference mode, even after an error or an interrupt.

        Ctrl-C ends it after the present batch, or at once in validation, so that what is saved then can go on without
        a hole. A second one, a handler of your own, or an error may leave a batch half done.

        Args:
            x: samples, of shape (n, ...).
            y: truths, of shape (n, ...).
            batch_size: samples per step.
            epochs: how many times to go through them all, those before `initial_epoch` included.
            initial_epoch: the number of the first epoch; None: 0, or where a training that was loaded stands.
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
            ShapeError, DtypeError, ValueError, FileNotFoundError: data, settings or what the callbacks are to watch or
                write are not as they should be; nothing was trained then, and modes, history and the place to go on
                from are as before.
            TypeError: `forward` returns no Tensor.
        """
        optimizer, loss = self._compiled("fit")
        batch_size, epochs = natural("fit", "batch_size", batch_size), natural("fit", "epochs", epochs)
        shuffle = flag("fit", "shuffle", shuffle)
        data, validation = divided(x, y, validation_data, validation_split, self)
        history, position = History(), started(self._position, initial_epoch, epochs)
        listeners = audience(history, callbacks, verbose)
        expect_match("fit", self, loss, data)
        if validation is not None:
            expect_match("validation_data", self, loss, validation)
        step = learning_step(self, optimizer, loss, executor)
        training = Training(
            self, step, data, validation, batch_size, shuffle=shuffle, seed=seed, callbacks=listeners, executor=executor
        )
        training.run(history, position, epochs)
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
        data = examples("evaluate", x, y, self)
        expect_match("evaluate", self, loss, data)
        return_dict = flag("evaluate", "return_dict", return_dict)
        logs = self.measure(data, natural("evaluate", "batch_size", batch_size))
        _warn_of_young_averages(self)
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
        x = samples("predict: x", x, self)
        forward = inference(self, "_predicted")
        with no_grad():
            parts = batches((x, x), natural("predict", "batch_size", batch_size))
            return np.concatenate([_values(expect_result(self, forward(part), part)) for part, _ in parts])

    def _predicted(self, x: Any) -> Any:
        return self(x, training=False)

    @names.checked
    def save(self, path: str | os.PathLike[str], *, weights_only: bool = False, training_state: bool = False) -> None:
        """Write the model to an .npz or .safetensors file, as the ending of `path` says; see `tg.models.load`.

        Whatever happens, even a kill or a power failure, leaves the old file or the new one.

        Args:
            path: of the file.
            weights_only: only the values of parameters and states, and not how to make the layers and compile.
            training_state: also what a training needs to go on as if it had never stopped: what the optimizer
                remembers, where the generators, the epoch and the callbacks stand, and the values where it ended if a
                callback, such as EarlyStopping, has put others in their place then.

        Warns:
            UserWarning: something cannot be made again from a file, such as a lambda; the message says what to do.

        Raises:
            RuntimeError: `training_state` of a model that is not compiled.
        """
        weights_only = flag("save", "weights_only", weights_only)
        write_model(self, path, weights_only, flag("save", "training_state", training_state))

    def load(self, path: str | os.PathLike[str], *, training_state: bool = False) -> None:
        """Take over the values that `save` wrote, and the state of the training if it is wanted; all of it or nothing.

        Raises:
            SettingError, ShapeError: the file is damaged, or holds another model's values, or no state, or that of a
                training with another optimizer. The numbers that are rates may differ: they are those of the file then.
        """
        read_into(self, path, flag("load", "training_state", training_state))

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
        measured = inference(self, "_measured", executor)
        averages = Averages(deepcopy(self.metrics))  # a callback may ask while those of the training count
        with no_grad(), np.errstate(over="ignore", invalid="ignore"):
            for x, y in batches(data, batch_size):
                loss, y_pred = measured(x, y)
                averages.update(_values(loss), y, _values(y_pred))
        return dict(averages)

    def _measured(self, x: Any, y: Any) -> tuple[Any, Any]:
        y_pred = expect_result(self, self(x, training=False), x)
        return penalized(self._compiled("evaluate")[1].unchecked(y, y_pred), self.parameters()), y_pred

    def _compiled(self, wanted: str) -> tuple[Optimizer, Loss]:
        if self.optimizer is None or self.loss is None:
            raise RuntimeError(f'{wanted} expects a compiled model: call compile("sgd", loss, metrics) first')
        return self.optimizer, self.loss


def _values(result: Any) -> NDArray[Any]:
    return result if isinstance(result, np.ndarray) else result.value


def _warn_of_young_averages(model: Module) -> None:
    """Warn of the first moving averages that are too young to be used, if there are any."""
    for path, module in model.named_modules():
        if isinstance(module, BatchNormalization) and (said := module.immature()):
            warn(f"evaluate: {called(module, path)} {said}")
            return
