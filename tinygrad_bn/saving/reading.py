"""Things made again from their JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_bn import names
from tinygrad_bn.errors import SettingError
from tinygrad_bn.saving.generators import as_it_stands
from tinygrad_bn.saving.known import Known
from tinygrad_bn.saving.making import made

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Reader:
    """Makes things from JSON that a `Writer` wrote: only those that are known, or handed in, are ever called.

    Args:
        known: our own things by name.
        custom_objects: the user's classes and functions by name.
        arrays: those of the file.
    """

    def __init__(self, known: Known, custom_objects: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        self.known, self.custom_objects, self.arrays = known, custom_objects, arrays
        self._made: list[Any] = []

    def read(self, written: Any) -> Any:
        """The thing that was written.

        Raises:
            SettingError: what it is made of is not known, or does not go together.
        """
        if isinstance(written, list):
            return [self.read(part) for part in written]
        if not isinstance(written, dict):
            return written
        tag = next(iter(written), "")
        if "settings" in written and tag in ("class", "custom"):
            return self._again(tag, written)
        return names.chosen("entry", tag, _TAGS, "the file")(self, written[tag])

    def expect_custom(self, written: Any) -> None:
        """Raise unless all that is the user's own has been handed in; the message lists what is missing, once."""
        wanted = sorted({*_customs(written)} - self.custom_objects.keys())
        if wanted:
            handed = ", ".join(f'"{name}": {name}' for name in wanted)
            raise SettingError(
                f"load expects {', '.join(wanted)} to be handed in, since the file holds the names alone: "
                f"tg.models.load(path, custom_objects={{{handed}}})"
            )

    def _again(self, tag: str, written: dict[str, Any]) -> Any:
        place = len(self._made)
        self._made.append(None)
        kind = self._custom(written[tag]) if tag == "custom" else self._ours(written[tag])
        settings = {name: self.read(value) for name, value in written["settings"].items()}
        if not isinstance(kind, type):
            raise SettingError(f"load expects {written[tag]} to be a class; got {kind!r:.60}")
        try:
            self._made[place] = made(kind, settings)
        except (TypeError, ValueError, KeyError) as error:
            raise SettingError(f"load cannot make {written[tag]} with the settings that were saved: {error}") from error
        return self._made[place]

    def _ours(self, name: str) -> Any:
        return names.chosen("name", name, self.known.things, "the file")

    def _custom(self, name: str) -> Any:
        return names.chosen("name", name, self.custom_objects, "custom_objects")

    def _same(self, place: int) -> Any:
        return self._made[place]

    def _generator(self, state: Any) -> np.random.Generator:
        rng = as_it_stands(self.read(state))
        self._made.append(rng)
        return rng

    def _array(self, name: str) -> NDArray[Any]:
        return names.chosen("array", name, self.arrays, "the file")


def _customs(written: Any) -> Iterator[str]:
    if isinstance(written, dict):
        if isinstance(written.get("custom"), str):
            yield written["custom"]
        written = list(written.values())
    if isinstance(written, list):
        for part in written:
            yield from _customs(part)


_TAGS: dict[str, Callable[[Reader, Any], Any]] = {
    "name": Reader._ours,
    "custom": Reader._custom,
    "again": Reader._same,
    "array": Reader._array,
    "tuple": lambda reader, parts: tuple(map(reader.read, parts)),
    "dict": lambda reader, parts: {key: reader.read(part) for key, part in parts.items()},
    "float": lambda _, text: float(text),
    "dtype": lambda _, text: np.dtype(text),
    "generator": Reader._generator,
}
