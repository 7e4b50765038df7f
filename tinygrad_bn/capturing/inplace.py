"""Elementwise texts in place: an update rule, written as a pure function, runs without allocating anything.

This is the smallest use of `reading`: optimizers write `velocity = momentum * velocity - learning_rate * g` and the
arrays are overwritten by the same NumPy calls, in the same order, with the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tinygrad_bn.capturing.dialect import KEYWORD
from tinygrad_bn.capturing.reading import Ref, Text, Unreadable, read
from tinygrad_bn.errors import ShapeError
from tinygrad_bn.memory import aligned

if TYPE_CHECKING:  # numpy.typing costs more to import than all of ours
    from numpy.typing import NDArray

Arrays: TypeAlias = "Sequence[NDArray[Any]]"


class InPlace:
    """`update(*targets, *others) -> new targets`, elementwise, run so that the targets are overwritten.

    An update that cannot be read is run as it stands, and its results are copied.

    Attributes:
        copies: whether it has come to that.
    """

    def __init__(self, update: Callable[..., Any]) -> None:
        self.update = update
        self.copies = False
        self._programs: dict[Any, Callable[..., None]] = {}
        self._scratch: dict[Any, NDArray[Any]] = {}

    def __call__(self, targets: Arrays, others: Arrays) -> None:
        """Overwrite the targets, all of one shape and dtype, with what the update makes of them and the others.

        No two of the arrays share memory.

        Raises:
            ShapeError: the update returns other than one array of the targets' shape for each of them.
        """
        self.program(targets, others)(*targets, *others)

    def program(self, targets: Arrays, others: Arrays) -> Callable[..., None]:
        """What a call does to these arrays, and to all others of their shapes and dtypes: `program(*targets, *others)`.

        Raises:
            ShapeError: as a call.
        """
        arrays = (*targets, *others)
        key = *[array.shape for array in arrays], *[array.dtype for array in arrays]
        if key not in self._programs:
            self._programs[key] = self._made(targets, others)
        return self._programs[key]

    def formula(self, targets: Arrays, others: Arrays) -> str | None:
        """What is done to each element; None where one depends on others. It may not be that of other shapes."""
        try:
            text = read(self.update, *targets, *others)
        except Unreadable:
            return None
        return str(text) if _is_elementwise(text) else None

    def _made(self, targets: Arrays, others: Arrays) -> Callable[..., None]:
        try:
            text = read(self.update, *targets, *others)
        except Unreadable:
            return self._fallback(len(targets))
        _expect_fit([text.sample(ref, *targets, *others) for ref in text.results], targets)
        if not _is_elementwise(text):
            return self._fallback(len(targets))
        source, constants, scratch = _planned(text, targets[0])
        for place in range(scratch):
            constants[f"s{place}"] = self._scratch_like(targets[0], place)
        exec(source, constants)
        program: Callable[..., None] = constants["program"]
        return program

    def _fallback(self, count: int) -> Callable[..., None]:
        self.copies = True
        return partial(self._copying, count)

    def _copying(self, count: int, *arrays: NDArray[Any]) -> None:
        results = self.update(*arrays)
        news = [np.array(result) for result in (results if isinstance(results, (tuple, list)) else (results,))]
        _expect_fit(news, arrays[:count])
        for target, new in zip(arrays, news, strict=False):
            np.copyto(target, new, casting="same_kind")

    def _scratch_like(self, target: NDArray[Any], place: int) -> NDArray[Any]:
        """Memory shared by all targets of a dtype, since they are updated one after the other."""
        memory = self._scratch.get((target.dtype, place))
        if memory is None or memory.size < target.size:
            memory = self._scratch[target.dtype, place] = aligned(target.nbytes).view(target.dtype)
        return memory[: target.size].reshape(target.shape)


def _expect_fit(results: Arrays, targets: Arrays) -> None:
    came = [result.shape for result in results]
    if came != [target.shape for target in targets]:
        raise ShapeError(f"an update expects to return {len(targets)} of shape {targets[0].shape}; got shapes {came}")


def _is_elementwise(text: Text) -> bool:
    """Whether it is made of ufuncs alone, and returns no argument in the place of another."""
    moved = any(ref.number < text.arguments and ref.number != place for place, ref in enumerate(text.results))
    simple = all(
        isinstance(call.function, np.ufunc)
        and call.function.signature is None
        and not call.options
        and not any(isinstance(arg, list) for arg in call.args)
        for call in text.calls
    )
    return simple and not moved


class _Cells:
    """Which array holds which value for how long: the targets a0, a1, ..., and scratch s0, s1, ..."""

    def __init__(self, text: Text) -> None:
        uses = ((arg.number, step) for step, call in enumerate(text.calls) for arg in call.args if isinstance(arg, Ref))
        end = len(text.calls)
        self.last_use = {**dict(uses), **{ref.number: end for ref in text.results}}
        self.home = {ref.number: f"a{place}" for place, ref in enumerate(text.results)}
        self.needed_at = {f"a{place}": ref.number - text.arguments for place, ref in enumerate(text.results)}
        self.free_from = {f"a{place}": self.last_use.get(place, -1) for place in range(len(text.results))}
        self.scratch: list[str] = []

    def place(self, step: int, number: int) -> str:
        """Where the value made at `step` goes.

        A result goes to the target it replaces, once nobody reads the old value any more; else to a target or to
        scratch that is free for as long as the value is needed.
        """
        end = self.last_use.get(number, step)
        choices = [self.home[number]] if number in self.home else []
        choices += [cell for cell in self.free_from if end <= self.needed_at.get(cell, end)]
        cell = next((cell for cell in choices if self.free_from[cell] <= step), None)
        if cell is None:
            cell = f"s{len(self.scratch)}"
            self.scratch.append(cell)
        self.free_from[cell] = end
        return cell


def _planned(text: Text, target: NDArray[Any]) -> tuple[str, dict[str, Any], int]:
    """The source of a function that overwrites its first arguments, the constants it names, and how much scratch."""
    cells = _Cells(text)
    where = {number: f"a{number}" for number in range(text.arguments)}
    constants: dict[str, Any] = {"copyto": np.copyto}
    lines = []
    for step, call in enumerate(text.calls):
        number = text.arguments + step
        said = []
        for position, arg in enumerate(call.args):
            if not isinstance(arg, Ref):
                constants[f"c{step}_{position}"] = arg
            said.append(where[arg.number] if isinstance(arg, Ref) else f"c{step}_{position}")
        constants[f"f{step}"] = call.function
        fits = call.sample.shape == target.shape and call.sample.dtype == target.dtype
        where[number] = cells.place(step, number) if fits else f"t{step}"
        if fits:
            said.append(f"out={where[number]}" if call.function in KEYWORD else where[number])
        lines.append(f"{where[number]} = f{step}({', '.join(said)})")
    for place, ref in enumerate(text.results):
        if where[ref.number] != f"a{place}":
            lines.append(f"copyto(a{place}, {where[ref.number]}, casting='same_kind')")
    arguments = [f"a{number}" for number in range(text.arguments)] + [f"{cell}={cell}" for cell in cells.scratch]
    header = f"def program({', '.join(arguments)}):"
    return "\n    ".join([header, *lines, "return"]), constants, len(cells.scratch)
