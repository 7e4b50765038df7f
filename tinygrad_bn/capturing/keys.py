"""What a captured step depends on besides the numbers in its arrays: shapes, modes, settings, what it closes over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import is_
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from tinygrad_bn import mode
from tinygrad_bn.errors import CaptureError
from tinygrad_bn.tensors import Tensor
from tinygrad_bn.variables import Variable

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


def exchanged(given: Any, new: Mapping[int, Any]) -> Any:
    """The same nest with other things in the place of those that `new` knows by their identity."""
    if id(given) in new:
        return new[id(given)]
    if isinstance(given, (list, tuple)):
        parts = [exchanged(part, new) for part in given]
        return type(given)(*parts) if hasattr(given, "_fields") else type(given)(parts)
    if isinstance(given, Mapping):
        return {name: exchanged(part, new) for name, part in given.items()}
    return given


def others(args: Iterable[Any], named: Mapping[str, Any]) -> list[Any]:
    """The arguments that are neither arrays nor numbers."""
    given = [*args, *named.values()] if named else args
    return [arg for arg in given if type(arg) not in _SIMPLE and not isinstance(arg, Tensor)]


_SIMPLE = {*_BY_VALUE, np.ndarray, list, dict}


def collected(given: Any, arrays: list[Any]) -> None:
    """Put the arrays and Tensors in a nest on the list, as often as they occur."""
    if isinstance(given, (Tensor, np.ndarray)):
        arrays.append(given)
    elif isinstance(given, (list, tuple)):
        for part in given:
            collected(part, arrays)
    elif isinstance(given, Mapping):
        for part in given.values():
            collected(part, arrays)


def filled(given: Any, arrays: Iterable[Any]) -> Any:
    """The same nest with the next of `arrays` in the place of each array and Tensor."""
    if isinstance(given, (Tensor, np.ndarray)):
        return next(arrays)  # type: ignore[call-overload]
    if isinstance(given, (list, tuple)):
        parts = [filled(part, arrays) for part in given]
        return type(given)(*parts) if hasattr(given, "_fields") else type(given)(parts)
    if isinstance(given, Mapping):
        return {name: filled(part, arrays) for name, part in given.items()}
    return given


class _Same:
    """A thing by its identity, which it keeps: as long as this lives, no other thing can have it."""

    __slots__ = ("thing",)

    def __init__(self, thing: Any) -> None:
        self.thing = thing

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.thing is self.thing

    def __hash__(self) -> int:
        return id(self.thing)


class Surroundings:
    """What a function refers to besides its arguments."""

    def __init__(self, function: Any) -> None:
        self._owners: list[Any] = []
        while isinstance(function, MethodType) or hasattr(function, "__wrapped__"):
            if isinstance(function, MethodType):
                self._owners.append(function.__self__)
                function = function.__func__
            else:
                function = function.__wrapped__
        self._attributes: dict[str, Any] = {}
        if not isinstance(function, FunctionType):
            self._owners.append(function)
            self._attributes = getattr(function, "__dict__", {})
            function = type(function).__call__
        self._cells: tuple[CellType, ...] = ()
        self._globals: dict[str, Any] = {}
        self._names: tuple[str, ...] = ()
        if isinstance(function, FunctionType):
            self._cells, self._globals = function.__closure__ or (), function.__globals__
            self._names = _names(function.__code__)
            self._owners += [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]

    def things(self) -> list[Any]:
        """The objects."""
        found = [*self._owners, *self._attributes.values(), *[self._globals.get(name) for name in self._names]]
        for cell in self._cells:
            try:
                found.append(cell.cell_contents)
            except ValueError:  # not filled yet
                found.append(None)
        return found

    def inner(self) -> list[Surroundings]:
        """Of the functions among these objects that are not ours, and of those that they refer to in turn."""
        found: dict[Any, Surroundings] = {}
        waiting = self.things()
        while waiting:
            thing = waiting.pop()
            if _is_theirs(thing) and thing not in found:
                found[thing] = Surroundings(thing)
                waiting += found[thing].things()
        return list(found.values())


def contents(things: Iterable[Any]) -> list[Any]:
    """What is inside those that anybody can change without a word: lists, dicts, sets, and plain objects."""
    return [_Inside(thing) for thing in things if _is_open(type(thing))]


_OURS = (f"{__name__.partition('.')[0]}.", "numpy.")
_open: dict[type, bool] = {}


def _is_open(kind: type) -> bool:
    """Whether things of this kind change without telling `mode.changed`."""
    if kind not in _open:
        own: Any = kind.__setattr__
        plain = own is object.__setattr__ and "__dict__" in dir(kind)
        closed = (FunctionType, ModuleType, MethodType, type, Tensor, np.ndarray, np.random.Generator)
        ours = kind.__module__.startswith(_OURS)
        _open[kind] = kind in (list, dict, set) or (plain and not ours and not issubclass(kind, closed))
    return _open[kind]


_named: dict[CodeType, tuple[str, ...]] = {}


def _names(code: CodeType) -> tuple[str, ...]:
    """The names that a function's text, and the functions inside it, look up."""
    if code not in _named:
        inner = [name for constant in code.co_consts if isinstance(constant, CodeType) for name in _names(constant)]
        _named[code] = tuple(dict.fromkeys([*code.co_names, *inner]))
    return _named[code]


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


class Settings:
    """The attributes of the modules, optimizers and the like that a step met, as they were then.

    Attributes that a thing lists as its `counters` do not matter: they change whenever it runs. Looking is skipped as
    long as nobody has set an attribute of any of them.
    """

    def __init__(
        self,
        things: Iterable[Any],
        variables: Iterable[Variable],
        gradients: Sequence[tuple[Tensor | int, bool]] = (),
        functions: Iterable[Surroundings] = (),
    ) -> None:
        met = [thing for thing in things if _has_settings(thing)]
        met += [value for thing in met for value in vars(thing).values() if _tells(value)]
        self._things = list({id(thing): thing for thing in met}.values())
        self._variables = list(variables)
        self._gradients = gradients
        inner = [Surroundings(value) for thing in self._things for value in vars(thing).values() if _is_theirs(value)]
        self._functions = [*functions, *inner, *(deeper for each in inner for deeper in each.inner())]
        self._met = self._look_around()
        self._epoch = mode.epoch()
        self._known = self._look()

    def hold(self, arrays: Sequence[Any] = ()) -> bool:
        """Whether they are as they were, and gradients are there, or not, as they were."""
        for leaf, there in self._gradients:
            owner: Any = arrays[leaf] if isinstance(leaf, int) else leaf
            if (owner._grad is not None) is not there:
                return False
        if self._functions and self._look_around() != self._met:
            return False
        if self._epoch != mode.epoch():
            epoch = mode.epoch()
            if self._look() != self._known:
                return False
            self._epoch = epoch
        return True

    def _look_around(self) -> list[Any]:
        """What user's functions refer to, which nobody tells when it changes."""
        things = [thing for each in self._functions for thing in each.things()]
        return [*map(told, things), *contents(things)]

    def _look(self) -> list[Any]:
        seen: list[Any] = []
        for thing in self._things:
            counting = getattr(thing, "counters", ())
            held = {name: _held(value) for name, value in vars(thing).items() if name not in counting}
            held.update({name: getattr(thing, name, None) for name in ("training", "_trainable")})  # or their class's
            seen.append(held)
        return [*seen, [variable.requires_grad for variable in self._variables]]


def _is_theirs(value: Any) -> bool:
    return isinstance(value, FunctionType) and not (value.__module__ or "").startswith(_OURS)


def _tells(value: Any) -> bool:
    """Whether it says so when an attribute of it is set, as modules, losses and optimizers do."""
    own: Any = type(value).__setattr__
    return _has_settings(value) and own is not object.__setattr__


def _has_settings(thing: Any) -> bool:
    return hasattr(thing, "__dict__") and not isinstance(thing, (type, FunctionType, ModuleType))


def _held(value: Any) -> Any:
    """What an attribute holds: of a list, its elements."""
    return (list, tuple(map(told, value))) if isinstance(value, list) else told(value)


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
