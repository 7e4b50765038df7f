"""Surroundings: what a captured function depends on without being given it: what it refers to, and settings."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from operator import is_
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any

from tinygrad_bn import mode
from tinygrad_bn.capturing.holding import PLAIN, Holding, attributes
from tinygrad_bn.capturing.keys import OURS, contents, is_open, own, tells, told, users_classes
from tinygrad_bn.capturing.observing import Observer, content, names
from tinygrad_bn.names import arguments
from tinygrad_bn.tensors import Tensor
from tinygrad_bn.variables import Parameter


class Surroundings:
    """What the user's functions that have run look up, and nobody tells when it changes: compared in each call.

    Variables, functions and classes are compared themselves, and what these lead to is looked into.

    Attributes:
        things: the modules, optimizers, Tensors and the like among it, which do tell.
        named: the names that the texts speak of.
        asked: those that they ask objects for; None where that may be any.
    """

    def __init__(self, ran: Observer, things: Iterable[Any], before: Surroundings | None = None) -> None:
        self.things: list[Any] = []
        self._variables: dict[tuple[int, str], tuple[dict[str, Any], str]] = {}
        self._functions: list[FunctionType] = []
        self._cells: list[CellType] = []
        self._tables: list[Any] = []
        self._open: list[Any] = []
        self._met: dict[int, Any] = {}
        self._ran = {id(text.code) for text in ran.texts()}
        self.named = {name for text in ran.texts() for name in (*text.code.co_names, *_strings(text.code.co_consts))}
        self.asked = None if self.named & _ANYTHING else self.named
        self._follow([*things, *ran.owners()])
        for text in ran.texts():
            variables, modules = names(text.code)
            self._follow([*self._compared(text.table, variables), *map(sys.modules.get, modules)])
        self._follow(ran.hidden(self._functions))
        self._known = self._look()
        self._inside = contents(self._open, self.asked)
        if before is not None and not (ran.saw_all and before.hold()):
            self._known.append(object())  # nobody knows all, or the step moves it on: no later call is like this one

    def hold(self) -> bool:
        """Whether all is as it was."""
        if self._known:
            now = self._look()
            if len(now) != len(self._known) or not (
                all(map(is_, now, self._known)) or [*map(told, now)] == [*map(told, self._known)]
            ):
                return False
        return not self._open or contents(self._open, self.asked) == self._inside

    def inside(self) -> list[Any]:
        """What containers and objects among it held when they were looked into."""
        return [value for inside in self._inside for value in inside.values]

    def _look(self) -> list[Any]:
        found = [table.get(name) for table, name in self._variables.values()]
        for function in self._functions:
            found += (function.__code__, function.__defaults__, function.__kwdefaults__)
        for table in self._tables:
            found += table.values()
        found += map(content, self._cells)
        return found

    def _follow(self, things: Iterable[Any]) -> None:
        """Compare these from now on, and what they lead to."""
        waiting = [*things]
        while waiting:
            thing = waiting.pop()
            if id(thing) not in self._met:
                self._met[id(thing)] = thing
                waiting += self._reached(thing)

    def _compared(self, table: dict[str, Any], variables: Iterable[str]) -> list[Any]:
        """Compare the variables of these names from now on. Gives what they stand for."""
        found = {name: table.get(name) for name in variables}
        users = {name: value for name, value in found.items() if not _is_our_module(value)}
        self._variables.update({(id(table), name): (table, name) for name in users})
        return list(users.values())

    def _reached(self, thing: Any) -> list[Any]:
        """Compare what is in this thing from now on. Gives what it leads to."""
        kind = type(thing)
        if issubclass(kind, FunctionType) and id(thing.__code__) in self._ran:
            cells, tables = thing.__closure__ or (), [each for each in (vars(thing), thing.__kwdefaults__) if each]
            self._functions.append(thing)
            self._cells += cells
            self._tables += tables
            inside = [value for table in tables for value in table.values()]
            return [*inside, *(thing.__defaults__ or ()), *map(content, cells)]
        if issubclass(kind, ModuleType):
            library = thing.__name__.partition(".")[0] in sys.stdlib_module_names
            return [] if library else self._compared(vars(thing), self.named & vars(thing).keys())
        if issubclass(kind, type):
            users = [*users_classes(kind), *users_classes(thing)]
            if not any(each is thing for each in users):
                return users
            self._tables.append(vars(thing))
            return [*users, *(value for name, value in vars(thing).items() if _matters(name, value))]
        if is_open(thing):
            self._open.append(thing)
        if tells(kind) or issubclass(kind, Tensor):
            self.things.append(thing)
        functions = [value for value in own(thing).values() if issubclass(type(value), _FUNCTIONS)]
        return [kind, *_wrapped(thing), *functions]


_FUNCTIONS = (FunctionType, MethodType, partial)
_ANYTHING = {"getattr", "vars", "dir", "attrgetter", "asdict", "astuple", "fields", "replace", "copy", "deepcopy"}
_ANYTHING |= {"dump", "dumps", "eval", "exec", "__dict__", "__slots__", "__getattribute__"}
"""Who names one of these may ask an object for attributes that no text names."""


def _strings(constants: Iterable[Any]) -> Iterator[str]:
    """Those among the constants of a text: names that it may give to getattr, or match."""
    for constant in constants:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, tuple):
            yield from _strings(constant)


def _wrapped(thing: Any) -> list[Any]:
    """What is inside a method, a partial function or a wrapper."""
    kind = type(thing)
    if issubclass(kind, MethodType):
        return [thing.__self__, thing.__func__]
    if issubclass(kind, (staticmethod, classmethod)):
        return [thing.__func__]
    if issubclass(kind, property):
        return [thing.fget]
    if issubclass(kind, partial):
        return [thing.func, *thing.args, *thing.keywords.values()]
    return [value for name, value in own(thing).items() if name == "__wrapped__"]


def _is_our_module(thing: Any) -> bool:
    return issubclass(type(thing), ModuleType) and f"{thing.__name__}.".startswith(OURS)


def _matters(name: str, value: Any) -> bool:
    """Whether an attribute of a class is the user's: what Python and we note about a class is no news."""
    return issubclass(type(value), FunctionType) or not (name.startswith("__") or name in _NOTES)


_NOTES = ("counters", "_checks", "_agreements", "_settled")


class Settings:
    """The attributes of the modules, optimizers and the like that a step met, and of those that these hold, as then.

    Attributes that a thing lists as its `counters` do not matter: they change whenever it runs. Looking is skipped as
    long as nobody has set an attribute of any of them, but for the lists and dicts that modules and the like lie in.
    """

    def __init__(
        self,
        around: Surroundings,
        gradients: Sequence[tuple[Tensor | int, bool]] = (),
        facts: Sequence[tuple[Callable[[], Any], Any]] = (),
    ) -> None:
        self._holding = Holding([*around.things, *around.inside()])
        self._things = self._holding.things
        asked = [*around.things, *(value for thing in self._things for value in own(thing).values())]
        self._tensors = list({id(each): each for each in asked if issubclass(type(each), Tensor)}.values())
        self._holding.follow(rule for tensor in self._tensors for rule in _rules(tensor))
        self._gradients, self._facts = gradients, facts
        self._around = around
        self._epoch = mode.epoch()
        self._seen: dict[int, tuple[list[Any], Any]] = {}
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
        if not (self._holding.is_same() and self._around.hold()):
            return False
        if self._epoch != mode.epoch():
            epoch = mode.epoch()
            if self._look() != self._known:
                return False
            self._epoch = epoch
        return True

    def _look(self) -> list[Any]:
        for place, thing in enumerate(self._things):
            at_a_glance = _at_a_glance(thing)
            glance, _ = self._seen.get(place, ((), None))
            if len(glance) != len(at_a_glance) or not all(map(is_, glance, at_a_glance)):
                self._seen[place] = at_a_glance, self._looked_at(thing)
        rules = [(tensor.requires_grad, *map(told, _rules(tensor))) for tensor in self._tensors]
        return [*(looked for _, looked in self._seen.values()), rules]

    def _looked_at(self, thing: Any) -> tuple[type, dict[str, Any]]:
        kind = type(thing)
        read = {name: value for name, value in attributes(thing).items() if self._is_read(kind, name, value)}
        return kind, {**{name: _held(value) for name, value in read.items()}, **_modes(thing)}

    def _is_read(self, kind: type, name: str, value: Any) -> bool:
        """Whether an attribute may be read in the step: not a number or a string that neither the user nor we know."""
        asked = self._around.asked
        return type(value) not in PLAIN or asked is None or name in asked or name in _named_by_us(kind)


def _at_a_glance(thing: Any) -> list[Any]:
    """The objects by which `_looked_at` tells what a thing holds: while these are the same, so is that."""
    seen: list[Any] = [type(thing)]
    for name, value in attributes(thing).items():
        seen += (name, list, len(value), *value) if issubclass(type(value), list) else (name, value)
    return [*seen, *_modes(thing).values()]


def _modes(thing: Any) -> dict[str, Any]:
    """Whether a module is in training and trainable, which its class says where it does not say it itself."""
    return {name: getattr(thing, name) for name in ("training", "_trainable") if hasattr(type(thing), name)}


@cache
def _named_by_us(kind: Any) -> set[str]:
    """The names that our classes know, from which a class descends: settings, attributes, what their texts speak of."""
    ours = [base for base in kind.__mro__ if base not in users_classes(kind)]
    held = [inside for base in ours for value in vars(base).values() for inside in (value, *_wrapped(value))]
    texts = [value.__code__ for value in held if isinstance(value, FunctionType)]
    spoken = {name for code in texts for name in (*code.co_names, *_strings(code.co_consts))}
    return spoken.union(arguments(kind), *map(vars, ours))


def _rules(tensor: Tensor) -> tuple[Any, ...]:
    return (tensor.regularizer, tensor.constraint) if isinstance(tensor, Parameter) else ()


def _held(value: Any) -> Any:
    """What an attribute holds: of a list, its elements."""
    return (list, tuple(map(told, value))) if issubclass(type(value), list) else told(value)
