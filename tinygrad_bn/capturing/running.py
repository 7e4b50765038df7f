"""Running: which executor a flow gets, and what happens where the native one cannot have it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_bn.callers import warn
from tinygrad_bn.capturing.flow import Flow, Value
from tinygrad_bn.capturing.replaying import Replay
from tinygrad_bn.errors import CaptureError, NativeError
from tinygrad_bn.mode import frozen_state
from tinygrad_bn.variables import Variable

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TOLERANCE = 0.5
"""A share of the digits that must agree. A deep network may lose many to rounding; wrong code leaves none."""
_SHAKES = 8
"""Runs on shaken numbers, where code is suspected: a rule that takes the sign of rounding is lucky half the time."""
_MARGIN = 16
"""So many units in the last place numbers are shaken, and so much less than the tolerance tells what is unsure."""

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

        self.flow, new = flow, expanded(flow)
        self._program: Any = NativeProgram(new)
        self._takes_indices = len(new.checks) > len(flow.checks)
        self.run = self._first_run

    def _first_run(self, arrays: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        replay = Replay(self.flow)
        expected, found = self._outcome(replay, arrays), self._outcome(self._program, arrays)
        if not self._is_right(found, expected, replay, arrays):
            _tell("its results differ from the replay's, which should not happen: please report it")
            self._program = replay
        self.run = self._with_indices if self._takes_indices and self._program is not replay else self._program.run
        return self.run(arrays)

    def _with_indices(self, arrays: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """A run; an index that lies outside is named by the replay, whose NumPy meets it."""
        try:
            results: list[NDArray[Any]] = self._program.run(arrays)
            return results
        except IndexError:
            try:
                self._outcome(Replay(self.flow), arrays)
            except IndexError as named:
                raise named from None
            raise

    def _outcome(
        self, runner: Any, arrays: Sequence[NDArray[Any]], rng: np.random.Generator | None = None
    ) -> list[NDArray[Any]]:
        """The results of a run and the variables behind it, of which nothing stays; shaken by `rng` before it."""
        with frozen_state():
            if rng is not None:
                arrays = [_shaken(array, rng) for array in arrays]
                for value in self.flow.sources():
                    if isinstance(value.origin, Variable):
                        value.origin.assign(_shaken(value.origin.value, rng))
            results: list[NDArray[Any]] = runner.run(arrays)
            return results + [store.variable.value.copy() for store in self.flow.stores]

    def _is_right(
        self,
        found: Sequence[NDArray[Any]],
        expected: Sequence[NDArray[Any]],
        replay: Replay,
        arrays: Sequence[NDArray[Any]],
    ) -> bool:
        """Whether these agree, but for what the replay does not know itself: where it is led astray by the last digits.

        Such is the update of a bias in front of batch normalization, whose gradient is nothing but rounding, by a rule
        that divides gradients by their own size.
        """
        astray = _astray(found, expected)
        if not any(places.any() for places in astray):
            return True
        unknown, rng = [np.zeros_like(places) for places in astray], np.random.default_rng(0)
        for _ in range(_SHAKES):
            with suppress(Exception):  # what lies next to good numbers may be refused
                shaken = _astray(self._outcome(replay, arrays, rng), expected, 1 / _MARGIN)
                unknown = [places | others for places, others in zip(unknown, shaken, strict=True)]
        return all(
            _MARGIN * (places & ~others).sum() <= others.sum() for places, others in zip(astray, unknown, strict=True)
        )

    def place(self, value: Value) -> str:
        """Where a value lives, which is the compiler's business."""
        return ""

    @property
    def nbytes(self) -> int:
        """The memory that its results need, in bytes."""
        count: int = self._program.nbytes
        return count


def _shaken(array: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """The same numbers but for their last digits; whole ones stay, for they may be classes or truth values."""
    if array.dtype.kind != "f":
        return array
    apart = rng.uniform(-_MARGIN, _MARGIN, array.shape) * np.finfo(array.dtype).eps
    with np.errstate(all="ignore"):
        return np.where(np.rint(array) == array, array, array * (1 + apart)).astype(array.dtype)


def _astray(
    found: Sequence[NDArray[Any]], expected: Sequence[NDArray[Any]], share: float = 1.0
) -> list[NDArray[np.bool_]]:
    """Which elements differ, by more than a share of the tolerance, which is that of the largest number of all."""
    floating = [array[np.isfinite(array)] for array in expected if array.dtype.kind == "f"]
    largest = max((np.abs(array).max(initial=0.0) for array in floating), default=0.0)
    # The coarsest of their dtypes says how close: a float64 may be the norm of float32 gradients.
    apart = max((np.finfo(array.dtype).eps for array in floating), default=0.0) ** _TOLERANCE * float(largest) * share
    return [_differ(ours, theirs, apart) for ours, theirs in zip(found, expected, strict=True)]


def _differ(found: NDArray[Any], expected: NDArray[Any], apart: float) -> NDArray[np.bool_]:
    if expected.dtype.kind != "f":
        return np.asarray(found != expected)
    with np.errstate(invalid="ignore", over="ignore"):
        near = np.abs(found - expected) <= apart
        same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    return np.asarray(~(near | same))
