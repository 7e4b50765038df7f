"""capture: a function that is recorded once for each kind of call, and replayed from then on."""

from __future__ import annotations

import gc
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial, update_wrapper
from operator import is_
from threading import Lock
from types import MethodType
from typing import Any
from warnings import warn

import numpy as np

from tinygrad_bn.capturing.executors import chosen
from tinygrad_bn.capturing.keys import Settings, Surroundings, collected, contents, exchanged, others, parted, told
from tinygrad_bn.capturing.lowering import lowered
from tinygrad_bn.capturing.passes import simplified
from tinygrad_bn.capturing.programs import Program
from tinygrad_bn.capturing.recording import Made, Recording
from tinygrad_bn.errors import CaptureBusyError, CaptureError
from tinygrad_bn.mode import Journal, Mode, current, using
from tinygrad_bn.tensors import Tensor
from tinygrad_bn.variables import Parameter, Variable

_MOST = 16
"""So many programs are kept for a function; the one that has not run for longest makes room."""


def capture(function: Callable[..., Any] | None = None, *, executor: str | None = None) -> Any:
    """The same function, recorded at its first call of each kind, and replayed from then on: without Python's share.

    What varies from call to call are the Tensors and arrays among the arguments, the variables of modules, learning
    rates and random draws. All else is part of the kind, and is looked at in each call: shapes, dtypes, modes, other
    arguments, settings, and, one level deep, what the function and the user's functions it calls refer to. What else
    the function does, such as printing, it does when it is recorded. Results come without a graph.

    Args:
        function: a step such as forward, backward and update; or leave it out, as a decorator with arguments.
        executor: "numpy" gives the bits of eager execution; "native" compiles the step to C, within 4 ulp; "eager" runs
            the function as it is. Without it `set_executor` says, or TINYGRAD_BN_EXECUTOR, and otherwise it is "numpy".

    Raises:
        CaptureError: at the first call, the function does what cannot be replayed, such as looking at a value; the
            message names the line. Nothing has been changed then.
    """
    if function is None:
        return partial(capture, executor=executor)
    return Captured(function, chosen(executor))


class _Call:
    """What a call depends on besides the numbers in its arrays, which are put on the list `arrays`."""

    __slots__ = ("contents", "given", "gradients", "named", "things", "training")

    def __init__(
        self, args: tuple[Any, ...], settings: dict[str, Any], arrays: list[Any], mode: Mode, around: Surroundings
    ) -> None:
        self.given = parted(args, arrays)
        self.named = parted(settings, arrays) if settings else None
        self.gradients = mode.gradients
        self.training = mode.training
        self.things = [*around.things(), *others(args, settings)]
        self.contents = contents(self.things)

    def is_like(self, other: _Call) -> bool:
        """Whether the same program serves both, told from identities: a quick yes, or no answer."""
        return (
            self.given == other.given
            and self.named == other.named
            and self.gradients is other.gradients
            and self.training is other.training
            and len(self.things) == len(other.things)
            and all(map(is_, self.things, other.things))
            and self.contents == other.contents
        )

    def key(self) -> Any:
        """What is the same for all calls that one program serves."""
        return self.given, self.named, self.gradients, self.training, *map(told, self.things), *self.contents


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
        update_wrapper(self, function, updated=())
        self.function = function
        self.name: str = getattr(function, "__name__", type(function).__name__)
        self.executor = executor
        self._programs: OrderedDict[Any, list[_Entry]] = OrderedDict()
        self._latest: _Entry | None = None
        self._surroundings = Surroundings(function)
        self._lock = Lock()
        self._dropped = 0

    @property
    def programs(self) -> list[Program]:
        return [entry.program for entries in self._programs.values() for entry in entries]

    def __repr__(self) -> str:
        return f"<captured {self.name}, {len(self.programs)} programs>"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.function, self.executor)  # a copy records anew

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else MethodType(self, instance)

    def __call__(self, *args: Any, **settings: Any) -> Any:
        mode = current()
        if mode.recorder is not None or self.executor == "eager":
            return self.function(*args, **settings)
        if self._lock.locked():
            raise CaptureBusyError(
                f"{self!r} is running already, and cannot run twice at the same time: capture it once for each thread"
            )
        with self._lock:  # an interrupt finds no moment between taking it and the promise to give it back
            arrays: list[Any] = []
            call = _Call(args, settings, arrays, mode, self._surroundings)
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
        entry = self._known(_Call(args, settings, arrays, current(), self._surroundings), arrays)
        if entry is None:
            raise KeyError(f"{self!r} has no program for these arguments: call it once")
        return entry.program

    def _known(self, call: _Call, arrays: Sequence[Any]) -> _Entry | None:
        key = call.key()
        for entry in self._programs.get(key, ()):
            if entry.settings.hold(arrays):
                self._programs.move_to_end(key)
                return entry
        return None

    def _recorded(self, call: _Call, args: tuple[Any, ...], settings: dict[str, Any], arrays: Sequence[Any]) -> Any:
        """The result of a call of a new kind, after which its program is known."""
        tensors = [_argument(array) for array in arrays]
        recording, journal = Recording(tensors), Journal()
        given: dict[int, Any] = {id(array): tensor for array, tensor in zip(arrays, tensors, strict=True)}
        try:
            with using(recorder=recording, journal=journal):
                result = self.function(*exchanged(args, given), **exchanged(settings, given))
            if recording.refusal is not None:
                raise recording.refusal
            self._expect_no_strangers(recording)
            self._expect_no_aliases(recording, arrays)
            results: list[Any] = []
            collected(result, results)
            grads = _gradients_left(recording, tensors)
            handed = [value if isinstance(value, Tensor) else Tensor(value) for value in results]
            recording.expect_present(handed)
            inherited = _inherited(recording, tensors)
            olds: list[Any] = [recording.gradients[tensors[place]][0] for place in inherited]
            flow = lowered(recording, [*tensors, *olds], [*handed, *(gradient for _, gradient in grads)])
            owners = [owner for owner, _ in grads]
            program = Program(simplified(flow), self.executor, result, owners, inherited, self.name)
        except BaseException:
            _undo(journal, recording)
            raise
        first = program.handed([tensor.value.copy() for tensor in handed], [g.value.copy() for _, g in grads], arrays)
        things = [*recording.modules, *call.things]
        parameters = [variable for variable in recording.variables() if isinstance(variable, Parameter)]
        known = Settings(things, parameters, _gradients_expected(recording, tensors), self._surroundings.inner())
        made = [weakref.ref(event.tensor) for event in recording.events if isinstance(event, Made)]
        del recording, tensors, handed, results, result, grads, flow, given, olds
        self._expect_nothing_kept(made, journal)
        journal.hand_on(current().journal)
        self._programs.setdefault(call.key(), []).append(_Entry(call, known, program))
        self._programs.move_to_end(call.key())
        self._make_room()
        return first

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
                    f"{self!r} has been recorded {2 * _MOST} times: some number or shape is new at every call. Pass "
                    "what changes as an array of 0 dimensions",
                    stacklevel=5,
                )

    def _expect_no_strangers(self, recording: Recording) -> None:
        """Raise if a Tensor was used that a step made before, and that was not given to this one."""
        own = {event.tensor for event in recording.events if isinstance(event, Made)}
        for event in recording.events:
            for tensor in event.tensor.source[1] if isinstance(event, Made) else (event.data,):  # type: ignore[index]
                if not isinstance(tensor, Tensor) or isinstance(tensor, Variable) or tensor in own:
                    continue
                if tensor.version is not None and tensor not in recording.origins:
                    raise CaptureError(
                        f"{self.name} uses a view of a variable, of shape {tensor.shape}, that was taken before the "
                        "call: take it in the step"
                    )
                if tensor.source is not None:
                    raise CaptureError(
                        f"{self.name} uses a Tensor of shape {tensor.shape} that was computed before the call"
                        f"{f', {event.place}' if isinstance(event, Made) else ''}: pass it as an argument"
                    )

    def _expect_no_aliases(self, recording: Recording, arrays: Sequence[Any]) -> None:
        """Raise if an argument is the memory of a variable, which the step may change."""
        for position, array in enumerate(arrays):
            value = array.value if isinstance(array, Tensor) else array
            for variable in recording.variables():
                if np.may_share_memory(value, variable.value):
                    raise CaptureError(
                        f"argument {position} of {self.name} shares its memory with "
                        f"{variable.name or 'a variable'} of shape {variable.shape}, which the step uses: "
                        "pass a .copy(), or let the step reach the variable through its module"
                    )

    def _expect_nothing_kept(self, made: Sequence[Any], journal: Journal) -> None:
        """Undo, and raise, if somebody still holds a Tensor of the recording: later calls would not renew it."""
        if any(reference() is not None for reference in made):
            gc.collect()
        kept = next((tensor for reference in made if (tensor := reference()) is not None), None)
        if kept is not None:
            _undo(journal, None)
            raise CaptureError(
                f"{self.name} keeps a Tensor of shape {kept.shape}, made by "
                f"{kept.source[0].__name__}, after it has returned: later calls would not renew it. Return it instead"
            )


def _undo(journal: Journal, recording: Recording | None) -> None:
    """Bring variables, generators and gradients back to what they were before the recording."""
    with using(journal=None):
        journal.undo()
    for leaf, (before, _) in recording.gradients.items() if recording is not None else ():
        leaf._grad = before


def _gradients_expected(recording: Recording, tensors: Sequence[Tensor]) -> list[tuple[Tensor | int, bool]]:
    """Whose gradient has to be there before a call, or not to be: a variable, or the argument at a position."""
    positions = {tensor: position for position, tensor in enumerate(tensors)}
    met = recording.gradients.items()
    return [(positions.get(leaf, leaf), before is not None) for leaf, (before, read) in met if read]


def _inherited(recording: Recording, tensors: Sequence[Tensor]) -> list[int]:
    """The positions of the arguments whose gradients from before were looked at."""
    met = [recording.gradients.get(tensor, (None, False)) for tensor in tensors]
    return [position for position, (before, read) in enumerate(met) if read and before is not None]


def _argument(array: Any) -> Tensor:
    """An argument as the function sees it while it is recorded."""
    if not isinstance(array, Tensor):
        return Tensor(array)
    if isinstance(array, Variable):
        raise CaptureError(f"a captured function reaches variables through its modules; {array.name} was an argument")
    if array.source is not None and array.requires_grad:
        raise CaptureError("a captured function takes Tensors that begin a graph; got one with a past: .detach() it")
    tensor = Tensor(array.value, array.requires_grad)
    tensor._grad = array._grad
    return tensor


def _gradients_left(recording: Recording, tensors: Sequence[Tensor]) -> list[tuple[Variable | int, Tensor]]:
    """Who has a gradient of the recording afterwards, a variable or the argument at a position, and that gradient."""
    own = {event.tensor for event in recording.events if isinstance(event, Made)}
    own.update(recording.origins)
    owners: list[tuple[Variable | int, Tensor]] = [*enumerate(tensors), *((v, v) for v in recording.variables())]
    return [(owner, leaf._grad) for owner, leaf in owners if leaf._grad is not None and leaf._grad in own]
