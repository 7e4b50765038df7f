"""Losses: loss(y_true, y_pred) is one number, the mean over the samples of how wrong each prediction is.

Samples of several values count as the mean over these, as in Keras; so every loss here is a plain mean. Results are
Tensors where one of the arguments is one. Truth is cast to the dtype of the prediction, never the other way round.

Cross-entropies take probabilities, or logits with `from_logits=True`. Probabilities that are the result of our softmax
or sigmoid remember their logits, and the loss is computed from those: it stays finite, and keeps its gradient, where
the probabilities have long been rounded to 0 and 1. (The gradient then flows past the probabilities themselves.)
All other probabilities are made to sum to 1, where they are of one choice, and kept `EPSILON` away from 0 and 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from tinygrad_bn import names, ops
from tinygrad_bn.errors import SettingError, ShapeError
from tinygrad_bn.mode import current, guard
from tinygrad_bn.module.settings import Described, above_zero, flag
from tinygrad_bn.primitives import Array
from tinygrad_bn.tensors import Tensor, as_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

EPSILON: Final = 1e-7
"""Probabilities without logits are clipped to [EPSILON, 1 - EPSILON], as in Keras."""
_ROUNDING: Final = 1e-3  # by how much a computed probability may miss [0, 1]


class Loss(Described):
    """The mean of `per_sample`. A loss of your own overrides that, in ordinary operators and tg functions."""

    def __call__(self, y_true: Any, y_pred: Any) -> Array:
        """The mean over all samples; a Tensor where y_true or y_pred is one.

        Args:
            y_true: the truth, of shape (batch, ...).
            y_pred: the prediction, of shape (batch, ...).

        Raises:
            ShapeError: the shapes do not belong together, or there is no sample.
            ValueError: the truth is out of range.
        """
        return self._of(y_true, y_pred, check=True)

    def unchecked(self, y_true: Any, y_pred: Any) -> Array:
        """The same for a truth that `check` has seen already."""
        return self._of(y_true, y_pred, check=False) if type(self).__call__ is Loss.__call__ else self(y_true, y_pred)

    def _of(self, y_true: Any, y_pred: Any, check: bool) -> Array:
        recorder = current().recorder
        if recorder is not None:
            recorder.use(self)
        y_pred = _floating(y_pred)
        y_true = y_true if isinstance(y_true, Tensor) else as_array(y_true, floats=y_pred.dtype)
        y_true = self.aligned(y_true, y_pred.shape)
        if check and recorder is None:
            self.check(y_true.value if isinstance(y_true, Tensor) else y_true, y_pred.shape)
        elif check:
            for good, expected in self.conditions(y_true, y_pred.shape):
                guard(ops.all(good), partial(self._refusal, expected, "something else"))
        return ops.mean(self.per_sample(y_true, y_pred))

    def conditions(self, y_true: Array, shape: tuple[int, ...]) -> Iterator[tuple[Array, str]]:
        """Where an aligned `y_true` can be true for predictions of `shape`, and what is expected, in words."""
        return iter(())

    def per_sample(self, y_true: Array, y_pred: Array) -> Array:
        """The loss of each sample, or of each of its values; the first axis is the batch."""
        raise NotImplementedError(f"{type(self).__name__} has no per_sample(y_true, y_pred)")

    def aligned(self, y_true: Array, shape: tuple[int, ...]) -> Array:
        """`y_true` in the shape that goes with predictions of `shape`: a last axis of 1 more or less is made up for.

        Raises:
            ShapeError: it has another shape, or there is no sample.
        """
        self._expect_samples(y_true, shape)
        if (found := paired(y_true, shape)) is not None:
            return found
        raise ShapeError(f"{self._name} expects y_true of the shape of y_pred, {shape}; got {y_true.shape}")

    def check(self, y_true: NDArray[Any], shape: tuple[int, ...]) -> None:
        """Raise a ValueError if `conditions` do not hold of an aligned `y_true`; the message names the first place."""
        for good, expected in self.conditions(y_true, shape):
            if not good.all():
                place = np.unravel_index(np.argmin(good), y_true.shape)
                at = ", ".join(map(str, place))
                raise self._refusal(expected, f"{y_true[place]} at y_true[{at}]")

    def _refusal(self, expected: str, got: str) -> ValueError:
        return ValueError(f"{self._name} expects {expected}; got {got}")

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _expect_samples(self, y_true: Array, shape: tuple[int, ...]) -> None:
        if 0 in shape or 0 in y_true.shape:
            raise ShapeError(f"{self._name} expects at least one sample; got shapes {y_true.shape} and {shape}")


class MeanSquaredError(Loss):
    """mean((y_true - y_pred) ** 2)."""

    def per_sample(self, y_true: Array, y_pred: Array) -> Array:
        return ops.square(y_pred - _cast(y_true, y_pred.dtype))


class MeanAbsoluteError(Loss):
    """mean(|y_true - y_pred|)."""

    def per_sample(self, y_true: Array, y_pred: Array) -> Array:
        return ops.abs(y_pred - _cast(y_true, y_pred.dtype))


class Huber(Loss):
    """mean(e ** 2 / 2 where |e| <= delta, else delta * (|e| - delta / 2)), e = y_true - y_pred.

    Reference: Huber (1964).
    """

    _checks: ClassVar = {"delta": above_zero}

    def __init__(self, delta: float = 1.0) -> None:
        self.delta = delta

    def per_sample(self, y_true: Array, y_pred: Array) -> Array:
        error = y_pred - _cast(y_true, y_pred.dtype)
        inner = ops.clip(error, -self.delta, self.delta)
        return inner * (error - 0.5 * inner)


class _Crossentropy(Loss):
    """What the cross-entropies share: they look for logits."""

    _activation: Any
    _checks: ClassVar = {"from_logits": flag}

    def conditions(self, y_true: Array, shape: tuple[int, ...]) -> Iterator[tuple[Array, str]]:
        yield ops.logical_and(y_true >= 0, y_true <= 1), "y_true from 0 to 1"

    def __init__(self, from_logits: bool = False) -> None:
        self.from_logits = from_logits

    def _logits(self, y_pred: Array) -> Array | None:
        """The logits that `y_pred` is, or was made from; None where it is bare probabilities."""
        remembered = self._remembered(y_pred)
        if not self.from_logits:
            return remembered
        if remembered is not None:
            raise SettingError(
                f"{self._name}(from_logits=True) expects logits; got the result of {self._activation.__name__}. "
                "Leave out either of the two"
            )
        return y_pred

    def _remembered(self, y_pred: Array) -> Tensor | None:
        """What went into the activation that made `y_pred`, if that is ours, on the last axis, and still as it was."""
        if not isinstance(y_pred, Tensor) or y_pred.activation is None:
            return None
        primitive, (logits,), settings = y_pred.activation
        along_last = settings.get("axis", -1) in (-1, y_pred.ndim - 1)
        overwritten = logits.version is not None and logits.version.updated > y_pred.serial
        return logits if primitive is self._activation and along_last and not overwritten else None

    def _probabilities(self, y_pred: Array) -> Array:
        """`y_pred` away from 0 and 1.

        Raises:
            ValueError: it is not made of probabilities.
        """
        values = y_pred.value if isinstance(y_pred, Tensor) else y_pred
        low, high = values.min(), values.max()
        if low < -_ROUNDING or high > 1 + _ROUNDING:
            raise self._no_probabilities(f"values from {low:g} to {high:g}")
        if current().recorder is not None:  # the values of another run may be no probabilities
            outside = ops.logical_or(ops.min(y_pred) < -_ROUNDING, ops.max(y_pred) > 1 + _ROUNDING)
            guard(ops.logical_not(outside), partial(self._no_probabilities, "something outside"))
        if self._activation is ops.softmax:
            y_pred = y_pred / ops.maximum(ops.sum(y_pred, axis=-1, keepdims=True), EPSILON)
        epsilon = max(EPSILON, float(np.finfo(y_pred.dtype).epsneg))
        return ops.clip(y_pred, epsilon, 1 - epsilon)

    def _no_probabilities(self, got: str) -> ValueError:
        return ValueError(
            f"{self._name} expects probabilities, from 0 to 1; got {got}. "
            f"End the network with a {self._activation.__name__}, or say from_logits=True"
        )


class BinaryCrossentropy(_Crossentropy):
    """mean(-t * log(p) - (1 - t) * log(1 - p)) for truth t and probabilities p, both from 0 to 1."""

    _activation = ops.sigmoid

    def per_sample(self, y_true: Array, y_pred: Array) -> Array:
        t = _cast(y_true, y_pred.dtype)
        logits = self._logits(y_pred)
        if logits is not None:
            return ops.sigmoid_crossentropy(t, logits)
        p = self._probabilities(y_pred)
        return -(t * ops.log(p) + (1 - t) * ops.log1p(-p))


class CategoricalCrossentropy(_Crossentropy):
    """mean(-sum(t * log(p))) over the last axis, the classes, for one-hot or soft truth t and probabilities p."""

    _activation = ops.softmax

    def aligned(self, y_true: Array, shape: tuple[int, ...]) -> Array:
        self._expect_samples(y_true, shape)
        if y_true.shape != shape:
            hint = "; for integer labels there is SparseCategoricalCrossentropy" if y_true.ndim < len(shape) else ""
            raise ShapeError(f"{self._name} expects y_true of the shape of y_pred, {shape}; got {y_true.shape}{hint}")
        return y_true

    def per_sample(self, y_true: Array, y_pred: Array) -> Array:
        t = _cast(y_true, y_pred.dtype)
        logits = self._logits(y_pred)
        if logits is not None:
            return ops.softmax_crossentropy(t, logits)
        return -ops.sum(t * ops.log(self._probabilities(y_pred)), axis=-1)


class SparseCategoricalCrossentropy(_Crossentropy):
    """mean(-log(p[label])) for integer labels of shape (batch, ...) and probabilities of shape (batch, ..., classes).

    Labels may have a last axis of length 1, and a floating dtype if they are whole numbers.
    """

    _activation = ops.softmax

    def aligned(self, y_true: Array, shape: tuple[int, ...]) -> Array:
        self._expect_samples(y_true, shape)
        if y_true.shape == shape[:-1] and shape:
            return y_true
        if y_true.shape == (*shape[:-1], 1):
            return y_true.reshape(shape[:-1])
        hint = "; for one-hot truth there is CategoricalCrossentropy" if y_true.shape == shape else ""
        raise ShapeError(
            f"{self._name} expects labels of shape {shape[:-1]} for y_pred of shape {shape}; got {y_true.shape}{hint}"
        )

    def conditions(self, y_true: Array, shape: tuple[int, ...]) -> Iterator[tuple[Array, str]]:
        last = shape[-1] - 1
        yield ops.logical_and(y_true >= 0, y_true <= last), f"labels from 0 to {last}"
        if y_true.dtype.kind == "f":
            yield y_true == ops.rint(y_true), "whole numbers as labels"

    def check(self, y_true: NDArray[Any], shape: tuple[int, ...]) -> None:
        if y_true.dtype == np.int64 and np.maximum.reduce(y_true.view(np.uint64), axis=None) < shape[-1]:
            return  # in one pass: a number below 0 is a very large one without its sign
        super().check(y_true, shape)

    def per_sample(self, y_true: Array, y_pred: Array) -> Array:
        labels = y_true if y_true.dtype.kind in "iu" else y_true.astype(np.int64)
        logits = self._logits(y_pred)
        if logits is not None:
            return ops.sparse_softmax_crossentropy(labels, logits)
        chosen = labels[..., None] == np.arange(y_pred.shape[-1])
        return -ops.sum(ops.log(self._probabilities(y_pred)) * chosen, axis=-1)


class FunctionLoss(Loss):
    """mean(function(y_true, y_pred)), for a function that says how wrong each prediction is.

    Truth that differs from the prediction by a last axis of 1 is given the shape of the prediction.
    """

    def __init__(self, function: Callable[[Any, Any], Any]) -> None:
        self.function = function

    def aligned(self, y_true: Array, shape: tuple[int, ...]) -> Array:
        found = paired(y_true, shape)
        return y_true if found is None else found

    def per_sample(self, y_true: Array, y_pred: Array) -> Array:
        return self.function(_cast(y_true, y_pred.dtype) if y_true.dtype.kind == "f" else y_true, y_pred)


_BY_NAME: Final[dict[str, Callable[[], Loss]]] = {
    "mean_squared_error": MeanSquaredError,
    "mse": MeanSquaredError,
    "mean_absolute_error": MeanAbsoluteError,
    "mae": MeanAbsoluteError,
    "huber": Huber,
    "binary_crossentropy": BinaryCrossentropy,
    "categorical_crossentropy": CategoricalCrossentropy,
    "sparse_categorical_crossentropy": SparseCategoricalCrossentropy,
}


def get(loss: str | Loss | type[Loss] | Callable[[Any, Any], Any]) -> Loss:
    """A loss from a name such as "mse", from a class, from a function of y_true and y_pred, or from itself.

    Raises:
        SettingError: it is none of these; the message lists the names.
    """
    if callable(loss) and not isinstance(loss, (Loss, type)):
        return FunctionLoss(loss)
    return names.resolve("loss", loss, Loss, _BY_NAME)


def paired(y_true: Array, shape: tuple[int, ...]) -> Array | None:
    """`y_true` in this shape, from which it may differ by a last axis of 1; None where it differs by more."""
    if y_true.shape == shape:
        return y_true
    return y_true.reshape(shape) if (*y_true.shape, 1) == shape or y_true.shape == (*shape, 1) else None


def _floating(y_pred: Any) -> Array:
    """`y_pred` as a Tensor or array of a floating dtype."""
    array = y_pred if isinstance(y_pred, Tensor) else as_array(y_pred)
    return array if array.dtype.kind == "f" else array.astype(np.float32)


def _cast(y_true: Array, dtype: np.dtype[Any]) -> Array:
    return y_true if y_true.dtype == dtype else y_true.astype(dtype)


names.answer_for(__name__)
