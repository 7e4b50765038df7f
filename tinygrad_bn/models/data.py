"""Data on its way into a model: arrays that fit together, checked once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_bn.autodiff.gradients import no_grad
from tinygrad_bn.errors import DtypeError, SettingError, ShapeError
from tinygrad_bn.layers import Layer
from tinygrad_bn.losses import Loss
from tinygrad_bn.metrics import Metric
from tinygrad_bn.module import Module, called
from tinygrad_bn.module.settings import number
from tinygrad_bn.tensors import Tensor, as_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tinygrad_bn.models.model import Model

    Examples = tuple[NDArray[Any], NDArray[Any]]


def samples(name: str, data: Any, model: Module | None = None) -> NDArray[Any]:
    """`data` as an array of one or more samples, all of them finite, also in the dtype that the model computes in.

    Raises:
        ShapeError: there is no sample.
        DtypeError: it is not made of numbers.
        ValueError: there is a NaN, an infinity, or a number that would become one; the message says where the first is.
    """
    try:
        array = as_array(data)
    except DtypeError:
        raise DtypeError(f"{name} expects numbers; got {type(data).__name__} of {np.asarray(data).dtype}") from None
    if array.ndim == 0 or array.size == 0:
        raise ShapeError(f"{name} expects at least one sample, along the first axis; got shape {array.shape}")
    if array.dtype.kind != "f":
        return array
    least, most = array.min(), array.max()
    if not (np.isfinite(least) and np.isfinite(most)):
        raise ValueError(f"{name} expects finite numbers; got {_first(~np.isfinite(array), array)}")
    largest = max(-least, most)
    dtype = _dtype(model) if model is not None and largest > np.finfo(np.float16).max else None  # all hold the others
    if dtype is not None and dtype.itemsize < array.itemsize and largest > np.finfo(dtype).max:
        too_large = np.abs(array) > np.finfo(dtype).max
        raise ValueError(
            f"{name} expects numbers that {dtype} can hold, in which the model computes; got {_first(too_large, array)}"
        )
    return array


def examples(name: str, x: Any, y: Any, model: Module) -> Examples:
    """Samples and their truths, equally many. Raises as `samples`; ShapeError if there are more of one."""
    x, y = samples(f"{name}: x", x, model), samples(f"{name}: y", y, model)
    if len(x) != len(y):
        raise ShapeError(f"{name} expects as many samples in x as in y; got {len(x)} and {len(y)}")
    return x, y


def divided(
    x: Any, y: Any, validation_data: tuple[Any, Any] | None, validation_split: float, model: Module
) -> tuple[Examples, Examples | None]:
    """What to learn from, and what to validate on: `validation_data`, or else the last samples, as Keras splits them.

    Raises:
        SettingError: the split is not in [0, 1), or leaves one of the two parts empty.
        ShapeError: validation samples have another shape. Also raises as `examples`.
    """
    x, y = examples("fit", x, y, model)
    number("fit", "validation_split", validation_split, "a number in [0, 1)", lambda share: 0 <= share < 1)
    if validation_data is not None:
        if not isinstance(validation_data, (tuple, list)) or len(validation_data) != 2:
            raise SettingError(f"fit expects validation_data=(x, y); got {type(validation_data).__name__}")
        validation = examples("validation_data", *validation_data, model)
        if validation[0].shape[1:] != x.shape[1:]:
            came = validation[0].shape[1:]
            raise ShapeError(f"validation_data expects samples of the shape of those in x, {x.shape[1:]}; got {came}")
        return (x, y), validation
    if validation_split == 0:
        return (x, y), None
    kept = math.floor(len(x) * (1 - validation_split))
    if not 0 < kept < len(x):
        raise SettingError(
            f"fit expects validation_split to leave samples on both sides; {validation_split!r} of {len(x)} "
            f"leaves {kept} and {len(x) - kept}"
        )
    return (x[:kept], y[:kept]), (x[kept:], y[kept:])


def expect_match(name: str, model: Model, loss: Loss, data: Examples) -> None:
    """Raise if the model cannot take x, or y is no truth for what it gives, or no metric's: before any time is spent.

    A model that is not built yet, is built.
    """
    x, y = data
    output_shape = model.known_output_shape()
    if output_shape is None:
        with no_grad():
            output_shape = expect_result(model, model(x[:1], training=False), x[:1]).shape
    shape = (len(y), *(length or 1 for length in output_shape[1:]))
    try:
        loss.check(loss.aligned(y, shape), shape)
        _expect_metrics(model.metrics, y[:1], (1, *shape[1:]))
    except ShapeError as error:
        raise ShapeError(f"{name}: {error}") from None
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def expect_result(model: Module, result: Any, x: Any) -> Any:
    """`result`, which `forward` has returned for x, if one can compute with it.

    Raises:
        TypeError: it is neither a Tensor nor an array.
        ShapeError: it has not one row for each sample.
    """
    if not isinstance(result, (Tensor, np.ndarray)):
        came = "None" if result is None else f"a {type(result).__name__}"
        raise TypeError(f"{called(model)}.forward returned {came}, where a Tensor is expected")
    if result.shape[:1] != x.shape[:1]:
        came = f"shape {result.shape} for {len(x)} samples"
        raise ShapeError(f"{called(model)}.forward returned {came}, where one row for each is expected")
    return result


def _expect_metrics(metrics: Iterable[Metric], y_true: NDArray[Any], shape: tuple[int, ...]) -> None:
    """Raise if a metric of ours cannot take such a sample; what a user's function makes of zeros says nothing."""
    for metric in metrics:
        if type(metric) is Metric and getattr(metric.per_sample, "__module__", None) == Metric.__module__:
            try:
                metric.per_sample(y_true, np.zeros(shape))
            except ShapeError as error:
                raise ShapeError(f"for one sample, {error}") from None


def batches(data: Examples, size: int, order: NDArray[np.int64] | None = None, first: int = 0) -> Iterator[Examples]:
    """`size` samples at a time, in this order or as they stand, from batch `first` on; the last may be less."""
    x, y = data
    for start in range(first * size, len(x), size):
        if order is None:
            yield x[start : start + size], y[start : start + size]
        else:
            rows = order[start : start + size]
            yield x.take(rows, axis=0), y.take(rows, axis=0)


def _dtype(model: Module) -> np.dtype[Any] | None:
    """The widest of those that the layers cast their inputs to; None where nothing is cast."""
    dtypes = [module.dtype for module in model.modules() if isinstance(module, Layer)]
    return np.result_type(*dtypes) if dtypes else None


def _first(bad: NDArray[np.bool], array: NDArray[Any]) -> str:
    row, *rest = (int(place) for place in np.unravel_index(np.argmax(bad), array.shape))
    columns = f", column {', '.join(map(str, rest))}" if rest else ""
    return f"{array[(row, *rest)]} in row {row}{columns}"
