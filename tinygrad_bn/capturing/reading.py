"""Reading a function's own text, at the level of NumPy calls, by running it once on stand-ins for arrays.

A stand-in answers NumPy's protocols with the result the array would give, and notes the call. What cannot be read
that way (a write, a plain array as the result, a question about a value) makes the function opaque: it is `Unreadable`.
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

    def __str__(self) -> str:
        lines = [f"%{self.arguments + number} = {call!r}" for number, call in enumerate(self.calls)]
        return "\n".join([*lines, f"return {', '.join(map(repr, self.results))}"])


def read(function: Callable[..., Any], *samples: NDArray[Any], **settings: Any) -> Text:
    """The text of `function`, from one run on stand-ins for the samples.

    Raises:
        Unreadable: it does something else than call NumPy functions on its arguments and return what they give.
    """
    calls: list[Call] = []
    stand_ins = [_StandIn(sample, Ref(number), calls, len(samples)) for number, sample in enumerate(samples)]
    result = function(*stand_ins, **settings)
    results = result if isinstance(result, (tuple, list)) else (result,)
    if not all(isinstance(part, _StandIn) for part in results):
        raise Unreadable(f"{function} returns something that was not made from its arguments")
    return Text(len(samples), calls, tuple(part.ref for part in results))


class _StandIn(NDArrayOperatorsMixin, Traced):
    """Stands for an array while a function is read."""

    __slots__ = ("calls", "first", "ref", "sample")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, sample: NDArray[Any], ref: Ref, calls: list[Call], first: int) -> None:
        self.sample = sample
        self.ref = ref
        self.calls = calls
        self.first = first

    def _noted(self, function: Callable[..., Any], args: Sequence[Any], options: Mapping[str, Any]) -> Any:
        result = function(*map(_sample_of, args), **{key: _sample_of(option) for key, option in options.items()})
        if not isinstance(result, (np.ndarray, np.generic)):
            raise Unreadable(f"{function} gives a {type(result).__name__}, not an array")
        sample = np.asarray(result)
        refs = tuple(map(_ref_of, args))
        self.calls.append(Call(function, refs, {key: _ref_of(option) for key, option in options.items()}, sample))
        return _StandIn(sample, Ref(self.first + len(self.calls) - 1), self.calls, self.first)

    def bind(self, primitive: Primitive[Any], args: tuple[Any, ...], params: Mapping[str, Any]) -> Any:
        return primitive.forward(*args, **params)

    def __array_ufunc__(self, function: np.ufunc, method: str, *args: Any, **options: Any) -> Any:
        if "out" in options or method == "at":
            raise Unreadable(f"{function.__name__} writes into an array")
        return self._noted(function if method == "__call__" else getattr(function, method), args, options)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        if "out" in options:
            raise Unreadable(f"{function.__name__} writes into an array")
        return self._noted(function, args, options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        attribute = getattr(self.sample, name)
        if not callable(attribute):
            return self._noted(getattr, (self, name), {}) if isinstance(attribute, np.ndarray) else attribute
        if name in _WRITERS:
            raise Unreadable(f".{name}() writes into an array")
        return lambda *args, **options: self._noted(getattr(np.ndarray, name), (self, *args), options)

    def __getitem__(self, index: Any) -> Any:
        return self._noted(np.ndarray.__getitem__, (self, index), {})

    def __len__(self) -> int:
        return len(self.sample)

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise Unreadable("Python sees a value, or writes one")

    __array__ = __bool__ = __float__ = __int__ = __index__ = __iter__ = __setitem__ = __contains__ = _refuse
    __iadd__ = __isub__ = __imul__ = __itruediv__ = __ipow__ = __imatmul__ = _refuse


_WRITERS = {"sort", "fill", "put", "partition", "itemset", "setfield", "setflags", "resize", "byteswap", "item", "tolist"}


def _sample_of(argument: Any) -> Any:
    if isinstance(argument, (tuple, list)):
        return type(argument)(map(_sample_of, argument))
    return argument.sample if isinstance(argument, _StandIn) else argument


def _ref_of(argument: Any) -> Any:
    if isinstance(argument, (tuple, list)):
        return type(argument)(map(_ref_of, argument))
    return argument.ref if isinstance(argument, _StandIn) else argument
