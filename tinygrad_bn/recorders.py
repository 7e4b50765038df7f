"""Recorders: who watches a computation, result by result, and answers for it where a value is asked for.

`mode.current().recorder` is the one at work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinygrad_bn.mode import advance, passed


class Recorder:
    """Watches a computation: is shown every result in creation order, and every question about a value.

    While a recorder is at work all results remember how they were made, whether or not they need a gradient.
    """

    def note(self, tensor: Any) -> None:
        """`tensor` has just been made."""

    def detached(self, new: Any, tensor: Any) -> None:
        """`new` has the very values of `tensor`, and forgets where they come from."""

    def reveal(self, tensor: Any, request: str) -> None:
        """Python is about to see the value of `tensor`, through `request`. May raise to forbid it."""

    def assigned(self, variable: Any, data: Any, writer: str) -> bool:
        """`writer` is about to give `variable` the values `data`; False forbids it."""
        return True

    def draw(self, primitive: Any, settings: Any) -> Any:
        """The result of a random primitive, which takes no arrays."""
        return primitive.evaluate((), settings)

    def seeded(self, generator: Any) -> None:
        """`generator` has just been made from a fixed seed: its draws are the same at every run."""

    def feed(self, array: Any, refresh: Callable[[], object] | None) -> Any:
        """`array`, into which `refresh` writes before each run what is not an argument and yet changes."""
        return array

    def guard(self, good: Any, explain: Callable[[], Exception] | None) -> bool:
        """Whether to go on after a check; where `explain` is None, updates to come are left out if it has failed."""
        return passed(good, explain)

    def sets(self, module: Any, name: str, value: Any) -> None:
        """An attribute of a module is about to be set."""

    def outside(self, what: str) -> None:
        """`what` is about to happen, which is no computation. May raise to forbid it."""

    def gradient(self, leaf: Any, read: bool) -> None:
        """The gradient of `leaf` is about to be looked at, or, unless `read`, to be replaced."""

    def count(self, counter: Any) -> None:
        """`counter`, an array, is one more once the updates have been made."""
        advance(counter)

    def pull(self, vertex: Any) -> None:
        """The results to come are derivatives of `vertex`; None once there are no more."""

    def use(self, thing: Any) -> None:
        """`thing`, an optimizer, a loss or a parameter, is at work or asked for: its settings are part of the run."""

    def depends(self, fact: Callable[[], Any]) -> None:
        """What comes next is right where `fact()` gives what it gives now."""

    def enter(self, module: Any) -> None:
        """The results to come belong to `module`."""

    def leave(self, module: Any) -> None:
        """`module` has returned."""


class Relay(Recorder):
    """Hands everything on to another recorder; a subclass looks at some of it too."""

    def __init__(self, other: Recorder | None) -> None:
        self.other = other or Recorder()

    def note(self, tensor: Any) -> None:
        self.other.note(tensor)

    def detached(self, new: Any, tensor: Any) -> None:
        self.other.detached(new, tensor)

    def reveal(self, tensor: Any, request: str) -> None:
        self.other.reveal(tensor, request)

    def assigned(self, variable: Any, data: Any, writer: str) -> bool:
        return self.other.assigned(variable, data, writer)

    def draw(self, primitive: Any, settings: Any) -> Any:
        return self.other.draw(primitive, settings)

    def seeded(self, generator: Any) -> None:
        self.other.seeded(generator)

    def feed(self, array: Any, refresh: Callable[[], object] | None) -> Any:
        return self.other.feed(array, refresh)

    def guard(self, good: Any, explain: Callable[[], Exception] | None) -> bool:
        return self.other.guard(good, explain)

    def sets(self, module: Any, name: str, value: Any) -> None:
        self.other.sets(module, name, value)

    def outside(self, what: str) -> None:
        self.other.outside(what)

    def gradient(self, leaf: Any, read: bool) -> None:
        self.other.gradient(leaf, read)

    def count(self, counter: Any) -> None:
        self.other.count(counter)

    def pull(self, vertex: Any) -> None:
        self.other.pull(vertex)

    def use(self, thing: Any) -> None:
        self.other.use(thing)

    def depends(self, fact: Callable[[], Any]) -> None:
        self.other.depends(fact)

    def enter(self, module: Any) -> None:
        self.other.enter(module)

    def leave(self, module: Any) -> None:
        self.other.leave(module)


class Following(Relay):
    """Knows which modules are at work, and hands everything on.

    Attributes:
        open: these modules, the innermost last.
    """

    def __init__(self, other: Recorder | None = None) -> None:
        super().__init__(other)
        self.open: list[Any] = []

    def enter(self, module: Any) -> None:
        self.open.append(module)
        super().enter(module)

    def leave(self, module: Any) -> None:
        self.open.pop()
        super().leave(module)
