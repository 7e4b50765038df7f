"""Tensor: an array that remembers how it was made.

A Tensor *is* the vertex of the graph: `t.source` holds the primitive, its arguments and its settings, and nothing
below points up, so there are no cycles. Serial numbers grow in creation order, which is the order of every sweep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import count
from operator import attrgetter
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
            raise RuntimeError(f"requires_grad can be set on leaves; this Tensor was made by {self.source[0].__name__}")
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
        """The values as a read-only view."""
        view = self._seen(".numpy()").view()
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

    def __array__(self, dtype: DTypeLike = None, copy: bool | None = None) -> NDArray[Any]:
        value = self.numpy()
        if dtype is not None and np.dtype(dtype) != value.dtype:
            return value.astype(dtype)
        return value.copy() if copy else value

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
        return format(self.item(), spec) if self.size == 1 and spec else format(repr(self), spec)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len expects a Tensor of at least one axis; got shape ()")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[position] for position in range(len(self)))

    def __contains__(self, element: object) -> bool:
        return element in self._seen("`in`")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.value.copy(), self._wanted)  # copies and pickles forget the graph

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
        from tinygrad_bn.autodiff.gradients import backward  # a floor above: the method is a courtesy to PyTorch's users

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
        return NotImplemented if other is None else bind(ops.equal, (self, other), _NOTHING)

    def __ne__(self, other: Any) -> Tensor:  # type: ignore[override]
        return NotImplemented if other is None else bind(ops.not_equal, (self, other), _NOTHING)

    def __lt__(self, other: Any) -> Tensor:
        return bind(ops.less, (self, other), _NOTHING)

    def __le__(self, other: Any) -> Tensor:
        return bind(ops.less_equal, (self, other), _NOTHING)

    def __gt__(self, other: Any) -> Tensor:
        return bind(ops.greater, (self, other), _NOTHING)

    def __ge__(self, other: Any) -> Tensor:
        return bind(ops.greater_equal, (self, other), _NOTHING)

    def __and__(self, other: Any) -> Tensor:
        return bind(ops.logical_and, (self, other), _NOTHING)

    def __or__(self, other: Any) -> Tensor:
        return bind(ops.logical_or, (self, other), _NOTHING)

    def __xor__(self, other: Any) -> Tensor:
        return bind(ops.logical_xor, (self, other), _NOTHING)

    def __invert__(self) -> Tensor:
        return bind(ops.logical_not, (self,), _NOTHING)

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def __getitem__(self, index: Any) -> Tensor:
        parts, arrays = _parted(index if isinstance(index, tuple) else (index,))
        return bind(ops.getitem, (self, *arrays), {"index": parts})

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        raise TypeError("a Tensor cannot be written in place: build a new one, for instance with tg.where")

    # The ndarray methods that people type; NumPy's meaning throughout

    def sum(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """See `tg.sum`."""
        return ops.sum(self, axis, keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """See `tg.mean`."""
        return ops.mean(self, axis, keepdims)

    def max(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """See `tg.max`."""
        return ops.max(self, axis, keepdims)

    def min(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """See `tg.min`."""
        return ops.min(self, axis, keepdims)

    def prod(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """See `tg.prod`."""
        return ops.prod(self, axis, keepdims)

    def var(self, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Tensor:
        """See `tg.var`."""
        return ops.var(self, axis, ddof, keepdims)

    def std(self, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Tensor:
        """See `tg.std`."""
        return ops.std(self, axis, ddof, keepdims)

    def all(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """Whether every element is true."""
        return ops.all(self, axis, keepdims)

    def any(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """Whether some element is true."""
        return ops.any(self, axis, keepdims)

    def argmax(self, axis: int | None = None) -> Tensor:
        """See `tg.argmax`."""
        return ops.argmax(self, axis)

    def argmin(self, axis: int | None = None) -> Tensor:
        """See `tg.argmin`."""
        return ops.argmin(self, axis)

    def cumsum(self, axis: int | None = None) -> Tensor:
        """See `tg.cumsum`."""
        return ops.cumsum(self, axis)

    def clip(self, a_min: float | None = None, a_max: float | None = None) -> Tensor:
        """See `tg.clip`."""
        return ops.clip(self, a_min, a_max)

    def dot(self, other: Any) -> Tensor:
        """See `tg.matmul`."""
        return self @ other

    def reshape(self, *shape: Any) -> Tensor:
        """See `tg.reshape`; the shape as one tuple or as several numbers."""
        return ops.reshape(self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> Tensor:
        """See `tg.transpose`; the axes as one tuple, as several numbers, or none to reverse them."""
        return ops.transpose(self, (axes[0] if len(axes) == 1 else axes) or None)

    def flatten(self) -> Tensor:
        """All elements along one axis."""
        return ops.reshape(self, (-1,))

    ravel = flatten

    def squeeze(self, axis: Any = None) -> Tensor:
        """See `tg.squeeze`."""
        return ops.squeeze(self, axis)

    def copy(self) -> Tensor:
        """The same values in memory of their own; gradients flow through."""
        return ops.copy(self)

    def astype(self, dtype: DTypeLike) -> Tensor:
        """The values in another dtype; gradients flow between floating ones."""
        kind = ops.astype if np.dtype(dtype).kind == "f" else ops.discretize
        return bind(kind, (self,), {"dtype": np.dtype(dtype)})

    # NumPy meets us halfway

    def __array_ufunc__(self, function: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if "out" in options:
            raise TypeError(f"an ndarray cannot take the result of {function.__name__} with a Tensor: write a = a + t")
        ours = _ours().get(function)
        if ours is not None and method == "__call__":
            return ours(*inputs, **options)
        return _without_us(getattr(function, method), f"{function.__name__}", inputs, options)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        ours = _ours().get(function)
        if ours is not None:
            return ours(*args, **options)
        return _without_us(function, function.__name__, args, options)


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
        elif type(arg) is float or type(arg) is _ndarray or type(arg) is int:
            values.append(arg)
        else:
            return bind(primitive, tuple(map(_argument, args)), params)
    try:
        value = primitive.forward(*values, **params)
    except (ValueError, TypeError, IndexError) as error:
        raise primitive.explain(error, values, params) from None
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


def _shared_version(value: Any, args: tuple[Any, ...]) -> Version | None:
    """The version of the variable whose memory `value` shows, if it is a view of one among `args`."""
    for arg in args:
        if isinstance(arg, Tensor) and arg.version is not None and np.may_share_memory(value, arg.value):
            return arg.version
    return None


def _argument(arg: Any) -> Any:
    """An argument as a Tensor, an ndarray, or a Python number; NumPy's scalars are as weak as Python's."""
    if isinstance(arg, np.generic):
        return arg.item()
    if isinstance(arg, (Tensor, int, float)):
        return arg + 0 if isinstance(arg, bool) else arg
    return as_array(arg)


def as_array(data: Any, dtype: DTypeLike = None) -> NDArray[Any]:
    """`data` as an ndarray: Python floats become float32, ints int64, bools bool; NumPy's keep their dtype.

    Raises:
        DtypeError: `data` is not made of numbers.
        ShapeError: nested sequences of unequal lengths.
    """
    if isinstance(data, Tensor):
        return data.numpy() if dtype is None else data.numpy().astype(dtype)
    try:
        array = np.asarray(data, dtype)
    except ValueError:
        raise ShapeError(f"tensor expects nested sequences of equal lengths; got {data!r:.80}") from None
    if array.dtype.kind not in "fiub":
        raise DtypeError(f"tensor expects numbers; got {data!r:.80} of type {type(data).__name__}")
    if dtype is None and array.dtype == np.float64 and not _from_numpy(data):
        return array.astype(np.float32)
    return array


def _from_numpy(data: Any) -> bool:
    while isinstance(data, (list, tuple)) and data:
        data = data[0]
    return hasattr(data, "dtype")


def tensor(data: Any, *, dtype: DTypeLike = None, requires_grad: bool = False) -> Tensor:
    """A Tensor with a copy of `data`: a number, nested sequences, or an array.

    Python floats become float32, ints int64 and bools bool; NumPy arrays keep their dtype.

    Raises:
        DtypeError: `data` is not made of numbers, or a gradient of integers is asked for.
        ShapeError: nested sequences of unequal lengths.
    """
    return Tensor(np.array(as_array(data, dtype)), requires_grad)


def _parted(index: tuple[Any, ...]) -> tuple[tuple[Any, ...], list[Any]]:
    """An index with placeholders for its arrays, and the arrays, which are arguments."""
    parts: list[Any] = []
    arrays: list[Any] = []
    for part in index:
        if isinstance(part, (Tensor, np.ndarray, list)):
            array = part if isinstance(part, Tensor) else np.asarray(part)
            if isinstance(array, np.ndarray) and array.size == 0:
                array = array.astype(np.int64)
            if array.dtype.kind not in "iub":
                raise IndexError(f"an index expects integers, slices, masks and ...; got an array of {array.dtype}")
            if isinstance(array, Tensor) and array.dtype.kind == "b":
                array = array._seen("a mask index")
            arrays.append(array)
            parts.append(ops.shape.ARRAY)
        elif part is None or part is Ellipsis or isinstance(part, slice):
            parts.append(part)
        else:
            try:
                parts.append(part.__index__())
            except AttributeError:
                raise IndexError(f"an index expects integers, slices, masks and ...; got {part!r}") from None
    return tuple(parts), arrays


@cache
def _ours() -> Mapping[Any, Callable[..., Any]]:
    """Our function for each of NumPy's that has one of its name."""
    table: dict[Any, Callable[..., Any]] = {np.linalg.norm: ops.norm}
    table.update({getattr(np, name): attrgetter(name) for name in ("shape", "ndim", "size")})
    for name in ops.__all__:
        function = getattr(np, name, None)
        if function is not None:
            table[function] = getattr(ops, name)
    return table


def _without_us(function: Callable[..., Any], name: str, args: Any, options: Mapping[str, Any]) -> Any:
    """A NumPy function that has no derivative here, on the values."""

    def seen(argument: Any) -> Any:
        if isinstance(argument, (list, tuple)):
            return type(argument)(map(seen, argument))
        if not isinstance(argument, Tensor):
            return argument
        if argument.requires_grad:
            raise TypeError(f"np.{name} has no derivative here; use a tg function, or .detach() to go without")
        return argument._seen(f"np.{name}")

    return function(*map(seen, args), **{key: seen(option) for key, option in options.items()})
