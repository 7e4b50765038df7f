"""Tensor: an array that remembers how it was made.

A Tensor *is* the vertex of the graph: `t.source` holds the primitive, its arguments and its settings, and nothing
below points up, so there are no cycles. Serial numbers grow in creation order, which is the order of every sweep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from itertools import count
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import numpy as np

from tinygrad_bn import ops
from tinygrad_bn.errors import DtypeError, ShapeError
from tinygrad_bn.mode import current
from tinygrad_bn.primitives import Primitive, Traced

if TYPE_CHECKING:  # numpy.typing costs more to import than all of ours
    from numpy.typing import ArrayLike, DTypeLike, NDArray

Source: TypeAlias = tuple[Primitive[...], tuple[Any, ...], Mapping[str, Any]]

_ndarray = np.ndarray
_new = object.__new__
_next_serial = count(1).__next__
_NOTHING: Mapping[str, Any] = {}
_NUMBERS = "fiub"
_PLAIN = {float, int, bool}
_SCALARS = (((bool, np.bool), bool), ((int, np.integer), int), ((float, np.floating), float))


class Version:
    """When and by whom a variable was last written; the views of it share this."""

    __slots__ = ("updated", "writer")

    def __init__(self) -> None:
        self.updated = 0
        self.writer = ""


class Tensor(Traced):
    """An n-dimensional array that remembers the operation, the arguments and the settings that made it.

    Attributes:
        value: the ndarray itself; not to be written.
        grad: what `backward` has accumulated for this leaf, a Tensor, or None.
        source: (primitive, arguments, settings); None for a leaf, and where no gradient is wanted.
        serial: its place in the order of creation.
        version: of the variable whose memory it shows, if it shows one.
        activation: the source of a softmax or sigmoid, kept in every mode for the losses; None for all others.
    """

    __slots__ = ("__weakref__", "_wanted", "activation", "grad", "serial", "source", "value", "version")
    __hash__ = object.__hash__

    value: NDArray[Any]
    grad: Tensor | None
    source: Source | None
    serial: int
    version: Version | None
    activation: Source | None
    _wanted: bool

    def __init__(self, value: NDArray[Any], requires_grad: bool = False) -> None:
        self.value = value
        self.grad = self.source = self.version = self.activation = None
        self.serial = _next_serial()
        self._wanted = False
        if requires_grad:
            self.requires_grad = True

    def bind(self, primitive: Primitive[Any], args: tuple[Any, ...], params: Mapping[str, Any]) -> Tensor:
        """Apply `primitive` to `args`, of which this Tensor is one, and remember it."""
        return bind(primitive, args, params)

    # What it is

    @property
    def requires_grad(self) -> bool:
        """Whether derivatives with respect to it are wanted; can be set on leaves of a floating dtype."""
        return self._wanted

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        if wanted and self.value.dtype.kind != "f":
            raise DtypeError(f"requires_grad expects a floating dtype; got {self.dtype}. Use .astype(np.float32)")
        if self.source is not None and wanted != self._wanted:
            made = self.source[0].__name__
            raise RuntimeError(f"requires_grad can be set on leaves; this Tensor was made by {made}. Use .detach()")
        self._wanted = bool(wanted)

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each axis."""
        return self.value.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the elements."""
        return self.value.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.value.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.value.size

    @property
    def T(self) -> Tensor:
        """The Tensor with its axes in reverse order."""
        return bind(ops.transpose, (self,), {"axes": None})

    @property
    def logits(self) -> Tensor | None:
        """What went into the softmax or sigmoid that made this Tensor; None for any other."""
        return None if self.activation is None else self.activation[1][0]

    def __repr__(self) -> str:
        kind = type(self).__name__
        values = np.array2string(self._seen("repr()"), separator=", ", prefix=f"{kind}(", threshold=100)
        made = f", made by {self.source[0].__name__}" if self.source else ""
        wanted = ", requires_grad=True" if self._wanted and not self.source else ""
        return f"{kind}({values}, shape={self.shape}, dtype={self.dtype}{made}{wanted})"

    # Its values, for Python and NumPy to see

    def _seen(self, request: str) -> NDArray[Any]:
        """The value, after asking the recorder, if there is one, whether Python may see it."""
        recorder = current().recorder
        if recorder is not None:
            recorder.reveal(self, request)
        return self.value

    def numpy(self) -> NDArray[Any]:
        """The values: a read-only view, or a copy of what a variable's next update would change."""
        value = self._seen(".numpy()")
        if self.version is not None:
            return value.copy()
        view = value.view()
        view.flags.writeable = False
        return view

    def item(self) -> Any:
        """The only element, as a Python number.

        Raises:
            ShapeError: there is not exactly one element.
        """
        if self.size != 1:
            raise ShapeError(f"item expects a Tensor of one element; got shape {self.shape}")
        return self._seen(".item()").item()

    def tolist(self) -> Any:
        """The values as nested lists of Python numbers."""
        return self._seen(".tolist()").tolist()

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.numpy(), dtype, copy=copy)

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ShapeError(f"the truth of a Tensor of shape {self.shape} is ambiguous; use .any() or .all()")
        return bool(self._seen("bool(), as in `if` and `while`"))

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        return self._seen("an index").__index__()

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else repr(self)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len expects a Tensor of at least one axis; got shape ()")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[position] for position in range(len(self)))

    def __contains__(self, element: object) -> bool:
        return element in self._seen("`in`")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.value.copy(), self._wanted and self.source is None)  # copies forget the graph

    # Derivatives

    def backward(self, gradient: ArrayLike | Tensor | None = None, *, create_graph: bool = False) -> None:
        """Add to `.grad` of every leaf it was made from the derivative of this Tensor, weighted by `gradient`.

        Args:
            gradient: the cotangent, of this Tensor's shape; may be left out for a single element, where it is 1.
            create_graph: keep the gradients themselves differentiable.

        Raises:
            RuntimeError: nothing that it was made from requires a gradient.
            ShapeError: `gradient` is missing, or has another shape.
        """
        from tinygrad_bn.autodiff.gradients import backward  # a floor above: a courtesy to PyTorch's users

        backward(self, gradient, create_graph=create_graph)

    def detach(self) -> Tensor:
        """The same values without the graph: no gradient flows through."""
        detached = Tensor(self.value)
        detached.version = self.version
        return detached

    # Operators

    def __add__(self, other: Any) -> Tensor:
        return bind(ops.add, (self, other), _NOTHING)

    def __radd__(self, other: Any) -> Tensor:
        return bind(ops.add, (other, self), _NOTHING)

    def __sub__(self, other: Any) -> Tensor:
        return bind(ops.subtract, (self, other), _NOTHING)

    def __rsub__(self, other: Any) -> Tensor:
        return bind(ops.subtract, (other, self), _NOTHING)

    def __mul__(self, other: Any) -> Tensor:
        return bind(ops.multiply, (self, other), _NOTHING)

    def __rmul__(self, other: Any) -> Tensor:
        return bind(ops.multiply, (other, self), _NOTHING)

    def __truediv__(self, other: Any) -> Tensor:
        return bind(ops.divide, (self, other), _NOTHING)

    def __rtruediv__(self, other: Any) -> Tensor:
        return bind(ops.divide, (other, self), _NOTHING)

    def __floordiv__(self, other: Any) -> Tensor:
        return bind(ops.floor_divide, (self, other), _NOTHING)

    def __rfloordiv__(self, other: Any) -> Tensor:
        return bind(ops.floor_divide, (other, self), _NOTHING)

    def __mod__(self, other: Any) -> Tensor:
        return bind(ops.remainder, (self, other), _NOTHING)

    def __rmod__(self, other: Any) -> Tensor:
        return bind(ops.remainder, (other, self), _NOTHING)

    def __divmod__(self, other: Any) -> tuple[Tensor, Tensor]:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> tuple[Tensor, Tensor]:
        return other // self, other % self

    def __pow__(self, other: Any) -> Tensor:
        if type(other) is int and other == 2:
            return bind(ops.square, (self,), _NOTHING)
        return bind(ops.power, (self, other), _NOTHING)

    def __rpow__(self, other: Any) -> Tensor:
        return bind(ops.power, (other, self), _NOTHING)

    def __matmul__(self, other: Any) -> Tensor:
        return bind(ops.matmul, (self, other), _NOTHING)

    def __rmatmul__(self, other: Any) -> Tensor:
        return bind(ops.matmul, (other, self), _NOTHING)

    def __neg__(self) -> Tensor:
        return bind(ops.negative, (self,), _NOTHING)

    def __pos__(self) -> Tensor:
        return self

    def __abs__(self) -> Tensor:
        return bind(ops.abs, (self,), _NOTHING)

    def __eq__(self, other: Any) -> Tensor:  # type: ignore[override]
        return NotImplemented if _is_no_array(other) else bind(ops.equal, (self, other), _NOTHING)

    def __ne__(self, other: Any) -> Tensor:  # type: ignore[override]
        return NotImplemented if _is_no_array(other) else bind(ops.not_equal, (self, other), _NOTHING)

    def __lt__(self, other: Any) -> Tensor:
        return bind(ops.less, (self, other), _NOTHING)

    def __le__(self, other: Any) -> Tensor:
        return bind(ops.less_equal, (self, other), _NOTHING)

    def __gt__(self, other: Any) -> Tensor:
        return bind(ops.greater, (self, other), _NOTHING)

    def __ge__(self, other: Any) -> Tensor:
        return bind(ops.greater_equal, (self, other), _NOTHING)

    def __and__(self, other: Any) -> Tensor:
        return _of_truths(ops.logical_and, self, other)

    def __or__(self, other: Any) -> Tensor:
        return _of_truths(ops.logical_or, self, other)

    def __xor__(self, other: Any) -> Tensor:
        return _of_truths(ops.logical_xor, self, other)

    def __invert__(self) -> Tensor:
        return _of_truths(ops.logical_not, self)

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def __getitem__(self, index: Any) -> Tensor:
        parts, arrays = _parted(index if isinstance(index, tuple) else (index,))
        return bind(ops.getitem, (self, *arrays), {"index": parts})

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        raise TypeError("a Tensor cannot be written in place: build a new one, for instance with tg.where")

    # The ndarray methods that people type; NumPy's meaning throughout

    def sum(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """See `tg.sum`."""
        return _applied(ops.sum, self, axis, keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """See `tg.mean`."""
        return _applied(ops.mean, self, axis, keepdims)

    def max(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """See `tg.max`."""
        return _applied(ops.max, self, axis, keepdims)

    def min(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """See `tg.min`."""
        return _applied(ops.min, self, axis, keepdims)

    def prod(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """See `tg.prod`."""
        return _applied(ops.prod, self, axis, keepdims)

    def var(self, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Tensor:
        """See `tg.var`."""
        return _applied(ops.var, self, axis, ddof, keepdims)

    def std(self, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Tensor:
        """See `tg.std`."""
        return _applied(ops.std, self, axis, ddof, keepdims)

    def all(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """Whether every element is true."""
        return _applied(ops.all, self, axis, keepdims)

    def any(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """Whether some element is true."""
        return _applied(ops.any, self, axis, keepdims)

    def argmax(self, axis: int | None = None) -> Tensor:
        """See `tg.argmax`."""
        return _applied(ops.argmax, self, axis)

    def argmin(self, axis: int | None = None) -> Tensor:
        """See `tg.argmin`."""
        return _applied(ops.argmin, self, axis)

    def cumsum(self, axis: int | None = None) -> Tensor:
        """See `tg.cumsum`."""
        return _applied(ops.cumsum, self, axis)

    def clip(self, min: float | None = None, max: float | None = None) -> Tensor:
        """See `tg.clip`."""
        return _applied(ops.clip, self, min, max)

    def dot(self, other: Any) -> Tensor:
        """See `tg.matmul`."""
        return _dot(self, other)

    def reshape(self, *shape: Any) -> Tensor:
        """See `tg.reshape`; the shape as one tuple or as several numbers."""
        return _applied(ops.reshape, self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> Tensor:
        """See `tg.transpose`; the axes as one tuple, as several numbers, or none to reverse them."""
        return _applied(ops.transpose, self, (axes[0] if len(axes) == 1 else axes) or None)

    def flatten(self) -> Tensor:
        """All elements along one axis."""
        return _applied(ops.reshape, self, (-1,))

    ravel = flatten

    def squeeze(self, axis: Any = None) -> Tensor:
        """See `tg.squeeze`."""
        return _applied(ops.squeeze, self, axis)

    def copy(self) -> Tensor:
        """The same values in memory of their own; gradients flow through."""
        return _applied(ops.copy, self)

    def astype(self, dtype: DTypeLike) -> Tensor:
        """The values in another dtype; gradients flow between floating ones."""
        dtype = np.dtype(dtype)
        if dtype.kind not in _NUMBERS:
            raise DtypeError(f"astype expects a dtype of real numbers; got {dtype}")
        return bind(ops.astype if dtype.kind == "f" else ops.discretize, (self,), {"dtype": dtype})

    # NumPy meets us halfway

    def __array_ufunc__(self, function: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if "out" in options or method == "at":
            raise TypeError(f"an ndarray cannot take the result of {function.__name__} with a Tensor: write a = a + t")
        if method == "__call__":
            return self.__array_function__(function, (), inputs, options)
        return _without_us(getattr(function, method), f"{function.__name__}.{method}", inputs, options)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        ours = _ours().get(function)
        return _without_us(function, function.__name__, args, options) if ours is None else ours(*args, **options)


def bind(primitive: Primitive[Any], args: tuple[Any, ...], params: Mapping[str, Any]) -> Tensor:
    """Apply `primitive` to arguments of which one is a Tensor, and remember how, where a gradient may want it."""
    values: list[Any] = []
    wanted = False
    version = None
    for arg in args:
        if isinstance(arg, Tensor):
            values.append(arg.value)
            wanted = wanted or arg._wanted
            version = arg.version or version
        elif type(arg) in _PLAIN or (type(arg) is _ndarray and arg.dtype.kind in _NUMBERS):
            values.append(arg)
        else:
            return bind(primitive, tuple(_argument(arg, primitive.__name__) for arg in args), params)
    try:
        value = primitive.forward(*values, **params)
    except (ValueError, TypeError, IndexError, AttributeError):
        value = primitive.evaluate(values, params)  # it helps where a number has to be an array, or says what is wrong
    mode = current()
    result = _new(Tensor)
    result.value = value if type(value) is _ndarray else np.asarray(value)
    result.serial = _next_serial()
    result.grad = None
    result.version = version and _shared_version(value, args)
    result.activation = (primitive, args, params) if primitive.keeps_logits else None
    if wanted and mode.gradients and primitive.differentiable:
        result._wanted = True
        result.source = (primitive, args, params)
    else:
        result._wanted = False
        result.source = None
    if mode.recorder is not None:
        result.source = (primitive, args, params)
        mode.recorder.note(result)
    return result


def _applied(function: Callable[..., Any], *args: Any) -> Tensor:
    """What one of our functions makes of arguments of which one is a Tensor."""
    result: Tensor = function(*args)
    return result


def _shared_version(value: Any, args: tuple[Any, ...]) -> Version | None:
    """The version of the variable whose memory `value` shows, if it is a view of one among `args`."""
    for arg in args:
        if isinstance(arg, Tensor) and arg.version is not None:
            same = value is arg.value
            if same or (value.base is not None and np.may_share_memory(value, arg.value)):
                return arg.version
    return None


def _argument(arg: Any, name: str) -> Any:
    """An argument as a Tensor, a Python number or an ndarray; NumPy's scalars are as weak as Python's."""
    if isinstance(arg, Tensor):
        return arg
    for kinds, plain in _SCALARS:
        if isinstance(arg, kinds):
            return plain(arg)
    return as_array(arg, name=name)


def as_array(data: Any, dtype: DTypeLike | None = None, name: str = "tensor") -> NDArray[Any]:
    """`data` as an ndarray: Python floats become float32, ints int64, bools bool; NumPy's keep their dtype.

    Args:
        data: a number, nested sequences, an array, or a Tensor.
        dtype: what to cast it to, instead.
        name: who asks, for the messages.

    Raises:
        DtypeError: `data` is not made of real numbers, or has Tensors in it whose gradients would be lost.
        ShapeError: nested sequences of unequal lengths.
    """
    if isinstance(data, Tensor):
        return data.numpy() if dtype is None else data.numpy().astype(dtype)
    try:
        array = np.asarray(data, dtype)
    except ValueError:
        raise ShapeError(f"{name} expects nested sequences of equal lengths; got {data!r:.80}") from None
    if array.dtype.kind not in _NUMBERS:
        raise DtypeError(f"{name} expects real numbers; got {data!r:.80} of type {type(data).__name__}")
    if array.dtype.kind != "f" or hasattr(data, "dtype"):
        return array
    strong = {leaf.dtype for leaf in _leaves(data, name)}
    if dtype is None and array.dtype == np.float64:
        return array.astype(np.result_type(*strong, 0.0) if strong else np.float32)
    return array


def _leaves(data: Any, name: str) -> Iterator[Any]:
    """The arrays and Tensors in nested sequences."""
    stack = [data]
    while stack:
        part = stack.pop()
        if isinstance(part, (list, tuple)):
            stack.extend(part)
        elif isinstance(part, Tensor) and part.requires_grad:
            raise DtypeError(f"{name} would lose the gradients of Tensors in a {type(data).__name__}: use tg.stack")
        elif hasattr(part, "dtype"):
            yield part


def tensor(data: Any, *, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Tensor:
    """A Tensor with a copy of `data`: a number, nested sequences, an array, or the values of a Tensor.

    Python floats become float32, ints int64 and bools bool; NumPy arrays keep their dtype.

    Raises:
        DtypeError: `data` is not made of real numbers, or a gradient of integers is asked for.
        ShapeError: nested sequences of unequal lengths.
    """
    return Tensor(np.array(as_array(data, dtype)), requires_grad)


def _parted(index: tuple[Any, ...]) -> tuple[tuple[Any, ...], list[Any]]:
    """An index with placeholders for its arrays, and the arrays, which are arguments."""
    parts: list[Any] = []
    arrays: list[Any] = []
    for part in index:
        if part is None or part is Ellipsis or isinstance(part, slice):
            parts.append(part)
        elif isinstance(part, (int, np.integer)) and not isinstance(part, bool):
            parts.append(int(part))
        else:
            array = part if isinstance(part, Tensor) else np.asarray(part)
            if isinstance(array, np.ndarray) and array.size == 0:
                array = array.astype(np.int64)
            if array.dtype.kind not in "iub":
                raise IndexError(f"an index expects integers, slices, masks and ...; got {part!r:.80}")
            if isinstance(array, Tensor) and array.dtype.kind == "b":
                array = array._seen("a mask index")
            arrays.append(array)
            parts.append(ops.shape.ARRAY)
    return tuple(parts), arrays


def _of_truths(primitive: Primitive[Any], *args: Any) -> Tensor:
    """`&`, `|`, `^` and `~`, of truth values only: of numbers they would mean bits, or be a slip in a comparison."""
    name = primitive.__name__
    args = tuple(_argument(arg, name) for arg in args)
    for arg in args:
        if not isinstance(arg, bool) and getattr(arg, "dtype", None) != np.bool:
            came = getattr(arg, "dtype", arg)
            raise DtypeError(f"{name} expects truth values, as in (a < x) & (x < b); got {came}")
    return bind(primitive, args, _NOTHING)


def _dot(x: Any, y: Any) -> Tensor:
    """NumPy's dot, where it is a matrix product."""
    if np.ndim(x) > 1 and np.ndim(y) > 2:
        raise ShapeError(f"dot expects vectors and matrices; got {x.shape} and {y.shape}. Use tg.matmul or tg.einsum")
    return _applied(ops.matmul, x, y)


def _broadcast_arrays(*arrays: Any) -> tuple[Any, ...]:
    known = [array if isinstance(array, Tensor) else np.asarray(array) for array in arrays]
    shape = np.broadcast_shapes(*(array.shape for array in known))
    return tuple((ops if isinstance(array, Tensor) else np).broadcast_to(array, shape) for array in known)


def _is_no_array(other: object) -> bool:
    return other is None or isinstance(other, str)


@cache
def _ours() -> Mapping[Any, Callable[..., Any]]:
    """Our function for each of NumPy's that has one of its name, or of its meaning."""
    table: dict[Any, Callable[..., Any]] = {
        np.linalg.norm: ops.norm,
        np.dot: _dot,
        np.divmod: lambda x, y: (ops.floor_divide(x, y), ops.remainder(x, y)),
        np.ravel: Tensor.ravel,
        np.broadcast_arrays: _broadcast_arrays,
        np.bitwise_and: partial(_of_truths, ops.logical_and),
        np.bitwise_or: partial(_of_truths, ops.logical_or),
        np.bitwise_xor: partial(_of_truths, ops.logical_xor),
        np.invert: partial(_of_truths, ops.logical_not),
    }
    for name in ops.__all__:
        function = getattr(np, name, None)
        if function is not None and name not in ("astype", "put"):  # these mean something else in NumPy
            table[function] = getattr(ops, name)
    return table


def _without_us(function: Callable[..., Any], name: str, args: Any, options: Mapping[str, Any]) -> Any:
    """A NumPy function that has no derivative here, on the values.

    Raises:
        TypeError: its result would have one. Truth values, indices and the like have none.
    """
    wanted = False

    def seen(argument: Any) -> Any:
        nonlocal wanted
        if isinstance(argument, (list, tuple)):
            return type(argument)(map(seen, argument))
        if not isinstance(argument, Tensor):
            return argument
        if function in _BLIND:
            return argument.value
        wanted = wanted or argument.requires_grad
        return argument._seen(f"np.{name}")

    result = function(*map(seen, args), **{key: seen(option) for key, option in options.items()})
    parts = result if isinstance(result, (list, tuple)) else (result,)
    if wanted and any(isinstance(part, (np.ndarray, np.floating)) and part.dtype.kind == "f" for part in parts):
        raise TypeError(f"np.{name} has no derivative here; use a tg function, or .detach() to go without")
    return result


_BLIND = {np.shape, np.ndim, np.size, np.zeros_like, np.ones_like, np.empty_like, np.result_type}
"""NumPy's functions that look at shapes and dtypes only."""
