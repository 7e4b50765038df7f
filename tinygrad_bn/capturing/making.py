"""Making a program: one call of a function is recorded, read, and refused where a replay could not do the same."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_bn.capturing.lowering import lowered
from tinygrad_bn.capturing.passes import simplified
from tinygrad_bn.capturing.programs import Program
from tinygrad_bn.capturing.recording import Made, Recording
from tinygrad_bn.errors import CaptureError
from tinygrad_bn.mode import Journal, current, using
from tinygrad_bn.nests import leaves, mapped
from tinygrad_bn.tensors import Tensor, as_array
from tinygrad_bn.variables import Variable


class Taken(NamedTuple):
    """What came of recording one call.

    Attributes:
        result: what the call gives.
        program: what gives the same from now on.
        met: the modules, optimizers and losses that ran, and the variables that were used or asked for.
        gradients: whose has to be there before a call, or not to be: of a variable, or of the argument at a position.
        facts: what has to be as it was, as functions with their answers.
    """

    result: Any
    program: Program
    met: Iterable[Any]
    gradients: list[tuple[Tensor | int, bool]]
    facts: list[tuple[Callable[[], Any], Any]]


def taken(
    function: Callable[..., Any],
    executor: str,
    name: str,
    args: tuple[Any, ...],
    named: dict[str, Any],
    arrays: Sequence[Any],
) -> Taken:
    """Call the function, whose arguments hold these arrays, and make a program of it.

    Raises:
        CaptureError: it cannot be replayed; everything is as before the call, then.
    """
    journal = Journal()
    found, made = _recorded(function, executor, name, args, named, arrays, journal)
    _expect_nothing_kept(name, made, journal)  # by now nobody here holds a Tensor of the recording
    journal.hand_on(current().journal)
    return found


def _recorded(
    function: Callable[..., Any],
    executor: str,
    name: str,
    args: tuple[Any, ...],
    named: dict[str, Any],
    arrays: Sequence[Any],
    journal: Journal,
) -> tuple[Taken, list[weakref.ref[Tensor]]]:
    tensors = [_argument(array) for array in arrays]
    recording = Recording(tensors)
    seen: dict[int, Any] = {id(array): tensor for array, tensor in zip(arrays, tensors, strict=True)}
    args, named = mapped((args, named), lambda leaf: seen.get(id(leaf), leaf))
    try:
        with using(recorder=recording, journal=journal):
            result = function(*args, **named)
        if recording.refusal is not None:
            raise recording.refusal
        recording.expect_generators_kept(journal)
        _expect_no_strangers(name, recording)
        results = [leaf for leaf in leaves(result) if isinstance(leaf, (Tensor, np.ndarray))]
        handed = [value if isinstance(value, Tensor) else Tensor(value) for value in results]
        recording.expect_present(handed)
        met = _gradients_met(recording, tensors, arrays)
        passed_on = [(owner, before) for owner, (before, read), _ in met if isinstance(owner, int) and read]
        inherited = {owner: before for owner, before in passed_on if before is not None}
        left = [(owner, now) for owner, (before, _), now in met if now is not None and now is not before]
        cleared = [owner for owner, (before, read), now in met if now is None and (before is not None or not read)]
        flow = lowered(recording, [*tensors, *inherited.values()], [*handed, *(gradient for _, gradient in left)])
        owners = [owner for owner, _ in left]
        program = Program(simplified(flow), executor, result, owners, cleared, list(inherited), name)
        program.expect_apart([tensor.value for tensor in tensors])
    except BaseException:
        _undo(journal, recording)
        raise
    first = program.handed([tensor.value.copy() for tensor in handed], [g.value.copy() for _, g in left], arrays)
    made = [weakref.ref(event.tensor) for event in recording.events if isinstance(event, Made)]
    made += map(weakref.ref, tensors)
    expected = [(owner, before is not None) for owner, (before, read), _ in met if read]
    return Taken(first, program, [*recording.met, *recording.variables()], expected, recording.facts), made


def _expect_no_strangers(name: str, recording: Recording) -> None:
    """Raise if a Tensor was used that a step made before, and that was not given to this one."""
    own = {event.tensor for event in recording.events if isinstance(event, Made)}
    for event in recording.events:
        for tensor in event.tensor.source[1] if isinstance(event, Made) else (event.data,):  # type: ignore[index]
            if not isinstance(tensor, Tensor) or isinstance(tensor, Variable) or tensor in own:
                continue
            if tensor.version is not None and tensor not in recording.origins:
                raise CaptureError(
                    f"{name} uses a view of a variable, of shape {tensor.shape}, that was taken before the "
                    "call: take it in the step"
                )
            if tensor.source is not None:
                raise CaptureError(
                    f"{name} uses a Tensor of shape {tensor.shape} that was computed before the call"
                    f"{f', {event.place}' if isinstance(event, Made) else ''}: pass it as an argument"
                )


def _expect_nothing_kept(name: str, made: Sequence[Any], journal: Journal) -> None:
    """Undo, and raise, if somebody still holds a Tensor of the recording: later calls would not renew it."""
    if any(reference() is not None for reference in made):
        gc.collect()
    kept = next((tensor for reference in made if (tensor := reference()) is not None), None)
    if kept is not None:
        _undo(journal, None)
        came = f"made by {kept.source[0].__name__}" if kept.source is not None else "one of its arguments"
        raise CaptureError(
            f"{name} keeps a Tensor of shape {kept.shape}, {came}, after it has returned: later calls would not renew "
            "it. Return it instead, or give it to the next call as an argument"
        )


def _undo(journal: Journal, recording: Recording | None) -> None:
    """Bring variables, generators and gradients back to what they were before the recording."""
    journal.undo()
    for leaf, (before, _) in recording.gradients.items() if recording is not None else ():
        leaf._grad = before


def _gradients_met(
    recording: Recording, tensors: Sequence[Tensor], arrays: Sequence[Any]
) -> list[tuple[Tensor | int, tuple[Tensor | None, bool], Tensor | None]]:
    """Of each gradient that mattered: whose it is, as `recording.gradients` has it, and what is there now.

    Its owner is a Tensor, or the argument at a position. Of what was made in the step nobody will see it.
    """
    positions = {
        tensor: place
        for place, (tensor, array) in enumerate(zip(tensors, arrays, strict=True))
        if isinstance(array, Tensor)
    }
    return [
        (positions.get(leaf, leaf), before, leaf._gradient())
        for leaf, before in recording.gradients.items()
        if leaf in positions or not (leaf in recording.arguments or recording.is_own(leaf))
    ]


def _argument(array: Any) -> Tensor:
    """An argument as the function sees it while it is recorded."""
    if not isinstance(array, Tensor):
        return Tensor(as_array(array, name="an argument of a captured function"))
    if isinstance(array, Variable):
        raise CaptureError(f"a captured function reaches variables through its modules; {array.name} was an argument")
    if array.source is not None and array.requires_grad:
        raise CaptureError("a captured function takes Tensors that begin a graph; got one with a past: .detach() it")
    tensor = Tensor(array.value, array.requires_grad)
    tensor._grad = array._grad
    return tensor
