"""The suites: each file says what is measured, of whom, and how the contenders' figures are related."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Prepared:
    """A contender, ready to be measured.

    Attributes:
        sample: measures once, in the suite's unit.
        losses: of the first steps, which all contenders must agree on; empty where nothing is trained.
    """

    sample: Callable[[], float]
    losses: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Suite:
    """What is measured, of whom.

    Attributes:
        name: as the command line has it.
        title: what it measures, in a few words.
        about: how, in a few sentences.
        unit: of the samples.
        cases: by name; each is measured by itself.
        ours, peers: the contenders.
        prepare: (contender, case) -> Prepared, called in the contender's own process.
        against: columns of ratios by title: to the fastest of these rivals, where {} stands for the contender itself.
        base: the contender that the bars of a picture are relative to, if there is one.
    """

    name: str
    title: str
    about: str
    unit: str
    cases: tuple[str, ...]
    ours: tuple[str, ...]
    peers: tuple[str, ...]
    prepare: Callable[[str, str], Prepared]
    against: Mapping[str, tuple[str, ...]]
    base: str | None = None

    @property
    def contenders(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.ours, *self.peers)

    def among(self, contenders: Sequence[str]) -> Suite:
        """The same with only those columns of ratios that some of these contenders can fill."""
        against = {
            title: rivals
            for title, rivals in self.against.items()
            if any(rival.format(name) in contenders for rival in rivals for name in contenders)
        }
        return replace(self, against=against)


def load(name: str) -> Suite:
    """The suite of this name."""
    suite: Suite = import_module(f"benchmarks.suites.{name}_suite").SUITE
    return suite


def contender_file(name: str) -> Any:
    """The file that says what the contender can do."""
    return import_module(f"benchmarks.contenders.{name}")


def timed(action: Callable[[], object], unit: float) -> Callable[[], float]:
    """The time of the action, of which there are `unit` in a second."""

    def sample() -> float:
        start = time.perf_counter()
        action()
        return (time.perf_counter() - start) * unit

    return sample


def first_losses(step: Callable[[], float | None], count: int = 5) -> list[float]:
    """What the first steps return."""
    return [loss for _ in range(count) if (loss := step()) is not None]
