"""Arrays by name in one file, .npz or .safetensors, with a JSON text about them. Nothing is ever unpickled."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import numpy as np

from tinygrad_bn.errors import SettingError
from tinygrad_bn.files import replacing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Arrays = dict[str, NDArray[Any]]
    About = dict[str, Any]

FORMAT: Final = 1
"""Files of a higher number hold what this version does not know."""
_ABOUT: Final = "tinygrad_bn"  # how the text is called within the file
_SAFETENSORS: Final = ".safetensors"


def write_arrays(
    path: str | os.PathLike[str], arrays: Mapping[str, NDArray[Any]], about: Mapping[str, Any] | None = None
) -> None:
    """Write a .safetensors file if `path` ends so, else an .npz file, as a whole or not at all.

    The same arrays give the same bytes.

    Raises:
        ModuleNotFoundError: safetensors is not installed.
    """
    text = json.dumps({"format": FORMAT, **(about or {})}, allow_nan=False)
    with replacing(path, durable=True) as part:
        write = _write_safetensors if part.suffix == _SAFETENSORS else _write_npz
        write(part, arrays, text)


def read_arrays(path: str | os.PathLike[str]) -> tuple[Arrays, About]:
    """The arrays of a file, and what it says about them: {} if it is not one of ours.

    Raises:
        FileNotFoundError: there is none.
        SettingError: it is neither .npz nor .safetensors; or damaged; or of a newer version.
        ModuleNotFoundError: safetensors is not installed.
        TypeError: `path` is none.
    """
    if not isinstance(path, (str, os.PathLike)):  # a number would be taken for an open file
        raise TypeError(f"load expects the path of a file; got {path!r:.60}")
    with open(path, "rb") as file:
        start = file.read(9)
    is_safetensors = start[8:] == b"{" or (Path(path).suffix == _SAFETENSORS and not start.startswith(b"PK"))
    arrays, text = (_read_safetensors if is_safetensors else _read_npz)(path)
    try:
        about = {} if text is None else json.loads(text)
        number = about["format"] if about else FORMAT
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        _refuse(path, ".safetensors" if is_safetensors else ".npz", error)
    if not isinstance(number, int) or number > FORMAT:
        raise SettingError(
            f"load expects a file of format {FORMAT} at most; {os.fspath(path)!r} has format {number!r}: "
            "a newer tinygrad_bn wrote it, and can read it"
        )
    return arrays, about


def values(arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    """The values of variables among the arrays of a file: what else it holds is called folder/name."""
    return {name: array for name, array in arrays.items() if "/" not in name.partition(".")[0]}


def _refuse(path: str | os.PathLike[str], form: str, error: Exception) -> NoReturn:
    article = "an" if form == ".npz" else "a"
    raise SettingError(
        f"load expects {article} {form} file that save wrote; got {os.fspath(path)!r}, which is damaged or of another "
        f"kind: {error}"
    ) from error


def _write_npz(part: Path, arrays: Mapping[str, NDArray[Any]], text: str) -> None:
    import zipfile  # 5 ms of import that only those who save should pay

    with zipfile.ZipFile(part, "w") as archive:
        archive.writestr(zipfile.ZipInfo(f"{_ABOUT}.json"), text)
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)


def _read_npz(path: str | os.PathLike[str]) -> tuple[Arrays, str | None]:
    import zipfile
    import zlib

    try:
        with zipfile.ZipFile(path) as archive:
            entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}  # checks their sums
        text = entries.pop(f"{_ABOUT}.json", None)
        arrays = {name.removesuffix(".npy"): _array(name, data) for name, data in entries.items()}
        return arrays, None if text is None else text.decode()
    except (zipfile.BadZipFile, zlib.error, ValueError, TypeError, EOFError, RuntimeError, OSError) as error:
        _refuse(path, ".npz", error)


_HEADERS: Final = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def _array(name: str, data: bytes) -> NDArray[Any]:
    """The array of an .npy file.

    Raises:
        ValueError, TypeError: it is none; or not made of numbers; or its header speaks of another length.
    """
    file = BytesIO(data)
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"{name} has version {version}")
    shape, by_columns, dtype = _HEADERS[version](file)
    size = math.prod(shape)
    if dtype.hasobject or min(shape, default=0) < 0 or len(data) - file.tell() != size * dtype.itemsize:
        raise ValueError(f"{name} does not hold {shape} numbers of {dtype}")
    flat = np.frombuffer(data, dtype, size, file.tell())
    return flat.reshape(shape, order="F" if by_columns else "C").copy()


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "files that end in .safetensors need safetensors: pip install 'tinygrad_bn[safetensors]'", name=error.name
        ) from error
    return safetensors


def _write_safetensors(part: Path, arrays: Mapping[str, NDArray[Any]], text: str) -> None:
    in_rows = {name: array.copy(order="C") for name, array in arrays.items()}
    metadata = {_ABOUT: f"{_sum(in_rows, text)} {text}"}  # in one entry: several have no fixed order
    part.write_bytes(_safetensors().numpy.save(in_rows, metadata=metadata))


def _sum(arrays: Mapping[str, NDArray[Any]], text: str) -> str:
    """A number that is another one where anything is: .npz files hold such sums already."""
    from zlib import crc32

    total = crc32(text.encode())
    for name in sorted(arrays):
        total = crc32(arrays[name].tobytes(), crc32(f"{name}{arrays[name].shape}{arrays[name].dtype}".encode(), total))
    return f"{total:08x}"


def _read_safetensors(path: str | os.PathLike[str]) -> tuple[Arrays, str | None]:
    library = _safetensors()
    try:
        with library.safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 it is no mapping
            metadata = file.metadata() or {}
        if _ABOUT not in metadata:
            return arrays, None
        checksum, _, text = metadata[_ABOUT].partition(" ")
        if checksum != _sum(arrays, text):
            raise ValueError("its checksum is wrong")
        return arrays, text
    except (library.SafetensorError, ValueError, TypeError, AttributeError) as error:
        _refuse(path, _SAFETENSORS, error)
