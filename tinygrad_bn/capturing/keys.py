"""What a captured step depends on besides the numbers in its arrays: shapes, modes, settings, what it closes over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import is_
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from tinygrad_bn.errors import CaptureError
from tinygrad_bn.tensors import Tensor

_BY_VALUE = {int, float, complex, str, bytes, bool, type(None), tuple}


def parted(given: Any, arrays: list[Any]) -> Any:
    """What was given, as a key, with the arrays and Tensors in it put on the list.

    Of an array the key tells what a program depends on: shape, dtype and strides, and whether it wants a gradient.
    """
    kind = type(given)
    if kind is np.ndarray or isinstance(given, Tensor):
        for position, array in enumerate(arrays):
            if array is given:
                return "again", position
        arrays.append(given)
    if kind is np.ndarray:
        return given.shape, given.dtype, given.strides
    if isinstance(given, Tensor):
        value = given.value
        return value.shape, value.dtype, value.strides, given.requires_grad
    if kind is tuple or isinstance(given, (list, tuple)):
        return kind, tuple([parted(part, arrays) for part in given])
    if isinstance(given, np.ndarray):
        raise CaptureError(f"a captured function takes Tensors and plain arrays; got {kind.__name__}: use np.asarray")
    if isinstance(given, Mapping):
        return dict, tuple([(name, parted(part, arrays)) for name, part in given.items()])
    return told(given)


def others(args: Iterable[Any], named: Mapping[str, Any]) -> list[Any]:
    """The arguments that are neither arrays nor numbers."""
    given = [*args, *named.values()] if named else args
    return [arg for arg in given if type(arg) not in _SIMPLE and not isinstance(arg, Tensor)]


_SIMPLE = {*_BY_VALUE, np.ndarray, list, dict}


class _Same:
    """A thing by its identity, which it keeps: as long as this lives, no other thing can have it."""

    __slots__ = ("thing",)

    def __init__(self, thing: Any) -> None:
        self.thing = thing

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.thing is self.thing

    def __hash__(self) -> int:
        return id(self.thing)


def told(thing: Any) -> Any:
    """What tells a thing from another: numbers by value and type, all else by identity."""
    kind = type(thing)
    if kind is tuple:
        return tuple(map(told, thing))
    if kind is float:
        return kind, thing.hex()  # 0.0 and -0.0 are two
    if kind in _BY_VALUE or isinstance(thing, (np.generic, np.dtype)):
        return kind, thing if thing == thing else "nan"
    return _Same(thing)


def contents(things: Iterable[Any]) -> list[Any]:
    """What is inside those that anybody can change without a word: lists, dicts, sets, and plain objects."""
    return [_Inside(thing) for thing in things if is_open(thing)]


OURS = (f"{__name__.partition('.')[0]}.", "numpy.")
_open: dict[type, bool] = {}


def is_open(thing: Any) -> bool:
    """Whether a thing changes without telling `mode.changed`."""
    kind = type(thing)
    if kind not in _open:
        own: Any = kind.__setattr__
        plain = own is object.__setattr__ and "__dict__" in dir(kind)
        closed = (FunctionType, ModuleType, MethodType, type, Tensor, np.ndarray, np.random.Generator)
        ours = kind.__module__.startswith(OURS)
        _open[kind] = kind in (list, dict, set) or (plain and not ours and not issubclass(kind, closed))
    return _open[kind]


class _Inside:
    """What a list, dict, set or object holds, one level deep."""

    __slots__ = ("kind", "names", "values")

    def __init__(self, thing: Any) -> None:
        self.names: tuple[Any, ...] = ()
        self.kind: Any = type(thing)
        if self.kind is dict:
            self.names, self.values = tuple(thing), list(thing.values())
        elif self.kind in (list, set):
            self.values = list(thing)
        else:
            counting, held = getattr(thing, "counters", ()), vars(thing)
            self.kind = _Same(thing)
            self.names = tuple([name for name in held if name not in counting])
            self.values = [held[name] for name in self.names]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Inside) or self.kind != other.kind or self.names != other.names:
            return False
        mine, theirs = self.values, other.values
        return len(mine) == len(theirs) and (
            all(map(is_, mine, theirs)) or all(told(a) == told(b) for a, b in zip(mine, theirs, strict=True))
        )

    def __hash__(self) -> int:
        return hash((self.kind, self.names, *map(told, self.values)))
