import ctypes
import itertools

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
    }

PRODUCTS(float)
PRODUCTS(double)

static void count(void *const *arrays, long first, long last) {
    for (long i = first; i < last; i++) ((long *)arrays[0])[i]++;
}
EXPORT void count_all(long length, long grain, long *data) { share(count, length, grain, (void *[]){data}); }

/* As the BLAS, but one thread after the other; how many there are, and how many there were. */
static int threads, ran;
EXPORT int *get_ran(void) { return &ran; }
EXPORT void set_threads(int count) { threads = count; }
EXPORT int get_threads(void) { return threads; }
EXPORT int run_in_threads(int count, void (*function)(void *), char *data, int stride) {
    for (ran = 0; ran < count; ran++) function(data + ran * stride);
    return 0;
}
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


@pytest.fixture
def in_turn(library):
    """The library, with threads of its own that are no threads."""
    functions = (
        ctypes.cast(getattr(library, name), ctypes.c_void_p).value for name in ("get_threads", "run_in_threads")
    )
    install(library, Blas("in turn", "1", 32, 0, 0, *functions))
    library.get_ran.restype = ctypes.POINTER(ctypes.c_int)
    return library


@pytest.mark.parametrize("threads", [1, 2, 3, 50])
def test_a_shared_loop_makes_every_pass_once(in_turn, threads):
    in_turn.set_threads(threads)
    for length, grain in itertools.product((0, 1, 7, 1000), (1, 3, 5000)):
        passes = np.zeros(length + 1, np.int64)
        in_turn.count_all(INTS(length), INTS(grain), pointer(passes))
        assert passes.tolist() == [1] * length + [0]


@pytest.mark.parametrize(("threads", "length", "grain", "used"), [(1, 999, 1, 0), (4, 999, 10, 4), (4, 29, 10, 2)])
def test_a_loop_is_shared_by_no_more_threads_than_there_are_or_than_pay(in_turn, threads, length, grain, used):
    in_turn.set_threads(threads)
    in_turn.get_ran()[0] = 0
    passes = np.zeros(length, np.int64)
    in_turn.count_all(INTS(length), INTS(grain), pointer(passes))
    assert in_turn.get_ran()[0] == used


def test_without_a_blas_a_loop_is_its_callers(library):
    install(library, None)
    passes = np.zeros(1000, np.int64)
    library.count_all(INTS(1000), INTS(1), pointer(passes))
    assert (passes == 1).all()


def test_numpys_wheels_lend_their_threads(library):
    blas = found()
    if blas is None or not blas.run_in_threads:
        pytest.skip("this BLAS does not lend its threads")
    install(library, blas)
    passes = np.zeros(1000, np.int64)
    for _ in range(100):
        library.count_all(INTS(1000), INTS(1), pointer(passes))
    assert (passes == 100).all()
