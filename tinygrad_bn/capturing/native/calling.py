"""Calling: how a compiled program gets at the memory of arrays and variables."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_bn.capturing.flow import Value
from tinygrad_bn.memory import address
from tinygrad_bn.variables import Variable

if TYPE_CHECKING:
    from numpy.typing import NDArray

Given = Sequence[tuple[int, int]]
"""For each array that a call brings: its bytes, and which of the given pointers it is."""


class _Call(ctypes.Structure):
    _fields_ = (
        ("given", ctypes.c_void_p),
        ("kind", ctypes.c_void_p),
        ("head", ctypes.c_int64),
        ("written_count", ctypes.c_int64),
        ("written", ctypes.c_void_p),
    )


def entry(brought: Given) -> str:
    """The C text of `run`, to be put behind that of a program: finds the arrays that a call brings, and computes."""
    taken = "".join(f", const char *x{number}" for number in range(len(brought)))
    found = [f"found(call, x{number}, {nbytes}, {place})" for number, (nbytes, place) in enumerate(brought)]
    lines = [f"    if (!({' && '.join(found)})) return 0;"] if found else []
    lines += ["    compute(call->given);", "    return 1;"]
    return "\n".join(
        ['\n#include "calling.h"\n', f"EXPORT int run(const struct call *call{taken}) {{", *lines, "}", ""]
    )


class Calling:
    """The functions of a program, and the pointers that it works with.

    Attributes:
        run: takes `call` and the arrays that a call brings, and computes; or gives 0 where it cannot read one of them.
        call: what `run` takes first.
        table: what `commit` takes.
        moves: `Variable.moves` when the variables were looked for.

    Args:
        library: the program, with its entry.
        places: which of the given pointers is whose.
        brought: the arrays that a call brings.
        block: the memory of results, the pointer before all others.
    """

    def __init__(self, library: ctypes.CDLL, places: Mapping[Value, int], brought: Given, block: NDArray[Any]) -> None:
        self._library, self._brought = library, brought
        self._given = (ctypes.c_uint64 * (1 + len(places)))(address(block))
        origins = [(place, value.origin) for value, place in places.items()]
        self._variables = [(place, origin) for place, origin in origins if isinstance(origin, Variable)]
        self._lasting: list[Any] = [block]
        self._call = _Call(ctypes.addressof(self._given), id(np.ndarray), object.__basicsize__, 0, None)
        self.call = ctypes.c_void_p(ctypes.addressof(self._call))
        self.table = ctypes.c_void_p(self._call.given)
        run = library.run
        run.argtypes = (ctypes.c_void_p, *[ctypes.py_object] * len(brought))
        self.run: Callable[..., int] = run if self._finds_arrays() else lambda *_: 0
        self.find_variables()

    def give(self, place: int, array: NDArray[Any]) -> None:
        """Let the pointer of this number show an array, from now on."""
        self._lasting.append(array)
        self._given[place] = address(array)

    def find_variables(self) -> None:
        """Let the pointers show the variables where they are now."""
        moves = Variable.moves
        for place, variable in self._variables:
            self._given[place] = address(variable.value)
        stretches = _joined((start := address(v.value), start + v.value.nbytes) for _, v in self._variables)
        self._written = (ctypes.c_uint64 * (2 * len(stretches)))(*[end for stretch in stretches for end in stretch])
        self._call.written, self._call.written_count = ctypes.addressof(self._written), len(stretches)
        self.moves = moves  # last: an interrupted search has found nothing

    def commit(self) -> Callable[[ctypes.c_void_p], None]:
        """What carries out the updates that `run` has left, in a program that has such."""
        commit = self._library.commit
        commit.restype, commit.argtypes = None, (ctypes.c_void_p,)
        function: Callable[[ctypes.c_void_p], None] = commit
        return function

    def run_with_copies(self, *arrays: NDArray[Any]) -> None:
        """As `run`, for arrays of any layout, wherever they lie."""
        copies = [array.copy() for array in arrays]  # in C order, and none of them among the variables
        for copy, (_, place) in zip(copies, self._brought, strict=True):
            self._given[place] = address(copy)
        self._library.compute(self.table)

    def _finds_arrays(self) -> bool:
        """Whether arrays are laid out as C expects, which no build of Python and NumPy is known to break."""
        head, pointer = object.__basicsize__, ctypes.c_void_p
        probe = np.empty(8)
        kind = pointer.from_address(id(probe) + head - ctypes.sizeof(pointer)).value
        return kind == id(np.ndarray) and pointer.from_address(id(probe) + head).value == address(probe)


def _joined(stretches: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Stretches of memory in order, those that touch as one."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(stretches):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return joined
