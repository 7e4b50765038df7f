"""Nests: what users give and return, lists, tuples and dicts of anything, in the form in which they gave it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any


def mapped(nest: Any, change: Callable[[Any], Any]) -> Any:
    """The same nest with `change(leaf)` in the place of each leaf."""
    if isinstance(nest, (list, tuple)):
        parts = [mapped(part, change) for part in nest]
        return type(nest)(*parts) if hasattr(nest, "_fields") else type(nest)(parts)
    if isinstance(nest, Mapping):
        return {name: mapped(part, change) for name, part in nest.items()}
    return change(nest)


def leaves(nest: Any) -> Iterator[Any]:
    """The leaves in order, as often as they occur."""
    if isinstance(nest, (list, tuple, Mapping)):
        for part in nest.values() if isinstance(nest, Mapping) else nest:
            yield from leaves(part)
    else:
        yield nest
