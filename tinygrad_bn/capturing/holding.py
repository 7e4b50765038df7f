"""Holding: what modules, optimizers and the like hold, through attributes, lists, tuples and dicts in each other."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import islice
from operator import is_
from typing import Any

from tinygrad_bn.capturing.keys import own, tells
from tinygrad_bn.variables import Variable


class Holding:
    """The things that can be reached from some, and the lists and dicts on the way, which nobody tells of a change.

    Lists and dicts that hold nothing but numbers and the like do not count; empty ones do: they may hold a module next.

    Attributes:
        things: the modules, optimizers and the like, which tell when an attribute is set; each once.
    """

    def __init__(self, given: Iterable[Any]) -> None:
        self.things: list[Any] = []
        self._leads: dict[int, bool] = {}
        self._nests: list[tuple[Collection[Any], tuple[Any, ...]]] = []
        self.follow(given)

    def follow(self, given: Iterable[Any]) -> None:
        """Let these count too, and what they hold."""
        known = len(self.things)
        for thing in given:
            self._leads_on(thing)
        for thing in islice(self.things, known, None):  # they become more
            for value in attributes(thing).values():
                self._leads_on(value)

    def is_same(self) -> bool:
        """Whether all lists and dicts hold the same as then, in the same order."""
        for nest, held in self._nests:  # noqa: SIM110 a generator would take longer
            if len(nest) != len(held) or not all(map(is_, nest, held)):
                return False
        return True

    def _leads_on(self, thing: Any) -> bool:
        """Whether this is one of the things or a variable, or a nest that leads to some; it is noted then."""
        kind = type(thing)
        if kind in PLAIN:
            return False
        if not issubclass(kind, (list, tuple, dict)):
            if tells(kind) and id(thing) not in self._leads:
                self._leads[id(thing)] = True
                self.things.append(thing)
            return issubclass(kind, Variable) or id(thing) in self._leads
        if id(thing) not in self._leads:
            self._leads[id(thing)] = False  # while its parts are asked: it may lie in itself
            views = [thing.keys(), thing.values()] if issubclass(kind, dict) else [thing]
            led = [self._leads_on(part) for view in views for part in view]
            self._leads[id(thing)] = any(led) or not led
            if self._leads[id(thing)] and not issubclass(kind, tuple):
                self._nests += [(view, tuple(view)) for view in views]
        return self._leads[id(thing)]


PLAIN = {int, float, bool, str, type(None)}


def attributes(thing: Any) -> dict[str, Any]:
    """What a thing holds, but for the attributes that change whenever a module runs, as its class lists them."""
    counters = getattr(type(thing), "counters", ())
    counting = counters if type(counters) is tuple else ()
    return {name: value for name, value in own(thing).items() if name not in counting}
