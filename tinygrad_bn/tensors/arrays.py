"""What users give as numbers, as arrays: nested sequences, NumPy's scalars, indices."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_bn import ops
from tinygrad_bn.errors import DtypeError, ShapeError
from tinygrad_bn.primitives import Traced

if TYPE_CHECKING:  # numpy.typing costs more to import than all of ours
    from numpy.typing import DTypeLike, NDArray

NUMBERS = "fiub"
"""The kinds of the dtypes that a Tensor can have."""

_SCALARS = (((bool, np.bool), bool), ((int, np.integer), int), ((float, np.floating), float))


def as_array(
    data: Any, dtype: DTypeLike | None = None, name: str = "tensor", floats: DTypeLike = np.float32
) -> NDArray[Any]:
    """`data` as an ndarray: Python floats become float32, ints int64, bools bool; NumPy's keep their dtype.

    Args:
        data: a number, nested sequences, an array, or a Tensor.
        dtype: what to cast it to, instead.
        name: who asks, for the messages.
        floats: what Python floats become; float64 for who goes on to cast, so that they keep their digits till then.

    Raises:
        DtypeError: `data` is not made of real numbers, or of such as `dtype` can hold, or has Tensors in it whose
            gradients would be lost.
        ShapeError: nested sequences of unequal lengths.
    """
    wanted = None if dtype is None else of_numbers(dtype, name)
    try:
        array = np.asarray(data, wanted)
    except (ValueError, OverflowError):
        if wanted is None:
            raise ShapeError(f"{name} expects nested sequences of equal lengths; got {data!r:.80}") from None
        as_array(data, name=name)  # which says so where these are no numbers
        raise DtypeError(f"{name} expects numbers that {wanted} can hold; got {data!r:.80}") from None
    if array.dtype.kind not in NUMBERS:
        raise DtypeError(f"{name} expects real numbers; got {data!r:.80} of type {type(data).__name__}")
    if array is not data and hasattr(data, "mask"):
        raise DtypeError(f"{name} expects an array without a mask, which would be lost: give x.filled(...) instead")
    if array is data or array.dtype.kind != "f" or hasattr(data, "dtype"):
        return array
    strong = {leaf.dtype for leaf in _leaves(data, name)}
    if dtype is None and array.dtype == np.float64:
        return array.astype(np.result_type(*strong, 0.0) if strong else floats, copy=False)
    return array


def of_numbers(dtype: DTypeLike, name: str) -> np.dtype[Any]:
    """The dtype of real numbers that `dtype` stands for; `name` asks for it.

    Raises:
        DtypeError: it stands for none.
    """
    found = dtype_of(dtype)
    if found is None or found.kind not in NUMBERS:
        raise DtypeError(f"{name} expects a dtype of real numbers; got {found or repr(dtype)}")
    return found


def dtype_of(dtype: Any) -> np.dtype[Any] | None:
    """The dtype that `dtype` stands for; None where there is no such dtype."""
    found: np.dtype[Any] | None = None
    with suppress(TypeError):
        found = np.dtype(dtype)
    return found


def _leaves(data: Any, name: str) -> Iterator[Any]:
    """The arrays and Tensors in nested sequences."""
    stack = [data]
    while stack:
        part = stack.pop()
        if isinstance(part, (list, tuple)):
            stack.extend(part)
        elif getattr(part, "requires_grad", False):
            raise DtypeError(f"{name} would lose the gradients of Tensors in a {type(data).__name__}: use tg.stack")
        elif hasattr(part, "dtype"):
            yield part


def as_argument(arg: Any, name: str) -> Any:
    """An argument of `name` as a Tensor, a Python number or an ndarray; NumPy's scalars are as weak as Python's."""
    if isinstance(arg, Traced):
        return arg
    for kinds, plain in _SCALARS:
        if isinstance(arg, kinds):
            return plain(arg)
    return as_array(arg, name=name)


def _indices(part: Any) -> NDArray[Any] | None:
    """What stands in an index as an array, of integers if it is an empty list; None for lists of unequal lengths."""
    try:
        array = np.asarray(part)
    except ValueError:
        return None
    return array if array.size or hasattr(part, "dtype") else array.astype(np.int64)


def parted(index: tuple[Any, ...]) -> tuple[tuple[Any, ...], list[Any]]:
    """An index with placeholders for its arrays, and the arrays, which are arguments."""
    parts: list[Any] = []
    arrays: list[Any] = []
    for part in index:
        if part is None or part is Ellipsis or isinstance(part, slice):
            parts.append(part)
        elif isinstance(part, (int, np.integer)) and not isinstance(part, bool):
            parts.append(int(part))
        else:
            is_tensor = isinstance(part, Traced)
            array: Any = part if is_tensor else _indices(part)
            if array is None or array.dtype.kind not in "iub":
                raise IndexError(f"an index expects integers, slices, masks and ...; got {part!r:.80}")
            if is_tensor and array.dtype.kind == "b":
                array = array._seen("a mask index")
            arrays.append(array)
            parts.append(ops.shape.ARRAY)
    return tuple(parts), arrays
