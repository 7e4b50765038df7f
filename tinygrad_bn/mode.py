"""The one ambient state: whether gradients are remembered, who is recording, and the like.

A ContextVar holds it, so threads and asynchronous tasks do not see each other's modes.
"""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ContextDecorator, contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

if TYPE_CHECKING:
    from tinygrad_bn.recorders import Recorder


class Mode:
    """What holds around a piece of code. Never changed, only replaced by `using`.

    Attributes:
        gradients: whether results remember how they were made, where a gradient may be wanted.
        recorder: who is watching, or None.
        training: what `training=` said in the innermost module call that said it; None leaves it to each module.
        journal: how to undo the updates of variables and generators since `frozen_state` began, or None.
        taken: the Tensors requiring a gradient whose numbers a function that is being differentiated has taken out of
            the graph, and by what; None where none is.
        outer: what holds again when this ends; the outermost never ends.
    """

    __slots__ = ("gradients", "journal", "outer", "recorder", "taken", "training")

    def __init__(
        self,
        gradients: bool = True,
        recorder: Recorder | None = None,
        training: bool | None = None,
        journal: Journal | None = None,
        taken: list[tuple[Any, str]] | None = None,
        outer: Mode | None = None,
    ) -> None:
        self.gradients = gradients
        self.recorder = recorder
        self.training = training
        self.journal = journal
        self.taken = taken
        self.outer = outer or self


_ambient: Final[ContextVar[Mode]] = ContextVar("tinygrad_bn mode", default=Mode())  # noqa: B039 it never changes

current = _ambient.get


_changes = [0]


def changed() -> None:
    """A setting of a module, an optimizer or the like has been set, or a variable is learned from now on, or not."""
    _changes[0] += 1


def epoch() -> int:
    """How often that has happened: who remembers settings need not look again while this stays the same."""
    return _changes[0]


def expect_outside(what: str) -> None:
    """Raise, while a step is being captured, that `what` belongs outside it: a replay would not do it."""
    recorder = current().recorder
    if recorder is not None:
        recorder.outside(what)


F = TypeVar("F", bound=Callable[..., Any])
_SUSPENDS = 0x20 | 0x80 | 0x200  # the code flags of generators, coroutines and asynchronous generators


class using(ContextDecorator):
    """Within it the named parts of the mode are changed: a context manager and a decorator.

    One object can be within itself, and at work in several threads: it remembers nothing of where it is.
    """

    def __init__(self, **changes: Any) -> None:
        self._changes = changes

    def __call__(self, function: F) -> F:
        if getattr(getattr(function, "__code__", None), "co_flags", 0) & _SUSPENDS:
            raise TypeError(f"{function!r} runs after the call that makes it: use `with` inside it instead")
        return super().__call__(function)

    def __enter__(self) -> None:
        mode = current()
        parts = {  # spelled out: going through the slots would take twice as long
            "gradients": mode.gradients,
            "recorder": mode.recorder,
            "training": mode.training,
            "journal": mode.journal,
            "taken": mode.taken,
            **self._changes,
        }
        _ambient.set(Mode(**parts, outer=mode))

    def __exit__(self, *_: object) -> None:
        _ambient.set(current().outer)


def feed(array: Any, refresh: Callable[[], object] | None = None) -> Any:
    """`array`, as whoever records is to see it: `refresh` writes into it anew before each run of what is recorded.

    Without `refresh`, its owner writes into it whenever its numbers change.
    """
    recorder = current().recorder
    return array if recorder is None else recorder.feed(array, refresh)


def passed(good: Any, explain: Callable[[], Exception] | None) -> bool:
    """The answer of `guard` to a value that is known now."""
    if not good and explain is not None:
        raise explain()
    return bool(good)


def guard(good: Any, explain: Callable[[], Exception] | None = None) -> bool:
    """Whether to go on, which is a condition on values that can be recorded.

    Where `good` is false, `explain` gives the exception to raise; without one the answer is False, and the caller
    leaves out the updates that come next. A recorder answers True, and sees to that itself at each run.
    """
    recorder = current().recorder
    return passed(good, explain) if recorder is None else recorder.guard(good, explain)


def counting(counter: Any) -> None:
    """The array of no dimensions is about to grow by 1: who may have to undo that is told."""
    journal = current().journal
    if journal is not None and not journal.noted(counter):
        bring_back = partial(counter.__setitem__, ..., counter.copy())
        journal.note(counter, lambda: [bring_back])


def advance(counter: Any) -> None:
    """Add 1 to an array of no dimensions, now."""
    counting(counter)
    counter += 1


def count(counter: Any) -> None:
    """Add 1 to an array of no dimensions, together with the updates made just before."""
    recorder = current().recorder
    if recorder is None:
        advance(counter)
    else:
        recorder.count(counter)


_Call: TypeAlias = Callable[[], object]


class Journal:
    """How to undo what happened to variables and generators."""

    def __init__(self) -> None:
        self._undo: dict[int, tuple[Any, Callable[[], Sequence[_Call]]]] = {}

    def note(self, thing: Any, undo: Callable[[], Sequence[_Call]]) -> None:
        """`thing` is about to change for the first time; `undo` gives the calls, all of C, that bring it back."""
        self._undo.setdefault(id(thing), (thing, undo))

    def noted(self, thing: Any) -> bool:
        """Whether `thing` has been noted already."""
        return id(thing) in self._undo

    def hand_on(self, outer: Journal | None) -> None:
        """Let the journal around this one know; what that has noted itself is older."""
        if outer is not None:
            outer._undo = {**self._undo, **outer._undo}

    def undo(self) -> None:
        """Bring everything back; an interrupt finds all or nothing of it done, for none comes between calls of C."""
        with using(journal=None):  # bringing back is no news for a journal around this one
            calls = [call for _, undo in self._undo.values() for call in undo()]
            deque(map(operator.call, calls), maxlen=0)


@contextmanager
def frozen_state() -> Iterator[None]:
    """Within it a model can be run as often as one likes: afterwards variables and generators are as before."""
    journal = Journal()
    try:
        with using(journal=journal):
            yield
    finally:
        journal.undo()


@contextmanager
def undone_on_error() -> Iterator[None]:
    """Within it an error undoes the updates of variables and generators."""
    outer, journal = current().journal, Journal()
    try:
        with using(journal=journal):
            yield
    except BaseException:
        journal.undo()
        raise
    journal.hand_on(outer)
