"""Arrays by name in an .npz file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_bn.errors import SettingError
from tinygrad_bn.files import replacing

if TYPE_CHECKING:
    from numpy.typing import NDArray


def write_arrays(path: str | os.PathLike[str], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write an .npz file, as a whole or not at all; the same bytes for the same arrays."""
    import zipfile  # 5 ms of import that only those who save should pay

    with replacing(path) as part, zipfile.ZipFile(part, "w") as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)


def read_arrays(path: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file; nothing is ever unpickled.

    Raises:
        SettingError: it is not such a file, or is damaged.
    """
    import zipfile

    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (zipfile.BadZipFile, ValueError, TypeError, EOFError) as error:
        raise SettingError(f"load expects an .npz file that save wrote; got {os.fspath(path)!r}") from error
