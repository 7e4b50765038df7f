"""What a captured step depends on besides the numbers in its arrays: shapes, modes, settings, what it closes over."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Mapping
from numbers import Number
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
        return dict, tuple([(told(name), parted(part, arrays)) for name, part in given.items()])
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
    """What tells a thing from another: numbers, slices and ranges by value and type, all else by identity."""
    kind = type(thing)
    if kind is tuple:
        return tuple(map(told, thing))
    if kind is float:
        return kind, thing.hex()  # 0.0 and -0.0 are two, and NaN is one
    if kind in _BY_VALUE or isinstance(thing, np.dtype):
        return kind, thing
    if isinstance(thing, np.generic):
        return kind, thing.tobytes()
    if kind is slice:
        return kind, told((thing.start, thing.stop, thing.step))
    if kind is range or isinstance(thing, Number):
        return kind, repr(thing)
    return _Same(thing)


def contents(things: Iterable[Any]) -> list[Any]:
    """What is inside those that anybody can change without a word: containers, plain objects, small arrays."""
    return [_Inside(thing) for thing in things if is_open(thing)]


OURS = (f"{__name__.partition('.')[0]}.", "numpy.")
_CONTAINERS = (list, dict, set, deque, bytearray)
_CLOSED = (FunctionType, ModuleType, MethodType, Tensor, np.random.Generator)
_open: dict[type, bool] = {}


def is_open(thing: Any) -> bool:
    """Whether a thing changes without telling `mode.changed`."""
    kind = type(thing)
    if kind is np.ndarray:
        return bool(thing.size <= FEW)
    if isinstance(thing, type):
        return _is_users(thing)
    if kind not in _open:
        plain = kind.__setattr__ is object.__setattr__ and not issubclass(kind, _CLOSED)  # type: ignore[comparison-overlap]
        shown = "__dict__" in dir(kind) or (_slots(kind) and _is_users(kind))
        ours = kind.__module__.startswith(OURS)
        _open[kind] = issubclass(kind, _CONTAINERS) or bool(plain and shown and not ours)
    return _open[kind]


FEW = 16
"""An array of so many elements at most is looked into: it may be meant as a number."""


def _is_users(kind: type) -> bool:
    """Whether a class is neither ours nor of Python's library, whose objects keep caches."""
    return not kind.__module__.startswith(OURS) and kind.__module__.partition(".")[0] not in sys.stdlib_module_names


def _slots(kind: type) -> list[str]:
    found = [vars(base).get("__slots__", ()) for base in kind.__mro__]
    return [name for names in found for name in ([names] if isinstance(names, str) else names)]


class _Inside:
    """What a container, class, object or small array holds, one level deep."""

    __slots__ = ("kind", "names", "values")

    def __init__(self, thing: Any) -> None:
        self.kind: Any = type(thing)
        self.names: tuple[Any, ...] = ()
        if self.kind is np.ndarray:
            held: Any = (thing.tobytes(),)
        elif isinstance(thing, dict):
            self.names, held = tuple(map(told, thing)), thing.values()
        elif isinstance(thing, _CONTAINERS):
            held = thing
        else:
            found, self.kind = _attributes(thing), _Same(thing)
            self.names, held = tuple(found), found.values()
        self.values = [part.tobytes() if type(part) is np.ndarray and part.size <= FEW else part for part in held]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Inside) or self.kind != other.kind or self.names != other.names:
            return False
        mine, theirs = self.values, other.values
        return len(mine) == len(theirs) and (
            all(map(is_, mine, theirs)) or all(told(a) == told(b) for a, b in zip(mine, theirs, strict=True))
        )

    def __hash__(self) -> int:
        return hash((self.kind, self.names, *map(told, self.values)))


def _attributes(thing: Any) -> dict[str, Any]:
    """Those of an object, and of a user's class, by name; but for its counters."""
    if isinstance(thing, type):
        return dict(vars(thing))
    kind, counting = type(thing), getattr(thing, "counters", ())
    found = dict(vars(kind)) if _is_users(kind) else {}
    found |= {name: getattr(thing, name, None) for name in _slots(kind)}
    found |= getattr(thing, "__dict__", {})
    return {name: value for name, value in found.items() if name not in counting}
