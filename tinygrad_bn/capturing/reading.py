"""Reading a function's own text, at the level of NumPy calls, by running it once on stand-ins for arrays.

A stand-in answers NumPy's protocols with the result the array would give, and notes the call. What cannot be read
that way (a write, a plain array as the result, a question about a value) makes the function opaque: it is `Unreadable`.
The function must be pure: what it draws, counts or looks up while it is read is a constant of its text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from tinygrad_bn.primitives import Primitive, Traced

if TYPE_CHECKING:  # numpy.typing costs more to import than all of ours
    from numpy.typing import NDArray


class Unreadable(Exception):
    """The function does something that the calls it makes on arrays do not tell."""


class Ref:
    """A place in a text where the value with this number belongs: the arguments first, then the calls' results."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number

    def __repr__(self) -> str:
        return f"%{self.number}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ref) and other.number == self.number

    def __hash__(self) -> int:
        return hash(("Ref", self.number))


class Call:
    """One NumPy call: the function, its arguments with `Ref`s for values, and the value it gave when it was read."""

    __slots__ = ("args", "function", "options", "sample")

    def __init__(
        self, function: Callable[..., Any], args: tuple[Any, ...], options: Mapping[str, Any], sample: NDArray[Any]
    ) -> None:
        self.function = function
        self.args = args
        self.options = options
        self.sample = sample

    def __repr__(self) -> str:
        name = getattr(self.function, "__name__", str(self.function))
        said = [repr(arg) for arg in self.args] + [f"{key}={option!r}" for key, option in self.options.items()]
        return f"{name}({', '.join(said)})"


class Text:
    """What a function does: `arguments` values come in, the calls make one more each, `results` go out."""

    def __init__(self, arguments: int, calls: list[Call], results: tuple[Any, ...]) -> None:
        self.arguments = arguments
        self.calls = calls
        self.results = results

    def sample(self, ref: Ref, *arguments: NDArray[Any]) -> NDArray[Any]:
        """What stood at `ref` when the text was read, from these arguments."""
        return arguments[ref.number] if ref.number < self.arguments else self.calls[ref.number - self.arguments].sample

    def __str__(self) -> str:
        lines = [f"%{self.arguments + number} = {call!r}" for number, call in enumerate(self.calls)]
        return "\n".join([*lines, f"return {', '.join(map(repr, self.results))}"])


def read(function: Callable[..., Any], *samples: Any, **settings: Any) -> Text:
    """The text of `function`, from one run on stand-ins for those samples that are arrays.

    Raises:
        Unreadable: it does something else than call NumPy functions on its arguments and return what they give.
    """
    reading = _Reading(len(samples))
    stand_ins = [
        _StandIn(_sealed(sample), Ref(number), reading) if isinstance(sample, np.ndarray) else sample
        for number, sample in enumerate(samples)
    ]
    try:
        result = function(*stand_ins, **settings)
    except Exception as error:
        raise Unreadable(f"{function} cannot be run on stand-ins: {error}") from error
    reading.check()
    results = result if isinstance(result, (tuple, list)) else (result,)
    if not all(isinstance(part, _StandIn) for part in results):
        raise Unreadable(f"{function} returns something that was not made from its arguments")
    return Text(len(samples), reading.calls, tuple(part.ref for part in results))


class _Reading:
    """What one run on stand-ins has brought to light."""

    def __init__(self, arguments: int) -> None:
        self.arguments = arguments
        self.calls: list[Call] = []
        self.constants: list[tuple[NDArray[Any], NDArray[Any]]] = []
        self.refusal = ""

    def note(self, function: Callable[..., Any], args: Sequence[Any], options: Mapping[str, Any]) -> _StandIn:
        """Call the function on the samples, and write the call down."""
        try:  # every array is sealed, so nothing is written
            result = function(*map(_sample_of, args), **{key: _sample_of(option) for key, option in options.items()})
        except Exception as error:
            self.refuse(str(error))
        if not isinstance(result, (np.ndarray, np.generic)):
            self.refuse(f"{function} gives a {type(result).__name__}, not an array")
        sample = _sealed(np.asarray(result))
        said = tuple(map(self._said, args)), {key: self._said(option) for key, option in options.items()}
        self.calls.append(Call(function, *said, sample))
        return _StandIn(sample, Ref(self.arguments + len(self.calls) - 1), self)

    def _said(self, argument: Any) -> Any:
        """An argument as it stands in the text."""
        if isinstance(argument, (tuple, list)):
            return type(argument)(map(self._said, argument))
        if isinstance(argument, _StandIn):
            return argument.ref
        if isinstance(argument, np.ndarray):
            self.constants.append((argument, argument.copy()))
        return argument

    def refuse(self, reason: str) -> NoReturn:
        """Give up; for good, even if the function catches the exception."""
        self.refusal = reason
        raise Unreadable(reason)

    def check(self) -> None:
        """Raise if the run has shown that the text is not all there is."""
        if self.refusal:
            raise Unreadable(self.refusal)
        if any(constant.tobytes() != noted.tobytes() for constant, noted in self.constants):
            raise Unreadable("an array was changed after it had been used")


class _StandIn(NDArrayOperatorsMixin, Traced):
    """Stands for an array while a function is read."""

    __slots__ = ("reading", "ref", "sample")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, sample: NDArray[Any], ref: Ref, reading: _Reading) -> None:
        self.sample = sample
        self.ref = ref
        self.reading = reading

    @property  # type: ignore[misc]
    def __class__(self) -> type:  # so that isinstance(x, np.ndarray) is answered as for an array
        return np.ndarray

    @staticmethod
    def bind(primitive: Primitive[Any], args: tuple[Any, ...], params: Mapping[str, Any]) -> Any:
        if primitive.random:
            reading = next(arg.reading for arg in args if isinstance(arg, _StandIn))
            reading.refuse(f"{primitive.__name__} draws anew at every call")
        return primitive.forward(*args, **params)

    def __array_ufunc__(self, function: np.ufunc, method: str, *args: Any, **options: Any) -> Any:
        if method != "__call__":
            return self.reading.note(getattr(function, method), args, options)
        if "where" in options:
            self.reading.refuse(f"{function.__name__} leaves some results undefined")
        return self.reading.note(function, args, options)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        return self.reading.note(function, args, options)

    def __getattr__(self, name: str) -> Any:
        if name in _FACTS:
            return getattr(self.sample, name)
        if name in _PARTS:
            return self.reading.note(getattr, (self, name), {})
        if name.startswith("__"):
            raise AttributeError(name)
        method = getattr(np.ndarray, name)
        if not callable(method):
            self.reading.refuse(f"Python sees .{name}")
        return lambda *args, **options: self.reading.note(method, (self, *args), options)

    def __getitem__(self, index: Any) -> Any:
        return self.reading.note(np.ndarray.__getitem__, (self, index), {})

    def __len__(self) -> int:
        return len(self.sample)

    def __pow__(self, exponent: Any) -> Any:
        if not self.sample.ndim or not isinstance(exponent, (int, float)):
            self.reading.refuse("** of a NumPy scalar and of an array of no dimensions differ")
        return self.reading.note(pow, (self, exponent), {})

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        self.reading.refuse("Python sees a value, or writes one")

    __array__ = __bool__ = __float__ = __int__ = __index__ = __complex__ = __round__ = _refuse
    __repr__ = __str__ = __format__ = __iter__ = __contains__ = __reduce_ex__ = _refuse
    __setitem__ = __delitem__ = __rpow__ = _refuse
    __iadd__ = __isub__ = __imul__ = __itruediv__ = __ifloordiv__ = __imod__ = __ipow__ = __imatmul__ = _refuse
    __iand__ = __ior__ = __ixor__ = __ilshift__ = __irshift__ = _refuse


_FACTS = {"shape", "dtype", "ndim", "size", "itemsize", "nbytes"}
"""What is the same for all arrays that a text is replayed on."""

_PARTS = {"T", "mT", "real", "imag"}


def _sealed(array: NDArray[Any]) -> NDArray[Any]:
    """The same memory, not to be written."""
    view = array.view()
    view.flags.writeable = False
    return view


def _sample_of(argument: Any) -> Any:
    if isinstance(argument, (tuple, list)):
        return type(argument)(map(_sample_of, argument))
    if isinstance(argument, _StandIn):
        return argument.sample
    return _sealed(argument) if isinstance(argument, np.ndarray) else argument
