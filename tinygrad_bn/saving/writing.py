"""Things as JSON: plain values as they are, every other as an object of one key, which says what it is.

{"class": "layers.Dense", "settings": {...}}   one of ours      {"custom": "Mine", "settings": {...}}  a user's
{"name": "relu"}       our function or class                    {"custom": "mine"}    a user's
{"again": 3}           the third thing made, once more          {"array": "folder/0"}  stands in the file by itself
{"tuple": [...]}  {"dict": {...}}  {"float": "inf"}  {"dtype": "float32"}  {"generator": {...}}
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import isbuiltin, isfunction
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_bn.primitives import Primitive
from tinygrad_bn.saving.known import Known
from tinygrad_bn.saving.making import UnsavableError, arguments
from tinygrad_bn.tensors import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Writer:
    """Writes things down.

    Args:
        known: the names of ours.
        folder: under which arrays are put.

    Attributes:
        arrays: those met so far.
    """

    def __init__(self, known: Known, folder: str) -> None:
        self.known, self.folder = known, folder
        self.arrays: dict[str, NDArray[Any]] = {}
        self._numbers: dict[int, int] = {}
        self._met: list[Any] = []  # keeps what has a number alive, and so its identity
        self._customs: dict[str, Any] = {}

    def write(self, thing: Any) -> Any:
        """The JSON of a thing.

        Raises:
            UnsavableError: it has none; the message says why.
        """
        if thing is None or isinstance(thing, (bool, str)):
            return thing
        for kind, written in _PLAIN:
            if isinstance(thing, kind):
                return written(self, thing)
        if self.known.name(thing) is not None:
            return {"name": self.known.name(thing)}
        if isinstance(thing, type) or isfunction(thing) or isbuiltin(thing) or isinstance(thing, Primitive):
            return {"custom": self._custom(thing)}
        return self._made(thing)

    def _made(self, thing: Any) -> dict[str, Any]:
        """A thing that has been made with arguments: each once, so that what was shared is shared again."""
        if id(thing) in self._numbers:
            return {"again": self._numbers[id(thing)]}
        self._numbers[id(thing)] = len(self._met)
        self._met.append(thing)
        kind = type(thing)
        ours = self.known.name(kind)
        settings = {name: self.write(value) for name, value in arguments(thing).items()}
        return {"custom" if ours is None else "class": ours or self._custom(kind), "settings": settings}

    def _custom(self, thing: Any) -> str:
        """The name of what is the user's own, under which its reader hands it in."""
        name: str = getattr(thing, "__name__", "")
        if not name.isidentifier():
            raise UnsavableError(f"{thing!r} has no name to be found by: define it with def")
        if self._customs.setdefault(name, thing) is not thing:
            raise UnsavableError(f"there are two different {name}, and a file holds names alone: rename one")
        return name

    def _generator(self, rng: np.random.Generator) -> dict[str, Any]:
        if id(rng) in self._numbers:
            return {"again": self._numbers[id(rng)]}
        self._numbers[id(rng)] = len(self._met)
        self._met.append(rng)
        return {"generator": self.write(rng.bit_generator.state)}

    def _array(self, array: NDArray[Any]) -> dict[str, Any]:
        if array.dtype.hasobject:
            raise UnsavableError("an array of Python objects is never saved")
        name = f"{self.folder}/{len(self.arrays)}"
        self.arrays[name] = array.copy()
        return {"array": name}

    def _dict(self, thing: dict[Any, Any]) -> dict[str, Any]:
        if not all(isinstance(key, str) for key in thing):
            raise UnsavableError("a dict is saved where all its keys are texts")
        return {"dict": {key: self.write(value) for key, value in thing.items()}}

    def _numpys(self, function: np.ufunc) -> Any:
        name = function.__name__
        ours = f"tg.{name}" if name in self.known.things else "a function of your own"
        raise UnsavableError(f"np.{name} is NumPy's, and a file names none of its functions: use {ours} instead")

    def _tensor(self, thing: Tensor) -> Any:
        raise UnsavableError(f"a {type(thing).__name__} is no setting; it is saved as an attribute of a module")


_PLAIN: list[tuple[Any, Callable[[Writer, Any], Any]]] = [
    ((int, np.integer), lambda _, thing: int(thing)),
    (np.bool, lambda _, thing: bool(thing)),
    ((float, np.floating), lambda _, n: float(n) if isfinite(n) else {"float": repr(float(n))}),
    (list, lambda writer, things: [writer.write(thing) for thing in things]),
    (tuple, lambda writer, things: {"tuple": [writer.write(thing) for thing in things]}),
    (dict, Writer._dict),
    (Tensor, Writer._tensor),
    (np.ufunc, Writer._numpys),
    (np.ndarray, Writer._array),
    (np.dtype, lambda _, dtype: {"dtype": dtype.str}),
    (np.random.Generator, Writer._generator),
]
