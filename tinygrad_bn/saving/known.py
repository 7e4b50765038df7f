"""Names of things that a file may speak of: our own classes and functions, and those that its reader hands in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from tinygrad_bn import ops
from tinygrad_bn.primitives import Primitive

_FAMILIES = ("layers", "initializers", "optimizers", "losses", "schedules", "regularizers", "constraints", "metrics")


class Known:
    """Our own things by public names such as "layers.Dense", "metrics.accuracy" and "relu".

    Args:
        others: more things by such names, from the floors above.
    """

    def __init__(self, others: Mapping[str, Any]) -> None:
        self.things = {**_ours(), **others}
        self._names = {id(thing): name for name, thing in reversed(self.things.items())}

    def name(self, thing: Any) -> str | None:
        """What a file calls it; None if it is not ours."""
        return self._names.get(id(thing))


def _ours() -> dict[str, Any]:
    things = {name: getattr(ops, name) for name in ops.__all__ if callable(getattr(ops, name))}
    for family in _FAMILIES:
        things |= {f"{family}.{name}": thing for name, thing in _defined(import_module(f"tinygrad_bn.{family}"))}
    return things


def _defined(module: Any) -> Iterator[tuple[str, Any]]:
    """The public classes and functions of a module or package, whichever file they stand in."""
    for name, thing in vars(module).items():
        home = getattr(thing, "__module__", "") or ""
        own = home == module.__name__ or home.startswith(f"{module.__name__}.")
        if own and not name.startswith("_") and (isinstance(thing, (type, Primitive)) or callable(thing)):
            yield name, thing
