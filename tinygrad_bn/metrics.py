"""Metrics: what is told about a model while it is trained; no gradient comes of them.

A metric is updated with one batch after another and says the mean over all samples so far:

    accuracy = metrics.get("accuracy")
    accuracy.update(y_true, y_pred)
    accuracy.result()
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tinygrad_bn import names
from tinygrad_bn.errors import DtypeError, ShapeError
from tinygrad_bn.losses import paired
from tinygrad_bn.primitives import Array
from tinygrad_bn.tensors import as_array
from tinygrad_bn.tensors.arrays import NUMBERS

if TYPE_CHECKING:
    from numpy.typing import NDArray

PerSample = Callable[[Any, Any], Any]


class Metric(names.Answering):
    """The mean, over all samples seen since the last `reset`, of a function of truth and prediction.

    Args:
        per_sample: from y_true and y_pred, arrays of shape (batch, ...), the value of each sample.
        name: what it is called in a history.
    """

    def __init__(self, per_sample: PerSample, name: str) -> None:
        self.per_sample = per_sample
        self.name = name
        self.reset()

    def __repr__(self) -> str:
        return f"<metric {self.name}: {self.result():.6g}>"

    def reset(self) -> None:
        """Forget all samples."""
        self._total = 0.0
        self._count = 0

    def update(self, y_true: Any, y_pred: Any) -> None:
        """Add a batch; truth that differs from the prediction by a last axis of 1 is given the prediction's shape.

        Raises:
            ShapeError: y_true and y_pred do not belong together.
            DtypeError: the function returns no numbers.
        """
        truth, prediction = as_array(y_true), as_array(y_pred)
        aligned = paired(truth, prediction.shape)
        result = self.per_sample(truth if aligned is None else aligned, prediction)
        try:
            values = np.asarray(result)
        except ValueError:  # lists of unequal lengths
            values = np.asarray(None)
        if values.dtype.kind not in NUMBERS:
            raise DtypeError(f"metric {self.name} has to return a number for each sample; got {result!r:.60}")
        self._total += float(values.sum(dtype=np.float64))
        self._count += values.size

    def result(self) -> float:
        """The mean so far; NaN if there was no sample."""
        return self._total / self._count if self._count else float("nan")


def _on_arrays(per_sample: PerSample) -> PerSample:
    """The same function of whatever stands for arrays: lists, Tensors."""

    @wraps(per_sample)
    def of_arrays(y_true: Any, y_pred: Any) -> Array:
        name = per_sample.__name__
        return per_sample(as_array(y_true, name=name), as_array(y_pred, name=name))

    return of_arrays


@_on_arrays
def accuracy(y_true: NDArray[Any], y_pred: NDArray[Any]) -> Array:
    """Whether each prediction is right; which kind of prediction it is, the shapes say.

    One value for each sample, of shape (batch,) or (batch, ..., 1), is binary: right on the same side of 0.5. It is
    taken for a probability; for logits give a function of your own, such as `lambda t, z: t == (z > 0)`. Otherwise the
    largest of the last axis, of probabilities or logits, is the predicted class: against labels of shape (batch,) or
    (batch, 1), or against one-hot truth.
    """
    if y_pred.ndim < 2 or y_pred.shape[-1] == 1:
        return binary_accuracy(y_true, y_pred)
    if y_true.ndim < y_pred.ndim or y_true.shape[-1] == 1:
        return sparse_categorical_accuracy(y_true, y_pred)
    return categorical_accuracy(y_true, y_pred)


@_on_arrays
def binary_accuracy(y_true: NDArray[Any], y_pred: NDArray[Any]) -> Array:
    """Whether each probability lies on its truth's side of 0.5."""
    return np.equal(_paired("binary_accuracy", y_true, y_pred), y_pred > 0.5)


@_on_arrays
def categorical_accuracy(y_true: NDArray[Any], y_pred: NDArray[Any]) -> Array:
    """Whether the largest prediction is where the largest value of the one-hot truth is."""
    return np.equal(_paired("categorical_accuracy", y_true, y_pred).argmax(axis=-1), y_pred.argmax(axis=-1))


@_on_arrays
def sparse_categorical_accuracy(y_true: NDArray[Any], y_pred: NDArray[Any]) -> Array:
    """Whether the largest prediction is where the integer label says."""
    shape = y_pred.shape[:-1]
    if y_true.shape not in (shape, (*shape, 1)):
        raise ShapeError(
            f"sparse_categorical_accuracy expects labels of shape {shape} for y_pred of shape {y_pred.shape}; "
            f"got {y_true.shape}"
        )
    return np.equal(y_true.reshape(shape), y_pred.argmax(axis=-1))


@_on_arrays
def mean_squared_error(y_true: NDArray[Any], y_pred: NDArray[Any]) -> Array:
    """(y_true - y_pred) ** 2 of each value, in float64, in which metrics add up."""
    return np.square(np.subtract(_paired("mean_squared_error", y_true, y_pred), y_pred, dtype=np.float64))


@_on_arrays
def mean_absolute_error(y_true: NDArray[Any], y_pred: NDArray[Any]) -> Array:
    """|y_true - y_pred| of each value, in float64, in which metrics add up."""
    return np.abs(np.subtract(_paired("mean_absolute_error", y_true, y_pred), y_pred, dtype=np.float64))


_BY_NAME: Final[dict[str, PerSample]] = {
    "accuracy": accuracy,
    "acc": accuracy,
    "binary_accuracy": binary_accuracy,
    "categorical_accuracy": categorical_accuracy,
    "sparse_categorical_accuracy": sparse_categorical_accuracy,
    "mean_squared_error": mean_squared_error,
    "mse": mean_squared_error,
    "mean_absolute_error": mean_absolute_error,
    "mae": mean_absolute_error,
}


MetricLike = str | Metric | PerSample


def get(metric: MetricLike) -> Metric:
    """A metric from its name, such as "accuracy" or "mse", from a function of y_true and y_pred, or from itself.

    Raises:
        ValueError: there is no metric of that name.
        TypeError: it is none of these.
    """
    if isinstance(metric, Metric):
        return metric
    if isinstance(metric, str):
        return Metric(names.chosen("metric", metric, _BY_NAME), metric)
    if isinstance(metric, type) or not callable(metric):
        raise TypeError(f"metrics expect names, Metrics or functions of y_true and y_pred; got {metric!r}")
    return Metric(metric, getattr(metric, "__name__", "metric"))


def _paired(name: str, y_true: NDArray[Any], y_pred: NDArray[Any]) -> Array:
    """`y_true` in the shape of `y_pred`, from which it may differ by a last axis of 1."""
    if (found := paired(y_true, y_pred.shape)) is not None:
        return found
    raise ShapeError(f"{name} expects y_true of the shape of y_pred, {y_pred.shape}; got {y_true.shape}")


names.answer_for(__name__)
