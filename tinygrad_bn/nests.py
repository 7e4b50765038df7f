"""Nests: what users give and return, lists, tuples and dicts of anything, in the form in which they gave it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import copy
from typing import Any

from tinygrad_bn.errors import ShapeError


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


def aligned(name: str, nest: Any, form: Any) -> list[Any]:
    """The leaves of `nest`, which stand in the places of those of `form`, in the order of these.

    Raises:
        ShapeError: it has another form; the message calls it by `name`.
    """
    if isinstance(form, Mapping):
        if not isinstance(nest, Mapping) or nest.keys() != form.keys():
            raise ShapeError(f"{name} expects a dict with the keys {', '.join(map(str, form))}; got {nest!r:.80}")
        return [leaf for key in form for leaf in aligned(name, nest[key], form[key])]
    if isinstance(form, (list, tuple)):
        if not isinstance(nest, (list, tuple)) or len(nest) != len(form):
            raise ShapeError(f"{name} expects a tuple or list of {len(form)}; got {nest!r:.80}")
        return [leaf for part, place in zip(nest, form, strict=True) for leaf in aligned(name, part, place)]
    return [nest]


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
