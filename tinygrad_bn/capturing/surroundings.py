"""Surroundings: what a captured function depends on without being given it: what it refers to, and settings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from tinygrad_bn import mode
from tinygrad_bn.capturing.keys import OURS, contents, is_open, told
from tinygrad_bn.tensors import Tensor
from tinygrad_bn.variables import Parameter


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
        self._counters: tuple[str, ...] = ()
        if not isinstance(function, FunctionType):
            self._owners.append(function)
            self._attributes = getattr(function, "__dict__", {})
            self._counters = getattr(function, "counters", ())
            function = type(function).__call__
        self._cells: tuple[CellType, ...] = ()
        self._globals: dict[str, Any] = {}
        self._names: tuple[str, ...] = ()
        self._parts: list[tuple[dict[str, Any], str]] = []
        if isinstance(function, FunctionType):
            self._cells, self._globals = function.__closure__ or (), function.__globals__
            self._names = _names(function.__code__)
            modules = [thing for thing in self.things() if isinstance(thing, ModuleType)]
            theirs = [vars(module) for module in modules if not f"{module.__name__}.".startswith(OURS)]
            self._parts = [(module, name) for module in theirs for name in _attribute_names(function.__code__)]
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
        """Of the functions among these objects that are not ours, and of those that they refer to in turn."""
        found: dict[Any, Surroundings] = {}
        waiting = self.things()
        while waiting:
            thing = waiting.pop()
            if _is_theirs(thing) and thing not in found:
                found[thing] = Surroundings(thing)
                waiting += found[thing].things()
        return list(found.values())


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
        things: Iterable[Any],
        parameters: Iterable[Parameter],
        gradients: Sequence[tuple[Tensor | int, bool]] = (),
        functions: Iterable[Surroundings] = (),
    ) -> None:
        met = [thing for thing in things if _has_settings(thing)]
        met += [
            value
            for thing in met
            for name, value in vars(thing).items()
            if _tells(value) and name not in getattr(thing, "counters", ())
        ]
        self._parameters = list(parameters)
        rules = [rule for each in self._parameters for rule in (each.regularizer, each.constraint)]
        met += [rule for rule in rules if _tells(rule)]
        self._things = list({id(thing): thing for thing in met}.values())
        self._gradients = gradients
        held = [*rules, *(value for thing in self._things for value in vars(thing).values())]
        inner = [Surroundings(value) for value in held if _is_theirs(value) or (callable(value) and is_open(value))]
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
        return [*seen, [(p.requires_grad, told(p.regularizer), told(p.constraint)) for p in self._parameters]]


def _is_theirs(value: Any) -> bool:
    return isinstance(value, FunctionType) and not (value.__module__ or "").startswith(OURS)


def _tells(value: Any) -> bool:
    """Whether it says so when an attribute of it is set, as modules, losses and optimizers do."""
    own: Any = type(value).__setattr__
    return _has_settings(value) and own is not object.__setattr__


def _has_settings(thing: Any) -> bool:
    return hasattr(thing, "__dict__") and not isinstance(thing, (type, FunctionType, ModuleType))


def _held(value: Any) -> Any:
    """What an attribute holds: of a list, its elements."""
    return (list, tuple(map(told, value))) if isinstance(value, list) else told(value)
