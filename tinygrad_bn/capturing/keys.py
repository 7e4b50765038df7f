"""What a captured step depends on besides the numbers in its arrays: shapes, modes, settings, what it closes over."""

from __future__ import annotations

import sys
from array import array
from collections import defaultdict, deque
from collections.abc import Container, Iterable, Mapping
from functools import cache
from numbers import Number
from operator import is_
from types import FunctionType, MemberDescriptorType, MethodType, ModuleType
from typing import Any

import numpy as np

from tinygrad_bn.errors import CaptureError
from tinygrad_bn.tensors import Tensor

_BY_VALUE = {int, float, str, bytes, bool, type(None), tuple}


def parted(given: Any, arrays: list[Any]) -> Any:
    """What was given, as a key, with the arrays and Tensors in it put on the list.

    Of an array the key tells what a program depends on: shape, dtype and strides, and whether it wants a gradient.
    """
    kind = type(given)
    if kind is np.ndarray or issubclass(kind, Tensor):
        for position, known in enumerate(arrays):
            if known is given:
                return "again", position
        arrays.append(given)
    if kind is np.ndarray:
        return given.shape, given.dtype, given.strides
    if issubclass(kind, Tensor):
        value = given.value
        return value.shape, value.dtype, value.strides, given.requires_grad
    if kind is tuple or issubclass(kind, (list, tuple)):
        return kind, tuple([parted(part, arrays) for part in given])
    if issubclass(kind, np.ndarray):
        raise CaptureError(f"a captured function takes Tensors and plain arrays; got {kind.__name__}: use np.asarray")
    if issubclass(kind, Mapping):
        return kind, tuple([(told(name), parted(part, arrays)) for name, part in given.items()])
    return told(given)


def others(args: Iterable[Any], named: Mapping[str, Any]) -> list[Any]:
    """The arguments that are neither arrays nor numbers; of a nest that is no more than its parts, the class."""
    given = [*args, *named.values()] if named else args
    found = [arg for arg in given if type(arg) not in _SIMPLE and not issubclass(type(arg), Tensor)]
    return found and [type(arg) if issubclass(type(arg), _NESTS) and _is_bare(arg) else arg for arg in found]


_NESTS = (list, tuple, dict)


def _is_bare(nest: Any) -> bool:
    """Whether a nest is told by its class and what `parted` finds in it, as a named tuple is."""
    kind: Any = type(nest)
    return not (issubclass(kind, defaultdict) or _lineage(kind)[1] or own(nest))


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
    if kind in _BY_VALUE or issubclass(kind, np.dtype):
        return kind, thing
    if issubclass(kind, np.generic):
        return kind, thing.tobytes()
    if kind is slice:
        return kind, told((thing.start, thing.stop, thing.step))
    if issubclass(kind, (int, float, complex)):  # nobody asks what a subclass says of itself
        return kind, next(bits(thing) for base, bits in _BITS if issubclass(kind, base))
    if kind is range or (issubclass(kind, Number) and not _is_users(kind)):
        return kind, repr(thing)
    return _Same(thing)


_BITS = ((int, int.__index__), (float, float.hex), (complex, complex.__repr__))


def contents(things: Iterable[Any], asked: Container[str] | None) -> list[_Inside]:
    """What is inside those that anybody can change without a word: containers, objects, small arrays.

    Of objects whose classes are all the user's, only the attributes of the names asked for matter, where these are
    known: no other text than the user's reads them.
    """
    return [_Inside(thing, asked) for thing in things]


OURS = (f"{__name__.partition('.')[0]}.", "numpy.")
_CONTAINERS = (list, dict, set, deque, bytearray)
_ARRAYS = (np.ndarray, array)
_CLOSED = (type, FunctionType, ModuleType, MethodType, Tensor, np.random.Generator)
_BARE = {*_CONTAINERS, tuple, *_ARRAYS}
_open: dict[type, bool] = {}


def is_open(thing: Any) -> bool:
    """Whether a thing changes without telling `mode.changed`."""
    kind: Any = type(thing)
    if kind is tuple:
        return any(issubclass(type(part), _ARRAYS) for part in thing)
    if issubclass(kind, _ARRAYS):
        return len(_numbers(thing)) > 0
    if kind not in _open:
        shown = "__dict__" in dir(kind) or _lineage(kind)[1]
        silent = not (tells(kind) or issubclass(kind, _CLOSED) or _home(kind).startswith(OURS))
        _open[kind] = issubclass(kind, (*_CONTAINERS, tuple)) or bool(silent and shown)
    return _open[kind]


def tells(kind: type) -> bool:
    """Whether things of this kind call `mode.changed` when an attribute is set, as modules and optimizers do.

    It is our `__setattr__` that calls it. A user's class on top of ours hands on to it, and any other does not know.
    """
    return any("__setattr__" in vars(base) and _home(base).startswith(OURS) for base in kind.__mro__)


FEW = 16
"""An array of so many elements at most is looked into: it may be meant as a number."""


def _is_users(kind: type) -> bool:
    """Whether a class is neither ours nor of Python's library, whose objects keep caches."""
    return not _home(kind).startswith(OURS) and _home(kind).partition(".")[0] not in sys.stdlib_module_names


def _home(kind: type) -> str:
    """The module that a class says it is of; of what Cython compiled, which may say nothing, one as closed as ours."""
    return kind.__module__ if isinstance(kind.__module__, str) else OURS[0]


@cache
def _lineage(kind: Any) -> tuple[list[type], dict[str, MemberDescriptorType]]:
    """The user's classes that a class descends from, the eldest first, and their slots by name."""
    users = [base for base in reversed(kind.__mro__) if _is_users(base)]
    held = [(name, value) for base in users for name, value in vars(base).items()]
    return users, {name: value for name, value in held if type(value) is MemberDescriptorType}


def users_classes(kind: type) -> list[type]:
    """The user's classes that a class descends from, the eldest first."""
    return _lineage(kind)[0]


def own(thing: Any) -> dict[str, Any]:
    """The attributes that a thing itself holds; nothing that its class has written is asked."""
    try:
        held: dict[str, Any] = object.__getattribute__(thing, "__dict__")
    except AttributeError:
        return {}
    return held


def _numbers(array: Any) -> bytes:
    """Those of a small array; nothing of a larger one, or of none."""
    plain = array if type(array) is np.ndarray else np.asarray(array)
    return plain.tobytes() if plain.size <= FEW else b""


class _Inside:
    """What a container, object or small array holds, one level deep."""

    __slots__ = ("names", "values")

    def __init__(self, thing: Any, asked: Container[str] | None) -> None:
        kind: Any = type(thing)
        self.names: list[Any] = []
        held: list[Any] = []
        if kind is dict or issubclass(kind, dict):
            self.names += map(told, thing)
            held += thing.values()
        elif issubclass(kind, _ARRAYS):
            held.append(_numbers(thing))
        elif issubclass(kind, (*_CONTAINERS, tuple)):
            held += thing
        if kind not in _BARE:
            attributes = own(thing) | {name: _slot(slot, thing) for name, slot in _lineage(kind)[1].items()}
            if asked is not None and _is_read_by_users_alone(kind):
                attributes = {name: value for name, value in attributes.items() if name in asked}
            self.names += attributes
            held += attributes.values()
        self.values = [(_numbers(part) or part) if issubclass(type(part), _ARRAYS) else part for part in held]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Inside) or self.names != other.names:
            return False
        mine, theirs = self.values, other.values
        return len(mine) == len(theirs) and (
            all(map(is_, mine, theirs)) or all(told(a) == told(b) for a, b in zip(mine, theirs, strict=True))
        )


@cache
def _is_read_by_users_alone(kind: Any) -> bool:
    """Whether all classes that a class descends from are the user's, of no installed package."""
    files = [getattr(sys.modules.get(_home(base)), "__file__", None) or "" for base in kind.__mro__[:-1]]
    return len(users_classes(kind)) == len(files) and not any("-packages" in file for file in files)


def _slot(slot: MemberDescriptorType, thing: Any) -> Any:
    try:
        return slot.__get__(thing)
    except AttributeError:  # empty
        return slot
