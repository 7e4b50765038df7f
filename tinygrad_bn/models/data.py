"""Data on its way into a model: arrays that fit together, checked once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_bn.autodiff.gradients import no_grad
from tinygrad_bn.errors import DtypeError, SettingError, ShapeError
from tinygrad_bn.losses import Loss
from tinygrad_bn.module.settings import number
from tinygrad_bn.tensors import as_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tinygrad_bn.models.model import Model

    Examples = tuple[NDArray[Any], NDArray[Any]]


def samples(name: str, data: Any) -> NDArray[Any]:
    """`data` as an array of one or more samples, all of them finite.

    Raises:
        ShapeError: there is no sample.
        DtypeError: it is not made of numbers.
        ValueError: there is a NaN or an infinity; the message says where the first one is.
    """
    try:
        array = as_array(data)
    except DtypeError:
        raise DtypeError(f"{name} expects numbers; got {type(data).__name__} of {np.asarray(data).dtype}") from None
    if array.ndim == 0 or array.size == 0:
        raise ShapeError(f"{name} expects at least one sample, along the first axis; got shape {array.shape}")
    if array.dtype.kind == "f" and not (np.isfinite(array.min()) and np.isfinite(array.max())):
        raise ValueError(f"{name} expects finite numbers; got {_first_bad(array)}")
    return array


def examples(name: str, x: Any, y: Any) -> Examples:
    """Samples and their truths, equally many. Raises as `samples`; ShapeError if there are more of one."""
    x, y = samples(f"{name}: x", x), samples(f"{name}: y", y)
    if len(x) != len(y):
        raise ShapeError(f"{name} expects as many samples in x as in y; got {len(x)} and {len(y)}")
    return x, y


def divided(
    x: Any, y: Any, validation_data: tuple[Any, Any] | None, validation_split: float
) -> tuple[Examples, Examples | None]:
    """What to learn from, and what to validate on: `validation_data`, or else the last samples, as Keras splits them.

    Raises:
        SettingError: the split is not in [0, 1), or leaves one of the two parts empty.
        ShapeError: validation samples have another shape. Also raises as `examples`.
    """
    x, y = examples("fit", x, y)
    number("fit", "validation_split", validation_split, "a number in [0, 1)", lambda share: 0 <= share < 1)
    if validation_data is not None:
        if not isinstance(validation_data, (tuple, list)) or len(validation_data) != 2:
            raise SettingError(f"fit expects validation_data=(x, y); got {type(validation_data).__name__}")
        validation = examples("validation_data", *validation_data)
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
    """Raise if the model cannot take x, or y cannot be the truth for what it gives: once, before any time is spent.

    A model that is not built yet, is built.
    """
    x, y = data
    output_shape = model.known_output_shape()
    if output_shape is None:
        with no_grad():
            output_shape = model(x[:1], training=False).shape
    shape = (len(y), *(length or 1 for length in output_shape[1:]))
    try:
        loss.check(loss.aligned(y, shape), shape)
    except ShapeError as error:
        raise ShapeError(f"{name}: {error}") from None
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def batches(data: Examples, size: int, order: NDArray[np.int64] | None = None, first: int = 0) -> Iterator[Examples]:
    """`size` samples at a time, in this order or as they stand, from batch `first` on; the last may be less."""
    x, y = data
    for start in range(first * size, len(x), size):
        if order is None:
            yield x[start : start + size], y[start : start + size]
        else:
            rows = order[start : start + size]
            yield x.take(rows, axis=0), y.take(rows, axis=0)


def _first_bad(array: NDArray[Any]) -> str:
    row, *rest = (int(place) for place in np.unravel_index(np.argmin(np.isfinite(array)), array.shape))
    columns = f", column {', '.join(map(str, rest))}" if rest else ""
    return f"{array[(row, *rest)]} in row {row}{columns}"
