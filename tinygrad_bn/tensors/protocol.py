"""What Python and NumPy see of a Tensor, and what NumPy's functions do with one among their arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_bn import ops
from tinygrad_bn.errors import DtypeError, ShapeError
from tinygrad_bn.mode import current
from tinygrad_bn.primitives import Primitive, Traced
from tinygrad_bn.tensors.arrays import as_argument

if TYPE_CHECKING:  # numpy.typing costs more to import than all of ours
    from numpy.typing import DTypeLike, NDArray

    from tinygrad_bn.tensors import Tensor, Version


class Visible(Traced):
    """What Python and NumPy may see of a Tensor, unless a recorder forbids it."""

    __slots__ = ()

    value: NDArray[Any]
    version: Version | None
    _wanted: bool

    def _seen(self, request: str) -> NDArray[Any]:
        """The value, after asking the recorder, if there is one, whether Python may see it."""
        recorder = current().recorder
        if recorder is not None:
            recorder.reveal(self, request)
        return self.value

    def _taken(self, request: str) -> NDArray[Any]:
        """The value, for who computes with its numbers outside the graph: whoever differentiates that is told."""
        taken = current().taken
        if taken is not None and self._wanted:
            taken.append((self, request))
        return self._seen(request)

    def _guarded(self, value: NDArray[Any]) -> NDArray[Any]:
        """The value, for whoever may keep it or write to it."""
        if self.version is not None:
            return value.copy()
        view = value.view()
        view.flags.writeable = False
        return view

    def numpy(self) -> NDArray[Any]:
        """The values: a read-only view, or a copy of what a variable's next update would change."""
        return self._guarded(self._taken(".numpy()"))

    def item(self) -> Any:
        """The only element, as a Python number.

        Raises:
            ShapeError: there is not exactly one element.
        """
        if self.value.size != 1:
            raise ShapeError(f"item expects a Tensor of one element; got shape {self.value.shape}")
        return self._taken(".item()").item()

    def tolist(self) -> Any:
        """The values as nested lists of Python numbers."""
        return self._taken(".tolist()").tolist()

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.numpy(), dtype, copy=copy)

    def __bool__(self) -> bool:
        if self.value.size != 1:
            raise ShapeError(f"the truth of a Tensor of shape {self.value.shape} is ambiguous; use .any() or .all()")
        return bool(self._seen("bool(), as in `if` and `while`"))

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        return self._seen("an index").__index__()

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else repr(self)

    def __array_ufunc__(self, function: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if "out" in options or method == "at":
            raise TypeError(f"an ndarray cannot take the result of {function.__name__} with a Tensor: write a = a + t")
        if method == "__call__":
            return self.__array_function__(function, (), inputs, options)
        return _without_us(getattr(function, method), f"{function.__name__}.{method}", inputs, options)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        known = _ours().get(function)
        if known is not None:
            return known(*args, **options)
        home = getattr(function, "__module__", None) or "numpy"  # ufuncs need not say where they are from
        name = f"{home}.{function.__name__}".removeprefix("numpy.")
        return _without_us(function, name, args, options)


def of_truths(primitive: Primitive[...], *args: Any) -> Tensor:
    """`&`, `|`, `^` and `~`, of truth values only: of numbers they would mean bits, or be a slip in a comparison."""
    name = primitive.__name__
    args = tuple(as_argument(arg, name) for arg in args)
    for arg in args:
        if not isinstance(arg, bool) and getattr(arg, "dtype", None) != np.bool:
            came = getattr(arg, "dtype", arg)
            raise DtypeError(f"{name} expects truth values, as in (a < x) & (x < b); got {came}")
    result: Tensor = primitive(*args)
    return result


def dot(x: Any, y: Any) -> Tensor:
    """NumPy's dot, where it is a matrix product."""
    if np.ndim(x) > 1 and np.ndim(y) > 2:
        raise ShapeError(f"dot expects vectors and matrices; got {x.shape} and {y.shape}. Use tg.matmul or tg.einsum")
    result: Tensor = ops.matmul(x, y)
    return result


def _broadcast_arrays(*arrays: Any) -> tuple[Any, ...]:
    shape = np.broadcast_shapes(*(np.shape(array) for array in arrays))
    return tuple((ops if isinstance(array, Visible) else np).broadcast_to(array, shape) for array in arrays)


@cache
def _ours() -> Mapping[Any, Callable[..., Any]]:
    """Our function for each of NumPy's that has one of its name, or of its meaning."""
    table: dict[Any, Callable[..., Any]] = {
        np.linalg.norm: ops.norm,
        np.amax: ops.max,
        np.amin: ops.min,
        np.dot: dot,
        np.divmod: lambda x, y: (ops.floor_divide(x, y), ops.remainder(x, y)),
        np.ravel: lambda x: x.ravel(),
        np.stack: lambda arrays, *others, **named: ops.stack(list(arrays), *others, **named),
        np.concatenate: lambda arrays, *others, **named: ops.concatenate(list(arrays), *others, **named),
        np.broadcast_arrays: _broadcast_arrays,
        np.bitwise_and: partial(of_truths, ops.logical_and),
        np.bitwise_or: partial(of_truths, ops.logical_or),
        np.bitwise_xor: partial(of_truths, ops.logical_xor),
        np.invert: partial(of_truths, ops.logical_not),
        np.where: lambda c, *xy: ops.where(c, *xy) if xy else _without_us(np.where, "where", (c,), {}),
    }
    for name in ops.__all__:
        function = getattr(np, name, None)
        if function is not None and name not in ("astype", "put"):  # these mean something else in NumPy
            table.setdefault(function, getattr(ops, name))
    return table


def _without_us(function: Callable[..., Any], name: str, args: Any, options: Mapping[str, Any]) -> Any:
    """A NumPy function that has no derivative here, on the values.

    Where it gives no numbers, they may have gone elsewhere: into another array, say, or to Python.

    Raises:
        TypeError: its result would have a derivative. Truth values, indices and the like have none.
    """
    met: list[Visible] = []

    def seen(argument: Any) -> Any:
        if isinstance(argument, (list, tuple)):
            return type(argument)(map(seen, argument))
        if not isinstance(argument, Visible):
            return argument
        if function in _BLIND:
            return argument.value
        met.append(argument)
        return argument._guarded(argument._seen(f"np.{name}"))

    result = function(*map(seen, args), **{key: seen(option) for key, option in options.items()})
    kinds = set(map(_kind, result if isinstance(result, (list, tuple)) else (result,)))
    for argument in met:
        if argument._wanted and not kinds.isdisjoint("fc"):
            raise TypeError(f"np.{name} has no derivative here; use a tg function, or .detach() to go without")
        if "O" in kinds:
            argument._taken(f"np.{name}")
    return result


def _kind(part: Any) -> str:
    """The kind of the dtype of what a NumPy function gave; that of Python's answers to questions is none."""
    if isinstance(part, (np.ndarray, np.generic)):
        return part.dtype.kind
    return "" if isinstance(part, (bool, int, str)) else "O"


_BLIND = {np.shape, np.ndim, np.size, np.zeros_like, np.ones_like, np.empty_like, np.result_type}
"""NumPy's functions that look at shapes and dtypes only."""
