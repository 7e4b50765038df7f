"""Surroundings: what a captured function depends on without being given it: what it refers to, and settings."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from operator import is_
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from tinygrad_bn import mode
from tinygrad_bn.capturing.keys import OURS, contents, is_open, own, tells, told, users_classes
from tinygrad_bn.tensors import Tensor
from tinygrad_bn.variables import Parameter


class Surroundings:
    """What a function refers to besides its arguments."""

    def __init__(self, function: Any) -> None:
        function, self._owners = _unwrapped(function)
        self._attributes: dict[str, Any] = {}
        self._counters: tuple[str, ...] = ()
        if not issubclass(type(function), FunctionType):
            self._owners.append(function)
            self._attributes, self._counters = own(function), _counters(function)
            function = type(function).__call__
        self._cells: tuple[CellType, ...] = ()
        self._globals: dict[str, Any] = {}
        self._names: tuple[str, ...] = ()
        self._parts: list[tuple[dict[str, Any], str]] = []
        self._read: set[str] = set()
        if issubclass(type(function), FunctionType):
            self._cells, self._globals = function.__closure__ or (), function.__globals__
            self._names = _names(function.__code__)
            modules = [thing for thing in self.things() if issubclass(type(thing), ModuleType)]
            theirs = [vars(module) for module in modules if not _is_our_module(module)]
            self._read = _attribute_names(function.__code__)
            self._parts = [(module, name) for module in theirs for name in self._read]
            self._owners += [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]

    def things(self) -> list[Any]:
        """The objects."""
        found = [*self._owners, *[self._globals.get(name) for name in self._names]]
        found += [module.get(name) for module, name in self._parts]
        if self._counters:
            found += [value for name, value in self._attributes.items() if name not in self._counters]
        else:
            found += self._attributes.values()
        for cell in self._cells:
            try:
                found.append(cell.cell_contents)
            except ValueError:  # not filled yet
                found.append(None)
        return found

    def inner(self) -> list[Surroundings]:
        """Of the user's functions that are reached through these objects, and of those that they reach in turn."""
        home = str(self._globals.get("__name__")).partition(".")[0]
        found: dict[Any, Surroundings] = {}
        waiting = [(thing, self._read) for thing in self.things()]
        while waiting:
            thing, names = waiting.pop()
            for function in _functions(thing, names, home):
                if function not in found:
                    new = found[function] = Surroundings(function)
                    waiting += [(each, new._read) for each in (thing, *new.things())]
        return [each for each in found.values() if not each._is_idle()]

    def _is_idle(self) -> bool:
        """Whether it refers to nothing but our modules and what Python itself brings."""
        built_in = [name for name in self._names if name not in self._globals and hasattr(builtins, name)]
        others = [self._globals.get(name) for name in self._names if name not in built_in]
        held = self._cells or self._parts or self._attributes or any(map(is_open, self._owners))
        return not held and all(map(_is_our_module, others))


def _unwrapped(function: Any) -> tuple[Any, list[Any]]:
    """The function inside a bound method, a partial one or a wrapper, and what these bring along."""
    brought: list[Any] = []
    while True:
        kind = type(function)
        if issubclass(kind, MethodType):
            brought.append(function.__self__)
            function = function.__func__
        elif issubclass(kind, (staticmethod, classmethod)):
            function = function.__func__
        elif issubclass(kind, partial):
            brought += [*function.args, *function.keywords.values()]
            function = function.func
        elif not issubclass(kind, type) and "__wrapped__" in own(function):
            function = own(function)["__wrapped__"]
        else:
            return function, brought


def _functions(thing: Any, names: set[str], home: str = "") -> list[Any]:
    """The user's functions that are run where a thing is called, or asked for attributes of these names.

    Of one that stands on a class of ours, all that it puts in the place of ours are: we call them. What other packages
    than that of the captured function, `home`, bring with them is theirs.
    """
    kind = type(thing)
    if issubclass(kind, (FunctionType, MethodType, partial)):
        return [thing] if _is_theirs(_unwrapped(thing)[0]) else []
    if issubclass(kind, type):
        kind = thing
    if not users_classes(kind):
        return []
    of_ours = {name for base in kind.__mro__ if base.__module__.startswith(OURS) for name in vars(base)}
    called = {name for name in of_ours if not name.startswith("__")}
    if not _is_installed(kind, home):
        called |= {*names, "__call__"}
    held = [value for each in users_classes(kind) for name, value in vars(each).items() if name in called]
    held = [value.fget if type(value) is property else _unwrapped(value)[0] for value in held]
    return [value for value in held if _is_theirs(value)]


def _is_installed(kind: type, home: str) -> bool:
    """Whether a class is of an installed package, other than `home`."""
    file = getattr(sys.modules.get(kind.__module__), "__file__", None) or ""
    return "-packages" in file and kind.__module__.partition(".")[0] != home


def _is_our_module(thing: Any) -> bool:
    return issubclass(type(thing), ModuleType) and f"{thing.__name__}.".startswith(OURS)


_named: dict[CodeType, tuple[str, ...]] = {}


def _names(code: CodeType) -> tuple[str, ...]:
    """The global names that a function's text, and the functions inside it, look up."""
    if code not in _named:
        from dis import get_instructions  # what only a new function pays for

        own = [step.argval for step in get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")]
        inner = [name for constant in code.co_consts if isinstance(constant, CodeType) for name in _names(constant)]
        _named[code] = tuple(dict.fromkeys([*own, *inner]))
    return _named[code]


def _attribute_names(code: CodeType) -> set[str]:
    """The names of all that a function's text, and the functions inside it, look up in objects."""
    inner = [_attribute_names(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return {*code.co_names}.union(*inner)


class Settings:
    """The attributes of the modules, optimizers and the like that a step met, as they were then.

    Attributes that a thing lists as its `counters` do not matter: they change whenever it runs. Looking is skipped as
    long as nobody has set an attribute of any of them.
    """

    def __init__(
        self,
        things: Sequence[Any],
        gradients: Sequence[tuple[Tensor | int, bool]] = (),
        facts: Sequence[tuple[Callable[[], Any], Any]] = (),
        functions: Iterable[Surroundings] = (),
    ) -> None:
        met = [thing for thing in things if _has_settings(thing)]
        met += [
            value
            for thing in met
            for name, value in own(thing).items()
            if tells(type(value)) and name not in _counters(thing)
        ]
        asked = [*things, *(value for thing in met for value in own(thing).values())]
        self._tensors = list({id(each): each for each in asked if issubclass(type(each), Tensor)}.values())
        rules = [rule for tensor in self._tensors for rule in _rules(tensor)]
        met += [rule for rule in rules if tells(type(rule))]
        self._things = list({id(thing): thing for thing in met}.values())
        self._gradients, self._facts = gradients, facts
        held = [*rules, *(value for thing in self._things for value in own(thing).values())]
        held += self._things
        inner = [Surroundings(function) for value in held for function in _functions(value, set())]
        inner = [*functions, *inner, *(deeper for each in inner for deeper in each.inner())]
        self._functions = [each for each in inner if not each._is_idle()]
        kinds = dict.fromkeys(each for thing in self._things for each in users_classes(type(thing)))
        self._parts = [(vars(each), name) for each in kinds for name, value in vars(each).items() if _sets(name, value)]
        self._around = self._look_around()
        self._open = [thing for thing in self._around if is_open(thing)]
        self._inside = contents(self._open)
        self._epoch = mode.epoch()
        self._known = self._look()

    def hold(self, arrays: Sequence[Any] = ()) -> bool:
        """Whether they and the facts are as they were, and gradients are there, or not, as they were."""
        for leaf, there in self._gradients:
            owner: Any = arrays[leaf] if isinstance(leaf, int) else leaf
            if (owner._grad is not None) is not there:
                return False
        for fact, answer in self._facts:
            if fact() != answer:
                return False
        if self._around and not self._is_around():
            return False
        if self._epoch != mode.epoch():
            epoch = mode.epoch()
            if self._look() != self._known:
                return False
            self._epoch = epoch
        return True

    def _look_around(self) -> list[Any]:
        """What user's functions and classes refer to, which nobody tells when it changes."""
        found = [kind.get(name) for kind, name in self._parts]
        for each in self._functions:
            found += each.things()
        return found

    def _is_around(self) -> bool:
        """Whether that is as it was."""
        around = self._look_around()
        if len(around) != len(self._around) or not (
            all(map(is_, around, self._around)) or [*map(told, around)] == [*map(told, self._around)]
        ):
            return False
        return not self._open or contents(self._open) == self._inside

    def _look(self) -> list[Any]:
        seen: list[Any] = []
        for thing in self._things:
            kind, counting = type(thing), _counters(thing)
            held = {name: _held(value) for name, value in own(thing).items() if name not in counting}
            held.update({name: getattr(thing, name) for name in ("training", "_trainable") if hasattr(kind, name)})
            seen.append(held)
        return [*seen, [(tensor.requires_grad, *map(told, _rules(tensor))) for tensor in self._tensors]]


def _rules(tensor: Tensor) -> tuple[Any, ...]:
    return (tensor.regularizer, tensor.constraint) if isinstance(tensor, Parameter) else ()


def _is_theirs(value: Any) -> bool:
    return issubclass(type(value), FunctionType) and not (value.__module__ or "").startswith(OURS)


def _sets(name: str, value: Any) -> bool:
    """Whether an attribute of a class is the user's, and neither a text nor one that tells us about the class."""
    return not (name.startswith("__") or name in _NOTES or hasattr(type(value), "__get__"))


_NOTES = ("counters", "_checks", "_agreements", "_settled")


def _has_settings(thing: Any) -> bool:
    kind = type(thing)
    return kind.__dictoffset__ != 0 and not issubclass(kind, (type, FunctionType, ModuleType))


def _counters(thing: Any) -> tuple[str, ...]:
    """The names of the attributes that change whenever a module runs, as its class lists them."""
    found = getattr(type(thing), "counters", ()) if tells(type(thing)) else ()
    return found if type(found) is tuple else ()


def _held(value: Any) -> Any:
    """What an attribute holds: of a list, its elements."""
    return (list, tuple(map(told, value))) if issubclass(type(value), list) else told(value)
