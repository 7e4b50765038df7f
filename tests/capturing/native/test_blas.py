import ctypes
import itertools
import os
import threading
from contextlib import suppress

import numpy as np
import pytest

from tinygrad_bn.capturing.native import blas as blas_file
from tinygrad_bn.capturing.native.blas import Blas, found, install
from tinygrad_bn.capturing.native.building import compiled
from tinygrad_bn.errors import NativeError

SOURCE = """#include "runtime.h"

#define PRODUCTS(type) \\
    EXPORT void multiply_##type(int ta, int tb, long m, long n, long k, type alpha, const type *a, long lda, \\
                                const type *b, long ldb, type beta, type *c, long ldc) { \\
        gemm_##type(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc); \\
    } \\
    EXPORT void apply_##type(int turned, long m, long n, type alpha, const type *a, long lda, const type *x, \\
                             type beta, type *y) { \\
        gemv_##type(turned, m, n, alpha, a, lda, x, beta, y); \\
    }

PRODUCTS(float)
PRODUCTS(double)

static void count(void *data, long first, long last) {
    for (long i = first; i < last; i++) ((long *)data)[i]++;
}
static void count_eights(void *data, long first, long last) {
    for (long i = first; i < last; i++) parallel_for(8, 1, count, (long *)data + 8 * i);
}
EXPORT void count_all(long length, long grain, long *data) { parallel_for(length, grain, count, data); }
EXPORT void count_nested(long length, long *data) { parallel_for(length, 1, count_eights, data); }
EXPORT int limit(int count) { return blas_threads(count); }
"""
TYPES = {np.float32: ("float", ctypes.c_float), np.float64: ("double", ctypes.c_double)}
SHAPES = [(1, 1, 1), (3, 2, 0), (8, 16, 4), (9, 17, 5), (33, 10, 300), (32, 100, 100), (7, 65, 513), (80, 70, 60)]
INTS = ctypes.c_long


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINYGRAD_BN_CACHE", str(tmp_path_factory.mktemp("cache")))
        try:
            yield compiled(SOURCE)
        except NativeError:
            pytest.skip("there is no C compiler")


@pytest.fixture(params=["portable", "NumPy's"])
def products(library, request):
    """The library, multiplying by its own loops or by NumPy's BLAS, in one thread."""
    blas = None if request.param == "portable" else found()
    if blas is None and request.param != "portable":
        pytest.skip("NumPy hides its BLAS")
    install(library, blas)
    return library


def matrices(dtype, *shapes):
    """Arrays within larger ones: the rows do not touch."""
    generator = np.random.default_rng(0)
    return [generator.standard_normal((rows, columns + 3)).astype(dtype)[:, :columns] for rows, columns in shapes]


def pointer(array):
    return ctypes.c_void_p(array.ctypes.data)


def row(array):
    return INTS(array.strides[0] // array.itemsize)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("m", "n", "k"), SHAPES)
def test_a_product_is_that_of_numpy_and_stays_within_its_columns(products, dtype, m, n, k):
    name, real = TYPES[dtype]
    for turned_a, turned_b, beta in itertools.product((0, 1), (0, 1), (0.0, 0.9)):
        a, b, c = matrices(dtype, (k, m) if turned_a else (m, k), (n, k) if turned_b else (k, n), (m, n))
        if not beta:
            c[...] = np.nan
        around = c.base.copy()
        wanted = 0.5 * ((a.T if turned_a else a) @ (b.T if turned_b else b)) + (beta * c if beta else 0)
        sizes = map(INTS, (m, n, k))
        getattr(products, f"multiply_{name}")(
            turned_a,
            turned_b,
            *sizes,
            real(0.5),
            pointer(a),
            row(a),
            pointer(b),
            row(b),
            real(beta),
            pointer(c),
            row(c),
        )
        np.testing.assert_allclose(c, wanted, rtol=0, atol=4 * np.finfo(dtype).eps * max(k, 1))
        np.testing.assert_array_equal(c.base[:, n:], around[:, n:])


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("m", "n"), [(1, 1), (5, 7), (300, 200)])
def test_a_matrix_is_applied_to_a_vector_as_numpy_does(products, dtype, m, n):
    name, real = TYPES[dtype]
    for turned, beta in itertools.product((0, 1), (0.0, 0.9)):
        (a,) = matrices(dtype, (m, n))
        x, y = (np.linspace(-1, 1, size).astype(dtype) for size in ((m, n) if turned else (n, m)))
        wanted = 0.5 * (a.T if turned else a) @ x + beta * y
        if not beta:
            y[...] = np.nan
        getattr(products, f"apply_{name}")(
            turned, INTS(m), INTS(n), real(0.5), pointer(a), row(a), pointer(x), real(beta), pointer(y)
        )
        np.testing.assert_allclose(y, wanted, rtol=0, atol=4 * np.finfo(dtype).eps * max(m, n))


@pytest.mark.parametrize("dtype", TYPES)
def test_nan_and_infinity_are_passed_on(products, dtype):
    name, real = TYPES[dtype]
    a, b, c = matrices(dtype, (4, 3), (3, 5), (4, 5))
    a[0, 1], a[2, 2] = np.nan, np.inf
    with np.errstate(invalid="ignore"):
        wanted = a @ b
    sizes = map(INTS, (4, 5, 3))
    getattr(products, f"multiply_{name}")(
        0, 0, *sizes, real(1), pointer(a), row(a), pointer(b), row(b), real(0), pointer(c), row(c)
    )
    np.testing.assert_array_equal(np.isnan(c), np.isnan(wanted))
    np.testing.assert_array_equal(np.isinf(c), np.isinf(wanted))


def test_numpys_wheels_show_their_blas():
    blas = found()
    built = np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]
    if built != "scipy-openblas":
        pytest.skip("this NumPy was built with another BLAS")
    assert blas is not None and blas.name == "OpenBLAS" and blas.version[0].isdigit()
    assert blas.threads >= 1


def test_the_number_of_threads_is_put_back(library):
    blas = found()
    if blas is None or not blas.threads:
        pytest.skip("this BLAS takes no number of threads")
    before = blas.threads
    with suppress(KeyboardInterrupt), blas.limited(1):
        assert blas.threads == 1
        raise KeyboardInterrupt
    assert blas.threads == before
    install(library, blas)
    assert library.limit(1) == before
    assert library.limit(before) == 1
    assert blas.threads == before


def test_without_a_blas_the_number_of_threads_is_unknown(library):
    install(library, None)
    assert library.limit(1) == 0
    with Blas("silent", "1", 32, 0, 0, 0, 0).limited(1) as nothing:
        assert nothing is None


def test_a_blas_that_multiplies_wrongly_is_not_taken(monkeypatch):
    @ctypes.CFUNCTYPE(None)
    def idle():
        pass

    address = ctypes.cast(idle, ctypes.c_void_p).value
    monkeypatch.setattr(blas_file, "_address", lambda library, names: 0 if "threads" in names[0] else address)
    monkeypatch.setattr(blas_file, "_identity", lambda library: ("wrong", "1"))
    assert found.__wrapped__() is None


def test_a_numpy_that_hides_its_blas_is_understood(monkeypatch):
    monkeypatch.setattr(blas_file, "_address", lambda library, names: 0)
    assert found.__wrapped__() is None


@pytest.mark.parametrize("threads", [1, 3])
def test_a_shared_loop_makes_every_pass_once(library, threads):
    install(library, None, threads=threads)
    for length, grain in itertools.product((0, 1, 7, 1000), (1, 3, 5000)):
        passes = np.zeros(length, np.int64)
        for _ in range(50):
            library.count_all(INTS(length), INTS(grain), pointer(passes))
        assert (passes == 50).all()
    passes = np.zeros(800, np.int64)
    library.count_nested(INTS(100), pointer(passes))
    assert (passes == 1).all()


def test_callers_at_once_do_not_disturb_each_other(library):
    install(library, None, threads=3)
    counts = [np.zeros(1000, np.int64) for _ in range(3)]

    def call(passes):
        for _ in range(300):
            library.count_all(INTS(1000), INTS(10), pointer(passes))

    callers = [threading.Thread(target=call, args=(passes,)) for passes in counts]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert all((passes == 300).all() for passes in counts)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_shares_its_loops_with_nobody_and_ends_them(library):
    install(library, None, threads=3)
    child = os.fork()
    if not child:
        passes = np.zeros(1000, np.int64)
        library.count_all(INTS(1000), INTS(10), pointer(passes))
        os._exit(0 if (passes == 1).all() else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("turned", [0, 1])
def test_a_product_that_threads_share_is_that_of_numpy(library, turned):
    install(library, found(), threads=2)
    a, b, c = matrices(np.float32, (150, 250) if turned else (250, 150), (150, 130), (250, 130))
    sizes = map(INTS, (250, 130, 150))
    library.multiply_float(
        turned,
        0,
        *sizes,
        ctypes.c_float(1),
        pointer(a),
        row(a),
        pointer(b),
        row(b),
        ctypes.c_float(0),
        pointer(c),
        row(c),
    )
    np.testing.assert_allclose(c, (a.T if turned else a) @ b, rtol=0, atol=1e-4)
