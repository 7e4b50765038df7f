"""Unrolling: a function of Python as a text of its own, for what would be loops over always the same things."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tinygrad_bn.capturing.flow import Store
from tinygrad_bn.mode import counting, current
from tinygrad_bn.tensors import next_serial
from tinygrad_bn.variables import Variable, written


class Text:
    """The lines of a function."""

    def __init__(self) -> None:
        self._globals: dict[str, Any] = {}
        self._lines: list[str] = []
        self._level = 1

    def add(self, *lines: str) -> None:
        """Goes on with these lines."""
        self._lines += ["    " * self._level + line for line in lines]

    def named(self, thing: Any) -> str:
        """What a thing is called in the text."""
        name = f"_{len(self._globals)}"
        self._globals[name] = thing
        return name

    @contextmanager
    def where(self, conditions: Iterable[str]) -> Iterator[None]:
        """What is added within happens where all these hold."""
        asked = " and ".join(conditions)
        if asked:
            self.add(f"if {asked}:")
        self._level += bool(asked)
        yield
        self._level -= bool(asked)

    def announce(self, stores: Sequence[Store], counters: Sequence[Any]) -> None:
        """All who have to know are told, as by `written` and `counting`, that these are about to change."""
        writers: dict[str, list[Variable]] = {}
        for store in stores:
            writers.setdefault(store.writer, []).append(store.variable)
        self.add(f"if {self.named(current)}().journal is not None:")
        for writer, variables in writers.items():
            self.add(f"    {self.named(written)}({self.named(variables)}, {writer!r})")
        for counter in counters:
            self.add(f"    {self.named(counting)}({self.named(counter)})")
        if not stores:
            return
        self.add("else:", f"    serial = {self.named(next_serial)}()")
        for store in stores:
            version = self.named(store.variable.version)
            self.add(f"    {version}.writers[{store.writer!r}] += 1", f"    {version}.writer = {store.writer!r}")
            self.add(f"    {version}.updated = serial")

    def function(self, argument: str, result: str) -> Callable[[Any], Any]:
        """The function of these lines."""
        source = "\n".join([f"def unrolled({argument}):", *self._lines, f"    return {result}"])
        exec(compile(source, "<native program>", "exec"), self._globals)
        function: Callable[[Any], Any] = self._globals["unrolled"]
        return function
