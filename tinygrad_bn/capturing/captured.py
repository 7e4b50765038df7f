"""capture: a function that is recorded once for each kind of call, and replayed from then on."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial, update_wrapper
from operator import is_
from types import MethodType
from typing import Any

from tinygrad_bn.callers import warn
from tinygrad_bn.capturing.executors import chosen
from tinygrad_bn.capturing.keys import others, parted, told
from tinygrad_bn.capturing.making import taken
from tinygrad_bn.capturing.observing import Observer
from tinygrad_bn.capturing.programs import Program
from tinygrad_bn.capturing.surroundings import Settings, Surroundings
from tinygrad_bn.errors import CaptureBusyError
from tinygrad_bn.locks import new_lock
from tinygrad_bn.mode import Mode, current
from tinygrad_bn.names import checked

_MOST = 16
"""So many programs are kept for a function; the one that has not run for longest makes room."""


@checked
def capture(function: Callable[..., Any] | None = None, *, executor: str | None = None) -> Any:
    """The same function, recorded at its first call of each kind, and replayed from then on: without Python's share.

    What varies from call to call are the Tensors and arrays among the arguments, the variables of modules, learning
    rates and random draws. All else is part of the kind, and is looked at in each call: shapes, dtypes, modes, other
    arguments, settings, the lists, tuples and dicts in which modules lie, and, one level deep, what the user's
    functions that ran when it was recorded look up: their variables, defaults and texts, and the objects and classes
    whose methods they are. What else the function does, such as printing, it does when it is recorded. Results come
    without a graph; while another function that calls it is differentiated, as by `tg.grad`, it runs as it is.

    Args:
        function: a step such as forward, backward and update; or leave it out, as a decorator with arguments.
        executor: "numpy" gives the bits of eager execution; "native" compiles the step to C, whose rounding is another
            and as small; "eager" runs the function as it is. Without it `set_executor` says, or TINYGRAD_BN_EXECUTOR,
            and otherwise it is "numpy".

    Raises:
        CaptureError: at the first call, the function does what cannot be replayed, such as looking at a value; the
            message names the line. Nothing has been changed then.
    """
    if function is None:
        return partial(capture, executor=executor)
    return Captured(function, chosen(executor))


class _Call:
    """What a call depends on besides the numbers in its arrays, which are put on the list `arrays`."""

    __slots__ = ("given", "gradients", "named", "things", "training")

    def __init__(self, args: tuple[Any, ...], settings: dict[str, Any], arrays: list[Any], mode: Mode) -> None:
        self.given = parted(args, arrays)
        self.named = parted(settings, arrays) if settings else None
        self.gradients = mode.gradients
        self.training = mode.training
        self.things = others(args, settings)

    def is_like(self, other: _Call) -> bool:
        """Whether the same program serves both, told from identities: a quick yes, or no answer."""
        return (
            self.given == other.given
            and self.named == other.named
            and self.gradients is other.gradients
            and self.training is other.training
            and len(self.things) == len(other.things)
            and all(map(is_, self.things, other.things))
        )

    def key(self) -> Any:
        """What is the same for all calls that one program serves."""
        return self.given, self.named, self.gradients, self.training, *map(told, self.things)


class _Entry:
    """A program, the call that it was recorded from, and the settings that it was recorded under."""

    __slots__ = ("call", "program", "settings")

    def __init__(self, call: _Call, settings: Settings, program: Program) -> None:
        self.call, self.settings, self.program = call, settings, program


class Captured:
    """See `capture`.

    Attributes:
        programs: one for each kind of call, the latest last.
    """

    def __init__(self, function: Callable[..., Any], executor: str) -> None:
        if not callable(function):
            raise TypeError(f"capture expects a function; got {function!r}")
        update_wrapper(self, function, updated=())
        self.function = function
        self.name: str = getattr(function, "__name__", type(function).__name__)
        self.executor = executor
        self._programs: OrderedDict[Any, list[_Entry]] = OrderedDict()
        self._latest: _Entry | None = None
        self._lock = new_lock(self, "_lock")
        self._dropped = 0

    @property
    def programs(self) -> list[Program]:
        return [entry.program for entry in self._entries()]

    def _entries(self) -> list[_Entry]:
        return [entry for entries in self._programs.values() for entry in entries]

    def __repr__(self) -> str:
        return f"<captured {self.name}, {len(self.programs)} programs>"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.function, self.executor)  # a copy records anew

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else MethodType(self, instance)

    def __call__(self, *args: Any, **settings: Any) -> Any:
        mode = current()
        if mode.recorder is not None or mode.taken is not None or self.executor == "eager":
            return self.function(*args, **settings)
        if self._lock.locked():
            raise CaptureBusyError(
                f"{self!r} is running already, and cannot run twice at the same time: capture it once for each thread"
            )
        with self._lock:  # an interrupt finds no moment between taking it and the promise to give it back
            arrays: list[Any] = []
            call = _Call(args, settings, arrays, mode)
            entry = self._latest
            if entry is None or not entry.call.is_like(call) or not entry.settings.hold(arrays):
                entry = self._known(call, arrays)
                if entry is None:
                    return self._recorded(call, args, settings, arrays)
                self._latest = entry
            return entry.program.run(arrays)

    def program(self, *args: Any, **settings: Any) -> Program:
        """The program that such a call runs.

        Raises:
            KeyError: there has been no such call.
        """
        arrays: list[Any] = []
        entry = self._known(_Call(args, settings, arrays, current()), arrays)
        if entry is None:
            raise KeyError(f"{self!r} has no program for these arguments: call it once")
        return entry.program

    def _known(self, call: _Call, arrays: Sequence[Any]) -> _Entry | None:
        key = call.key()
        entries = self._programs.get(key, [])
        for entry in entries:
            if entry.settings.hold(arrays):
                entries.remove(entry)
                entries.append(entry)
                self._programs.move_to_end(key)
                return entry
        return None

    def _recorded(self, call: _Call, args: tuple[Any, ...], named: dict[str, Any], arrays: Sequence[Any]) -> Any:
        """The result of a call of a new kind, after which its program is known."""
        ran, things = Observer(self.function), [self.function, *call.things]
        before = Surroundings(ran, things)
        found = taken(ran, self.executor, self.name, args, named, arrays)
        around = Surroundings(ran, [*things, *found.met], before)
        settings = Settings(around, found.gradients, found.facts)
        self._latest = _Entry(call, settings, found.program)
        self._programs.setdefault(call.key(), []).append(self._latest)
        self._programs.move_to_end(call.key())
        self._make_room()
        return found.result

    def _news(self) -> str:
        """What tells the last two kinds of call apart, as far as it is an argument."""
        one, other = (entry.call for entry in self._entries()[-2:])
        positions = [place for place, (a, b) in enumerate(zip(one.given[1], other.given[1], strict=False)) if a != b]
        if positions and len(one.given[1]) == len(other.given[1]):
            return f"argument {positions[0]}, its shape, its type or its number,"
        if one.given != other.given or one.named != other.named:
            return "some argument"
        return "something that it refers to"

    def _make_room(self) -> None:
        while len(self.programs) > _MOST:
            key, entries = next(iter(self._programs.items()))
            if entries.pop(0) is self._latest:
                self._latest = None
            if not entries:
                del self._programs[key]
            self._dropped += 1
            if self._dropped == _MOST:
                warn(
                    f"{self!r} has been recorded {2 * _MOST} times: {self._news()} is new at every call. A number that "
                    "changes is best passed as an array of 0 dimensions, anything else as the same object"
                )
