"""MNIST and Fashion-MNIST, read from the four idx files that their authors publish."""

from __future__ import annotations

import os
import sys
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tinygrad_bn.names import checked

if TYPE_CHECKING:  # numpy.typing costs more to import than all of ours
    from numpy.typing import NDArray

    # Images of shape (n, rows, columns) and labels of shape (n,).
    Examples = tuple[NDArray[np.uint8], NDArray[np.int64]]

_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


@checked
def load_mnist(path: str | os.PathLike[str] | None = None) -> tuple[Examples, Examples]:
    """(x_train, y_train), (x_test, y_test): 60,000 + 10,000 handwritten digits of 28 x 28 pixels.

    x: uint8 of shape (n, 28, 28), 0 (background) to 255 (ink); y: int64 of shape (n,), 0 to 9.

    The four files `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
    `t10k-labels-idx1-ubyte`, gzipped (`.gz`) or plain, are read from the folder `path`; without it, from
    `$TINYGRAD_BN_DATA/mnist/` or the folder `tinygrad_bn/mnist/` of the user's cache, whichever comes first.

    Raises:
        FileNotFoundError: a file is missing; the message names the files, the folders and the source.
        ValueError: a file is broken, or images and labels do not belong together.

    Reference: LeCun, Bottou, Bengio & Haffner (1998).
    """
    return _load("mnist", "https://ossci-datasets.s3.amazonaws.com/mnist/", path)


@checked
def load_fashion_mnist(path: str | os.PathLike[str] | None = None) -> tuple[Examples, Examples]:
    """(x_train, y_train), (x_test, y_test): 60,000 + 10,000 pictures of clothes of 28 x 28 pixels.

    As `load_mnist`, from `path`, `$TINYGRAD_BN_DATA/fashion-mnist/` or the cache. The labels: 0 T-shirt,
    1 trouser, 2 pullover, 3 dress, 4 coat, 5 sandal, 6 shirt, 7 sneaker, 8 bag, 9 ankle boot.

    Raises:
        FileNotFoundError: a file is missing; the message names the files, the folders and the source.
        ValueError: a file is broken, or images and labels do not belong together.

    Reference: Xiao, Rasul & Vollgraf (2017).
    """
    return _load("fashion-mnist", "https://github.com/zalandoresearch/fashion-mnist", path)


def read_idx(path: Path, ndim: int) -> NDArray[np.uint8]:
    """The array in an idx file: bytes 0, 0, 8, ndim, then `ndim` big-endian lengths, then the unsigned bytes.

    Raises:
        ValueError: the file is no such file, or holds fewer or more bytes than its header promises.
    """
    content = _unpacked(path)
    magic, header = bytes((0, 0, 8, ndim)), 4 + 4 * ndim
    if content[:4] != magic:
        raise ValueError(
            f"{path} is not an idx file of unsigned bytes in {ndim} dimension{'s' * (ndim > 1)}: "
            f"expected it to begin with {magic.hex(' ')}, got {content[:4].hex(' ') or 'an empty file'}. "
            "Check that it is the file its name says, or fetch it again."
        )
    if len(content) < header:
        raise ValueError(f"{path} is truncated: its header takes {header} bytes, got {len(content)}. Fetch it again.")
    shape = tuple(np.frombuffer(content, ">u4", ndim, offset=4).tolist())
    promised, got = prod(shape), len(content) - header
    if got != promised:
        raise ValueError(
            f"{path} is {'truncated' if got < promised else 'too long'}: its header promises "
            f"{' x '.join(map(str, shape))} = {promised} bytes, got {got}. Fetch it again."
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy()  # a copy can be written to


def _load(name: str, source: str, path: str | os.PathLike[str] | None) -> tuple[Examples, Examples]:
    """Both parts from the first folder that holds all four files."""
    folders = _default_folders(name) if path is None else [Path(path).expanduser()]
    for folder in folders:
        found = [place for file in _FILES if (place := _find(folder, file))]
        if len(found) == len(_FILES):
            x_train, y_train, x_test, y_test = found
            return _examples(x_train, y_train), _examples(x_test, y_test)
    raise FileNotFoundError(
        f"{name} needs four files, gzipped (.gz) or plain: {', '.join(_FILES)}. Looked in:\n"
        + "".join(f"  {folder}: {_shortage(folder)}\n" for folder in folders)
        + "Put them there, or pass the folder that holds them as path=, or set TINYGRAD_BN_DATA "
        + f"to the folder that holds {name}/. They are published at {source}"
    )


def _default_folders(name: str) -> list[Path]:
    """Where the files may lie when nobody says: $TINYGRAD_BN_DATA, then the user's cache."""
    if sys.platform == "win32":
        cache = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        cache = "~/Library/Caches"
    else:
        cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    data = os.environ.get("TINYGRAD_BN_DATA")
    return [Path(root).expanduser() / name for root in (data, Path(cache) / "tinygrad_bn") if root]


def _find(folder: Path, file: str) -> Path | None:
    """The file in the folder, plain or gzipped, or None."""
    return next((place for place in (folder / file, folder / f"{file}.gz") if place.is_file()), None)


def _shortage(folder: Path) -> str:
    """What a folder lacks, in words."""
    if not folder.is_dir():
        return "a file, not the folder that holds them" if folder.exists() else "no such folder"
    missing = [file for file in _FILES if not _find(folder, file)]
    return "none of them" if len(missing) == len(_FILES) else f"no {', no '.join(missing)}"


def _examples(images: Path, labels: Path) -> Examples:
    """The images and labels of one part, checked against each other."""
    x, y = read_idx(images, 3), read_idx(labels, 1)
    if len(x) != len(y):
        raise ValueError(
            f"{images} holds {len(x)} images, but {labels} holds {len(y)} labels. "
            "Both must come from the same part of the same data set."
        )
    return x, y.astype(np.int64)


def _unpacked(path: Path) -> bytes:
    """The bytes of a file, unzipped if they are gzipped."""
    content = path.read_bytes()
    if content[:2] != b"\x1f\x8b":  # not gzipped, whatever its name says: browsers unzip and keep the name
        return content

    import gzip
    import zlib

    try:
        return gzip.decompress(content)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is a broken gzip file ({error}). Fetch it again.") from error
