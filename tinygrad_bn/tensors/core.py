"""Tensor: an array that remembers how it was made.

A Tensor *is* the vertex of the graph: `t.source` holds the primitive, its arguments and its settings, and nothing
below points up, so there are no cycles. Serial numbers grow in creation order: every sweep goes from the youngest to
the oldest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeAlias
from weakref import WeakSet, ref

import numpy as np

from tinygrad_bn import ops
from tinygrad_bn.errors import DtypeError, SettingError, ShapeError
from tinygrad_bn.mode import changed, current
from tinygrad_bn.names import checked
from tinygrad_bn.primitives import Primitive
from tinygrad_bn.tensors.arrays import NUMBERS, as_argument, as_array, parted
from tinygrad_bn.tensors.methods import Methods
from tinygrad_bn.tensors.protocol import Visible, of_truths

if TYPE_CHECKING:  # numpy.typing costs more to import than all of ours
    from numpy.typing import ArrayLike, DTypeLike, NDArray

_Operator: TypeAlias = "Callable[[Tensor, Any], Tensor]"
Source: TypeAlias = tuple[Primitive[...], tuple[Any, ...], Mapping[str, Any]]

_ndarray = np.ndarray
_new = object.__new__
next_serial = count(1).__next__
_NOTHING: Mapping[str, Any] = {}
_PLAIN = {float, int, bool}


class Version:
    """When a variable was last written, and by whom how often; the views of it share this.

    Attributes:
        views: the Tensors, other than the variable, that show its memory: they follow where that is moved.
    """

    __slots__ = ("updated", "views", "writer", "writers")

    def __init__(self) -> None:
        self.updated = 0
        self.writer = ""
        self.writers: defaultdict[str, int] = defaultdict(int)
        self.views: WeakSet[Tensor] = WeakSet()


def _operators(primitive: Primitive[...]) -> tuple[_Operator, _Operator]:
    """The operator of two operands, and the one for when the Tensor stands on the right."""

    def applied(x: Tensor, y: Any) -> Tensor:
        return bind(primitive, (x, y), _NOTHING)

    def reflected(x: Tensor, y: Any) -> Tensor:
        return bind(primitive, (y, x), _NOTHING)

    return applied, reflected


class Tensor(Visible, Methods):
    """An n-dimensional array that remembers the operation, the arguments and the settings that made it.

    Attributes:
        value: the ndarray itself; not to be written, nor, of a variable, to be kept: an optimizer may move its memory.
        source: (primitive, arguments, settings); None for a leaf, and where no gradient is wanted.
        serial: its place in the order of creation.
        version: of the variable whose memory it shows, if it shows one.
        activation: the source of a softmax or sigmoid, kept in every mode for the losses; None for all others.

    An ndarray that meets a Tensor in an operation is remembered, not copied: who writes to it before the backward pass
    may change the gradient.
    """

    __slots__ = (
        "__weakref__",
        "_grad",
        "_shown",
        "_values",
        "_versions",
        "_wanted",
        "activation",
        "serial",
        "source",
        "value",
        "version",
    )
    __hash__ = object.__hash__

    value: NDArray[Any]
    _grad: Tensor | NDArray[Any] | None
    source: Source | None
    serial: int
    version: Version | None
    activation: Source | None
    _wanted: bool
    _values: list[Any]  # of the arguments, where there is a source
    _versions: tuple[Version, ...]  # of the variables among them
    _shown: Callable[[], Tensor | None]

    def __init__(self, value: NDArray[Any], requires_grad: bool = False) -> None:
        if type(value) is not _ndarray and not isinstance(value, _ndarray):
            raise TypeError(f"Tensor expects an ndarray; got {value!r:.60}. tg.tensor makes one of numbers and lists")
        self.value = value
        self._grad = self.source = self.version = self.activation = None
        self.serial = next_serial()
        self._wanted = False
        if requires_grad is not False:
            self.requires_grad = requires_grad

    @staticmethod
    def bind(primitive: Primitive[Any], args: tuple[Any, ...], params: Mapping[str, Any]) -> Tensor:
        """Apply `primitive` to arguments of which one is a Tensor, and remember how, where a gradient may want it."""
        values: list[Any] = []
        wanted = False
        versions: tuple[Version, ...] = ()
        for arg in args:
            if isinstance(arg, Tensor):
                values.append(arg.value)
                wanted = wanted or arg._wanted
                if arg.version is not None:
                    versions = (*versions, arg.version)
            elif (type(arg) is _ndarray and arg.dtype.kind in NUMBERS) or type(arg) in _PLAIN:
                values.append(arg)
            elif isinstance(arg, (list, tuple, range)):
                return bind(primitive, primitive.arrayed(args), params)
            else:
                return bind(primitive, tuple(as_argument(arg, primitive.__name__) for arg in args), params)
        try:
            value = primitive.forward(*values, **params) if params else primitive.forward(*values)
        except (ValueError, TypeError, IndexError, AttributeError, OverflowError) as error:
            if isinstance(error, AttributeError) and any(type(arg) in _PLAIN for arg in args):
                return bind(primitive, primitive.arrayed(args), params)  # text that asks a number for its shape
            value = primitive.evaluate(values, params)  # which says what is wrong
        mode = current()
        recorder = mode.recorder
        result = _new(Tensor)
        result.value = value if type(value) is _ndarray else primitive.as_array(value)
        result.serial = next_serial()
        result._grad = result.version = None
        if versions:
            shown = result.value  # which is no variable's where it owns its memory and is none of the arguments
            if shown.base is not None or shown is values[0] or shown is values[-1] or len(values) > 2:
                _share_version(result, args)
        result.activation = (primitive, args, params) if primitive.keeps_logits else None
        result._wanted = wanted = wanted and mode.gradients and primitive.differentiable
        if wanted or recorder is not None:
            result.source = primitive, args, params
            result._values, result._versions = values, versions
            if recorder is not None:
                recorder.note(result)
        else:
            result.source = None
        return result

    # What it is

    @property
    def requires_grad(self) -> bool:
        """Whether derivatives with respect to it are wanted; can be set on leaves of a floating dtype."""
        return self._wanted

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        if not isinstance(wanted, (bool, np.bool)):
            raise SettingError(f"requires_grad, or trainable, expects True or False; got {wanted!r:.60}")
        if wanted and self.value.dtype.kind != "f":
            raise DtypeError(f"requires_grad expects a floating dtype; got {self.dtype}. Use .astype(np.float32)")
        if self.source is not None and wanted != self._wanted:
            made = self.source[0].__name__
            raise RuntimeError(f"requires_grad can be set on leaves; this Tensor was made by {made}. Use .detach()")
        self._wanted = bool(wanted)
        changed()

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

    # Its parts

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len expects a Tensor of at least one axis; got shape ()")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[position] for position in range(len(self)))

    def __getitem__(self, index: Any) -> Tensor:
        parts, arrays = parted(index if isinstance(index, tuple) else (index,))
        return bind(ops.getitem, (self, *arrays), {"index": parts})

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        raise TypeError("a Tensor cannot be written in place: build a new one, for instance with tg.where")

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
        self._backward(self, gradient, create_graph)

    _backward: ClassVar[Callable[..., None]]  # set by the floor above, autodiff/gradients.py

    @property
    def grad(self) -> Tensor | None:
        """What `backward` has accumulated for this leaf, or None; can be set to an array or Tensor of its shape."""
        recorder = current().recorder
        if recorder is not None:
            recorder.gradient(self, read=True)
        return self._gradient()

    @grad.setter
    def grad(self, gradient: ArrayLike | Tensor | None) -> None:
        recorder = current().recorder
        if recorder is not None:
            recorder.gradient(self, read=False)
        if gradient is None:
            self._grad = None
            return
        self._grad = fitting(gradient, self, "grad", "Tensor")

    def _gradient(self) -> Tensor | None:
        """`grad`, which `backward` leaves as an array: the same Tensor of it as long as somebody holds that.

        It does not write to `_grad`, for another thread may be adding to that.
        """
        found = self._grad
        if found is None or isinstance(found, Tensor):
            return found
        known = getattr(self, "_shown", None)
        shown = None if known is None else known()
        if shown is None or shown.value is not found:
            shown = Tensor(found)
            self._shown = ref(shown)
        return shown

    def detach(self) -> Tensor:
        """The same values without the graph: no gradient flows through.

        They lie in the same memory: those of a parameter change with it, as those of `p.T` and `p[0]` do, but not those
        of a `.copy()`.
        """
        detached = Tensor(self.value)
        if self.version is not None:
            detached.version = self.version
            self.version.views.add(detached)
        recorder = current().recorder
        if recorder is not None:
            recorder.detached(detached, self)
        return detached

    # Operators

    __add__, __radd__ = _operators(ops.add)
    __sub__, __rsub__ = _operators(ops.subtract)
    __mul__, __rmul__ = _operators(ops.multiply)
    __truediv__, __rtruediv__ = _operators(ops.divide)
    __floordiv__, __rfloordiv__ = _operators(ops.floor_divide)
    __mod__, __rmod__ = _operators(ops.remainder)
    __matmul__, __rmatmul__ = _operators(ops.matmul)
    __lt__, __gt__ = _operators(ops.less)[0], _operators(ops.greater)[0]
    __le__, __ge__ = _operators(ops.less_equal)[0], _operators(ops.greater_equal)[0]

    def __pow__(self, other: Any) -> Tensor:
        if type(other) is int and other == 2:
            return bind(ops.square, (self,), _NOTHING)
        return bind(ops.power, (self, other), _NOTHING)

    def __rpow__(self, other: Any) -> Tensor:
        return bind(ops.power, (other, self), _NOTHING)

    def __divmod__(self, other: Any) -> tuple[Tensor, Tensor]:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> tuple[Tensor, Tensor]:
        return other // self, other % self

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

    def __and__(self, other: Any) -> Tensor:
        return of_truths(ops.logical_and, self, other)

    def __or__(self, other: Any) -> Tensor:
        return of_truths(ops.logical_or, self, other)

    def __xor__(self, other: Any) -> Tensor:
        return of_truths(ops.logical_xor, self, other)

    def __invert__(self) -> Tensor:
        return of_truths(ops.logical_not, self)

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__


bind = Tensor.bind


def _share_version(result: Tensor, args: tuple[Any, ...]) -> None:
    """Give `result` the version of the variable whose memory it shows, if it is a view of one among `args`."""
    value = result.value
    for arg in args:
        if isinstance(arg, Tensor) and arg.version is not None:
            same = value is arg.value
            if same or (value.base is not None and np.may_share_memory(value, arg.value)):
                result.version = arg.version
                arg.version.views.add(result)
                return


def fitting(data: Any, like: Tensor, name: str, whose: str) -> Tensor:
    """`data` as a Tensor of the shape and dtype of `like`, whose values no update of a variable changes.

    Raises:
        DtypeError: `data` is not made of real numbers.
        ShapeError: it has another shape; the message calls `data` by `name`, and `like` by what it is to that.
    """
    given = data if isinstance(data, Tensor) else Tensor(np.array(as_array(data, name=name, floats=np.float64)))
    if given.version is not None:
        given = given.copy()
    if given.shape != like.shape:
        raise ShapeError(f"{name} expects the shape of its {whose}, {like.shape}; got {given.shape}")
    return given if given.dtype == like.dtype else given.astype(like.dtype)


def _is_no_array(other: object) -> bool:
    return other is None or isinstance(other, str)


@checked
def tensor(data: Any, *, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Tensor:
    """A Tensor with a copy of `data`: a number, nested sequences, an array, or the values of a Tensor.

    Python floats become float32, ints int64 and bools bool; NumPy arrays keep their dtype.

    Raises:
        DtypeError: `data` is not made of real numbers, or of such as `dtype` can hold, or a gradient of integers is
            asked for.
        ShapeError: nested sequences of unequal lengths.
    """
    return Tensor(np.array(as_array(data, dtype)), requires_grad)
