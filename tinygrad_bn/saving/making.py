"""The arguments that a thing was made with, read off the thing: it keeps each under the argument's name."""

from __future__ import annotations

from inspect import Parameter as Argument
from inspect import signature
from typing import Any

import numpy as np

from tinygrad_bn import names
from tinygrad_bn.module import Module
from tinygrad_bn.optimizers import Optimizer
from tinygrad_bn.variables import Variable


class UnsavableError(TypeError):
    """A thing cannot be written down in such a way that it can be made again."""


def arguments(thing: Any) -> dict[str, Any]:
    """Value of each argument by name, such that a new thing of this kind, made with them, is like this one.

    Raises:
        UnsavableError: an argument is not kept.
    """
    if isinstance(thing, Optimizer):
        settings = {name: _kept(thing, name) for name in names.arguments(type(thing))}
        return {**settings, "learning_rate": thing.schedule or thing.learning_rate}
    taken = constructor(type(thing))
    kept = {name: value for name, (value, _) in thing.settings().items()} if isinstance(thing, Module) else {}
    found = {
        name: kept[name] if name in kept else _kept(thing, name)
        for name, argument in taken.items()
        if argument.kind is not Argument.VAR_KEYWORD and not _is_variable(thing, argument)
    }
    if any(argument.kind is Argument.VAR_KEYWORD for argument in taken.values()):
        found |= kept  # such as the options of every layer
    if found.get("seed") is not None and isinstance(found.get("rng"), np.random.Generator):
        found["rng"] = None  # it was made from the seed
    return found


def constructor(kind: type) -> dict[str, Argument]:
    """The arguments of the class by name.

    Raises:
        UnsavableError: they are not known.
    """
    try:
        return dict(signature(kind).parameters)
    except (TypeError, ValueError):
        raise UnsavableError(f"{kind.__name__} does not say what its arguments are") from None


def made(kind: type, settings: dict[str, Any]) -> Any:
    """A new thing of this class with these arguments."""
    taken, left = constructor(kind), dict(settings)
    positional: list[Any] = []
    several = [name for name, argument in taken.items() if argument.kind is Argument.VAR_POSITIONAL]
    if several:  # what stands before them has no other place
        before = list(taken)[: list(taken).index(several[0])]
        positional = [*(left.pop(name) for name in before), *left.pop(several[0])]
    return kind(*positional, **left)


def _is_variable(thing: Any, argument: Argument) -> bool:
    """Whether the argument has become a variable, which is saved as such, and can be left out."""
    return isinstance(getattr(thing, argument.name, None), Variable) and argument.default is not Argument.empty


def _kept(thing: Any, name: str) -> Any:
    held = vars(thing) if hasattr(thing, "__dict__") else {}
    for value in (held.get(name, _NOTHING), getattr(thing, name, _NOTHING), held.get(f"_{name}", _NOTHING)):
        if value is not _NOTHING and not isinstance(value, Variable):
            return value
    kind = type(thing).__name__
    raise UnsavableError(f"{kind} does not keep its argument {name}: let its constructor say self.{name} = {name}")


_NOTHING = object()
