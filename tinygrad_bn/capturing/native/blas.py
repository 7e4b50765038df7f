"""The BLAS that NumPy multiplies with: found in NumPy's own libraries, tried on one small product, called from C."""

from __future__ import annotations

import ctypes
import functools
import importlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

# How builds call their C interface, and how many bits the integers of its arguments have.
_NAMES = (
    ("scipy_cblas_{}64_", 64),  # the OpenBLAS in NumPy's wheels
    ("cblas_{}64_", 64),
    ("cblas_{}_64", 64),  # MKL
    ("cblas_{}$NEWLAPACK$ILP64", 64),  # Accelerate
    ("cblas_{}$NEWLAPACK", 32),
    ("scipy_cblas_{}", 32),
    ("cblas_{}", 32),
)
_GET_THREADS = ("scipy_openblas_get_num_threads64_", "openblas_get_num_threads64_", "openblas_get_num_threads")
# OpenBLAS on POSIX threads of its own runs any function in all of them: int (int threads, void function(void *), void
# *data, int stride), where thread i is given data + i * stride. OpenMP's and other builds do not have it.
_RUN_IN_THREADS = ("gotoblas_pthread",)
_CONFIG = ("scipy_openblas_get_config64_", "openblas_get_config64_", "openblas_get_config")
_ROWS, _PLAIN, _TURNED = 101, 111, 112  # CBLAS: matrices lie row by row; one is read as it lies, or transposed


@dataclass(frozen=True, slots=True)
class Blas:
    """A BLAS in this process. Its functions are addresses, 0 where there is none.

    Attributes:
        name: for example "OpenBLAS".
        version: for example "0.3.31".
        bits: of the integers its functions take: 32 or 64.
        get_threads: the address of `int ()`, or 0.
        run_in_threads: the address of what runs a function in its threads, or 0; where it is, `get_threads` is too.
    """

    name: str
    version: str
    bits: int
    sgemm: int
    dgemm: int
    get_threads: int = 0
    run_in_threads: int = 0

    @property
    def threads(self) -> int:
        """How many threads it uses at most; 0 if it does not say."""
        return int(ctypes.CFUNCTYPE(ctypes.c_int)(self.get_threads)()) if self.get_threads else 0


@functools.cache
def found() -> Blas | None:
    """The BLAS that NumPy multiplies with, or None if it hides its own or that fails a small product."""
    for library in _libraries():
        for pattern, bits in _NAMES:
            sgemm, dgemm = (_address(library, (pattern.format(name),)) for name in ("sgemm", "dgemm"))
            if sgemm and dgemm:
                count = _address(library, _GET_THREADS)
                name, version = _identity(library)
                blas = Blas(name, version, bits, sgemm, dgemm, count, count and _address(library, _RUN_IN_THREADS))
                return blas if _multiplies(blas) else None
    return None


def install(library: ctypes.CDLL, blas: Blas | None) -> None:
    """A compiled library, whose source includes runtime.h, multiplies with `blas` and in its threads from now on.

    None: by loops of its own, in one thread.
    """
    addresses = (0,) * 5
    if blas is not None:
        addresses = (blas.bits, blas.sgemm, blas.dgemm, blas.get_threads, blas.run_in_threads)
    library.set_host((ctypes.c_int64 * 5)(*addresses))


def _libraries() -> Iterator[ctypes.CDLL]:
    """Where NumPy's BLAS may be found. All are loaded already: a second BLAS would fight the first for the cores."""
    place = importlib.import_module("numpy._core._multiarray_umath").__file__
    if sys.platform == "win32":
        modules = ctypes.WinDLL("kernel32")
        modules.GetModuleHandleW.restype = ctypes.c_void_p
        for path in Path(np.__file__).parent.parent.joinpath("numpy.libs").glob("*.dll"):
            handle = modules.GetModuleHandleW(path.name)
            if handle:
                yield ctypes.CDLL(str(path), handle=handle)
    elif place:  # a symbol is looked up in the library and in all that it was linked against
        try:
            yield ctypes.CDLL(place, mode=os.RTLD_NOLOAD | os.RTLD_LAZY)
        except OSError:
            return


def _address(library: ctypes.CDLL, names: tuple[str, ...]) -> int:
    """Where the first function lies that the library has; 0 if it has none."""
    for name in names:
        with_name = getattr(library, name, None)
        if with_name is not None:
            return ctypes.cast(with_name, ctypes.c_void_p).value or 0
    return 0


def _identity(library: ctypes.CDLL) -> tuple[str, str]:
    """Name and version, as the library says or else as NumPy was built."""
    config = _address(library, _CONFIG)
    if config:
        words = (ctypes.CFUNCTYPE(ctypes.c_char_p)(config)() or b"").decode(errors="replace").split()
        if len(words) > 1:
            return words[0], words[1]
    built: dict[str, Any] = np.show_config(mode="dicts") or {}  # type: ignore[assignment]
    known = built.get("Build Dependencies", {}).get("blas", {})
    return str(known.get("name", "BLAS")), str(known.get("version", "unknown"))


def _multiplies(blas: Blas) -> bool:
    """Whether products of small whole numbers, each matrix once as it lies and once transposed, come out exactly."""
    integer = ctypes.c_int64 if blas.bits == 64 else ctypes.c_int
    for dtype, real, gemm in ((np.float32, ctypes.c_float, blas.sgemm), (np.float64, ctypes.c_double, blas.dgemm)):
        a, b = np.arange(15, dtype=dtype).reshape(5, 3), np.arange(20, dtype=dtype).reshape(4, 5)
        c = np.ones((3, 4), dtype)
        product = 2 * a.T.dot(b.T) + 3 * c
        flag, size, array = ctypes.c_int, integer, ctypes.c_void_p
        multiply = ctypes.CFUNCTYPE(
            None, flag, flag, flag, size, size, size, real, array, size, array, size, real, array, size
        )(gemm)
        multiply(_ROWS, _TURNED, _TURNED, 3, 4, 5, 2.0, a.ctypes.data, 3, b.ctypes.data, 5, 3.0, c.ctypes.data, 4)
        if not np.array_equal(c, product):
            return False
    return True
