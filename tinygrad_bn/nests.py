"""Nests: what users give and return, lists, tuples and dicts of anything, in the form in which they gave it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import copy
from typing import Any


def mapped(nest: Any, change: Callable[[Any], Any]) -> Any:
    """A nest of the same form with `change(leaf)` in the place of each leaf.

    Lists, tuples and dicts of a subclass keep their class, and their attributes; other mappings become dicts.
    """
    kind = type(nest)
    if kind is list or issubclass(kind, (list, tuple)):
        parts = [mapped(part, change) for part in nest]
        return parts if kind is list else tuple(parts) if kind is tuple else _remade(nest, parts)
    if kind is dict or issubclass(kind, Mapping):
        named = {name: mapped(part, change) for name, part in nest.items()}
        return _remade(nest, named) if kind is not dict and issubclass(kind, dict) else named
    return change(nest)


def leaves(nest: Any) -> Iterator[Any]:
    """The leaves in order, as often as they occur."""
    if isinstance(nest, (list, tuple, Mapping)):
        for part in nest.values() if isinstance(nest, Mapping) else nest:
            yield from leaves(part)
    else:
        yield nest


def _remade(nest: Any, parts: Any) -> Any:
    """A list, tuple or dict of a subclass with other parts. What its class says of its constructor does not matter."""
    kind = type(nest)
    if isinstance(nest, tuple):
        made = tuple.__new__(kind, parts)
        if kind.__dictoffset__:
            vars(made).update(vars(nest))
        return made
    made = copy(nest)
    if isinstance(nest, list):
        list.__setitem__(made, slice(None), parts)
        return made
    for name, part in parts.items():
        dict.__setitem__(made, name, part)
    if kind.__dictoffset__ and vars(nest) is nest:  # the well-known dict whose entries are its attributes
        made.__dict__ = made
    return made
