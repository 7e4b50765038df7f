"""The BLAS that NumPy multiplies with: found in NumPy's own libraries, tried on one small product, called from C."""

from __future__ import annotations

import ctypes
import functools
import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_bn.capturing.native.building import compiled

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
_SET_THREADS = ("scipy_openblas_set_num_threads64_", "openblas_set_num_threads64_", "openblas_set_num_threads")
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
        set_threads: the address of `void (int)`, which holds for the whole process, or 0.
    """

    name: str
    version: str
    bits: int
    sgemm: int
    dgemm: int
    sgemv: int
    dgemv: int
    get_threads: int = 0
    set_threads: int = 0

    @property
    def threads(self) -> int:
        """How many threads it uses at most; 0 if it does not say."""
        return int(ctypes.CFUNCTYPE(ctypes.c_int)(self.get_threads)()) if self.get_threads else 0

    @contextmanager
    def limited(self, threads: int) -> Iterator[None]:
        """Within the block it uses so many threads, in the whole process, if it can be told."""
        before = self.threads
        if not (before and self.set_threads):
            yield
            return
        change = ctypes.CFUNCTYPE(None, ctypes.c_int)(self.set_threads)
        change(threads)
        try:
            yield
        finally:
            change(before)


@functools.cache
def found() -> Blas | None:
    """The BLAS that NumPy multiplies with, or None if it hides its own or that fails a small product."""
    for library in _libraries():
        for pattern, bits in _NAMES:
            functions = [_address(library, (pattern.format(name),)) for name in ("sgemm", "dgemm", "sgemv", "dgemv")]
            if all(functions):
                functions += [_address(library, _GET_THREADS), _address(library, _SET_THREADS)]
                name, version = _identity(library)
                blas = Blas(name, version, bits, *functions)
                return blas if _multiplies(blas) else None
    return None


def install(library: ctypes.CDLL, blas: Blas | None, *, threads: int = 1) -> None:
    """A compiled library, whose source includes runtime.h, multiplies with `blas` from now on; None: by a loop.

    With more than one of the `threads`, its large products and its `parallel_for` share them; `blas` should then be
    `limited` to one of its own while the library runs, or both kinds fight for the cores.

    Raises:
        NativeError: the threads cannot be compiled.
    """
    functions = (0,) * 7
    if blas is not None:
        addresses = (blas.sgemm, blas.dgemm, blas.sgemv, blas.dgemv, blas.get_threads, blas.set_threads)
        functions = (blas.bits, *addresses)
    library.set_host((ctypes.c_int64 * 8)(*functions, _sharing(threads) if threads > 1 else 0))


def _sharing(threads: int) -> int:
    """The address of what shares loops among so many threads; 0 where there are none."""
    pool = compiled('#include "pool.h"\n')
    return _address(pool, ("share",)) if pool.start(threads) > 1 else 0


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
    for dtype, real, gemm, gemv in (
        (np.float32, ctypes.c_float, blas.sgemm, blas.sgemv),
        (np.float64, ctypes.c_double, blas.dgemm, blas.dgemv),
    ):
        a, b = np.arange(15, dtype=dtype).reshape(5, 3), np.arange(20, dtype=dtype).reshape(4, 5)
        c, y = np.ones((3, 4), dtype), np.ones(3, dtype)
        product, vector = 2 * a.T.dot(b.T) + 3 * c, 2 * a.T.dot(b[1]) + 3 * y
        flag, size, array = ctypes.c_int, integer, ctypes.c_void_p
        multiply = ctypes.CFUNCTYPE(
            None, flag, flag, flag, size, size, size, real, array, size, array, size, real, array, size
        )(gemm)
        multiply(_ROWS, _TURNED, _TURNED, 3, 4, 5, 2.0, a.ctypes.data, 3, b.ctypes.data, 5, 3.0, c.ctypes.data, 4)
        apply = ctypes.CFUNCTYPE(None, flag, flag, size, size, real, array, size, array, size, real, array, size)(gemv)
        apply(_ROWS, _TURNED, 5, 3, 2.0, a.ctypes.data, 3, b[1].ctypes.data, 1, 3.0, y.ctypes.data, 1)
        if not (np.array_equal(c, product) and np.array_equal(y, vector)):
            return False
    return True
