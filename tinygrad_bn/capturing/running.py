"""Running: which executor a flow gets, and what happens where the native one cannot have it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_bn.callers import warn
from tinygrad_bn.capturing.flow import Flow, Value
from tinygrad_bn.capturing.replaying import Replay
from tinygrad_bn.errors import CaptureError, NativeError
from tinygrad_bn.mode import frozen_state

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TOLERANCE = 0.5
"""A share of the digits that must agree. A deep network may lose many to rounding; wrong code leaves none."""

_told: set[str] = set()


def runner(flow: Flow, executor: str) -> Any:
    """What runs the flow: compiled where that is asked for and possible, else the replay."""
    if executor == "native":
        from tinygrad_bn.capturing.native.dialect import Inexpressible

        try:
            return _Native(flow)
        except (Inexpressible, NativeError) as error:
            _tell(str(error))
    return Replay(flow)


def source_of(flow: Flow) -> str:
    """The C text of a flow.

    Raises:
        CaptureError: it holds a call that has none.
    """
    from tinygrad_bn.capturing.native.dialect import Inexpressible
    from tinygrad_bn.capturing.native.emitting import Source
    from tinygrad_bn.capturing.native.expanding import expanded

    try:
        return Source(expanded(flow)).text
    except Inexpressible as error:
        raise CaptureError(f"this step has no C text: {error}") from None


def _tell(reason: str) -> None:
    """Say once in a process why a native program is none."""
    if reason not in _told:
        _told.add(reason)
        warn(f"a step runs as a NumPy replay instead of native code: {reason}")


class _Native:
    """A compiled flow, whose first run is compared with the replay's."""

    def __init__(self, flow: Flow) -> None:
        from tinygrad_bn.capturing.native.expanding import expanded
        from tinygrad_bn.capturing.native.program import NativeProgram

        self.flow = flow
        self._program: Any = NativeProgram(expanded(flow))
        self.run = self._first_run

    def _first_run(self, arrays: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        replay = Replay(self.flow)
        variables = [store.variable for store in self.flow.stores]
        with frozen_state():
            expected = replay.run(arrays) + [variable.value.copy() for variable in variables]
        results: list[NDArray[Any]] = self._program.run(arrays)
        found = results + [variable.value for variable in variables]
        if _are_close(found, expected):
            self.run = self._program.run
            return results
        _tell("its results differ from the replay's, which should not happen: please report it")
        for variable, value in zip(variables, expected[len(results) :], strict=True):
            np.copyto(variable.value, value)
        self._program, self.run = replay, replay.run
        return expected[: len(results)]

    def place(self, value: Value) -> str:
        """Where a value lives, which is the compiler's business."""
        return ""

    @property
    def nbytes(self) -> int:
        """The memory that its results need, in bytes."""
        count: int = self._program.nbytes
        return count


def _are_close(found: Sequence[NDArray[Any]], expected: Sequence[NDArray[Any]]) -> bool:
    """Whether these agree, by the measure of the largest number of all.

    Some, such as the gradient of a bias in front of batch normalization, are nothing but rounding.
    """
    floating = [array[np.isfinite(array)] for array in expected if array.dtype.kind == "f"]
    largest = max((np.abs(array).max(initial=0.0) for array in floating), default=0.0)
    # The coarsest of their dtypes says how close: a float64 may be the norm of float32 gradients.
    apart = max((np.finfo(array.dtype).eps for array in floating), default=0.0) ** _TOLERANCE * float(largest)
    return all(_is_close(ours, theirs, apart) for ours, theirs in zip(found, expected, strict=True))


def _is_close(found: NDArray[Any], expected: NDArray[Any], apart: float) -> bool:
    if expected.dtype.kind != "f":
        return not expected.size or bool((found == expected).mean() > _TOLERANCE)  # a tie may be rounded apart
    with np.errstate(invalid="ignore", over="ignore"):
        near = np.abs(found - expected) <= apart
        same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    return bool((near | same).all())
