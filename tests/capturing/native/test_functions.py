"""The C functions a compiled program calls: at most 2 ulp from exact, NumPy's special values, and SIMD code."""

import ctypes
import math
import platform
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import tinygrad_bn

HEADER = Path(tinygrad_bn.__file__).parent / "capturing" / "native" / "functions.h"
COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
FLAGS = ("-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-std=c11")
BUILDS = {"native": ("-march=native",), "portable": ()}  # with fused multiply-adds where there are any, and without
VECTORISED = ("exp", "expm1", "log", "log1p", "tanh", "erf", "arctan")
FROM_LIBRARY = ("sin", "cos", "tan")
EXACT = ("sign", "sqrt", "fabs", "floor", "ceil", "rint")
BINARY = ("maximum", "minimum", "power")
NAMES = {np.float32: "float", np.float64: "double"}
SPECIAL = (0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -3.0, 1e30, -1e30, math.inf, -math.inf, math.nan)

pytestmark = pytest.mark.skipif(
    COMPILER is None or platform.system() == "Windows",
    reason="No C compiler: none of cc, gcc and clang is on the path.",
)


def source():
    """One loop a line."""
    lines = [f'#include "{HEADER}"', "#include <stddef.h>"]
    for type_ in NAMES.values():
        array = f"{type_} *restrict"
        for name in (*VECTORISED, *FROM_LIBRARY, *EXACT):
            loop = f"for (ptrdiff_t i = 0; i < n; i++) y[i] = {name}_{type_}(a[i]);"
            lines.append(f"void {name}_{type_}_loop(const {array} a, {array} y, ptrdiff_t n) {{ {loop} }}")
        for name in BINARY:
            loop = f"for (ptrdiff_t i = 0; i < n; i++) y[i] = {name}_{type_}(a[i], b[i]);"
            lines.append(
                f"void {name}_{type_}_loop(const {array} a, const {array} b, {array} y, ptrdiff_t n) {{ {loop} }}"
            )
    return "\n".join(lines)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """{build: (library, what the compiler had to say)}."""
    results = {}
    is_gcc = "Free Software Foundation" in run(COMPILER, "--version").stdout
    for build, flags in BUILDS.items():
        folder = tmp_path_factory.mktemp(build)
        folder.joinpath("loops.c").write_text(source())
        report = ("-fopt-info-vec-optimized",) if is_gcc else ()
        said = run(
            COMPILER, *FLAGS, *flags, *report, "-shared", "-fPIC", "loops.c", "-o", "loops.so", "-lm", cwd=folder
        )
        results[build] = ctypes.CDLL(str(folder / "loops.so")), said.stderr
    return results


def run(*command, cwd=None):
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True)


@pytest.fixture(scope="module", params=BUILDS)
def compiled(request, built):
    """`compiled(name, *arrays)` calls the C function of that name and of the arrays' dtype on every element."""
    library, _ = built[request.param]

    def call(name, *arrays):
        result = np.empty_like(arrays[0])
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (*arrays, result)]
        library[f"{name}_{NAMES[result.dtype.type]}_loop"](*pointers, ctypes.c_ssize_t(result.size))
        return result

    return call


def sample(dtype):
    """Numbers of every exponent, both signs, NaNs and infinities, and more of those where the functions bend."""
    rng = np.random.default_rng(0)
    if dtype == np.float32:
        everywhere = np.arange(0, 2**32, 5003, dtype=np.uint64).astype(np.uint32).view(dtype)
    else:
        everywhere = rng.integers(0, 2**64, 60_000, dtype=np.uint64).view(dtype)
    bends = [rng.uniform(-edge, edge, 10_000) for edge in (0.7, 1.2, 3, 20, 100, 750)]
    around_one = [sign * (1 + rng.uniform(-1, 1, 5_000) * width) for width in (1e-2, 1e-6) for sign in (-1, 1)]
    with np.errstate(invalid="ignore"):  # some of the NaNs are signalling
        return np.concatenate([everywhere, np.array(SPECIAL), *bends, *around_one]).astype(dtype)


def erf_series(x):
    """2 / sqrt(pi) * e^(-x^2) * sum of 2^n x^(2n+1) / (1 * 3 * ... * (2n+1)): no cancellation, unlike Taylor's."""
    bounded = np.clip(x, -8, 8)
    term = total = bounded
    for n in range(1, 240):
        term = term * (2 * bounded * bounded / (2 * n + 1))
        total = total + term
    pi = np.longdouble("3.14159265358979323846264338327950288")
    return 2 / np.sqrt(pi) * np.exp(-bounded * bounded) * total


@pytest.fixture(scope="module", params=NAMES, ids=NAMES.values())
def dtype(request):
    if request.param == np.float64 and np.finfo(np.longdouble).nmant < 60:
        pytest.skip("No longer float than a double here to compare it with.")
    return request.param


@pytest.fixture(scope="module")
def exact(dtype):
    """`exact(name)` is a sample and the function's values there, in twice the precision or nearly so."""
    known = {}

    def call(name):
        if name not in known:
            x = sample(dtype)
            if dtype == np.float64 and name == "erf":
                x = x[::10].copy()
            wide = x.astype(np.float64 if dtype == np.float32 else np.longdouble)
            if name != "erf":
                known[name] = x, getattr(np, name)(wide)
            elif dtype == np.float32:
                known[name] = x, np.vectorize(math.erf, otypes=[np.float64])(wide)
            else:
                known[name] = x, erf_series(wide)
        return known[name]

    with np.errstate(all="ignore"):
        yield call


def check_within_two_ulp(got, wanted):
    rounded = wanted.astype(got.dtype)
    finite = np.isfinite(rounded)
    np.testing.assert_array_equal(got[~finite], rounded[~finite])
    error = np.abs(got[finite] - wanted[finite]) / np.spacing(np.abs(rounded[finite])).astype(wanted.dtype)
    assert error.max() <= 2
    np.testing.assert_array_equal(np.signbit(got[finite]), np.signbit(rounded[finite]))


@pytest.mark.parametrize("name", [*VECTORISED, *FROM_LIBRARY])
def test_at_most_two_ulp_from_exact(compiled, exact, name):
    x, wanted = exact(name)
    check_within_two_ulp(compiled(name, x), wanted)


@pytest.mark.parametrize("name", VECTORISED)
@pytest.mark.parametrize("dtype", NAMES)
def test_special_values_are_numpys(compiled, dtype, name):
    x = np.array([*SPECIAL, np.finfo(dtype).max, -np.finfo(dtype).max, np.finfo(dtype).smallest_subnormal], dtype)
    with np.errstate(all="ignore"):
        wanted = np.array([math.erf(value) for value in x], dtype) if name == "erf" else getattr(np, name)(x)
    got = compiled(name, x)
    np.testing.assert_allclose(got, wanted, rtol=4 * np.finfo(dtype).eps, atol=0)
    number = ~np.isnan(wanted)
    np.testing.assert_array_equal(np.signbit(got[number]), np.signbit(wanted[number]))


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("dtype", NAMES)
def test_one_instruction_functions_are_numpys_bit_for_bit(compiled, dtype, name):
    x = sample(dtype)
    with np.errstate(all="ignore"):
        wanted = getattr(np, name)(x)
    got = compiled(name, x)
    np.testing.assert_array_equal(got, wanted)
    number = ~np.isnan(wanted)
    np.testing.assert_array_equal(np.signbit(got[number]), np.signbit(wanted[number]))


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("dtype", NAMES)
def test_two_special_values_give_what_numpy_gives(compiled, dtype, name):
    a, b = (
        np.ascontiguousarray(grid.ravel()) for grid in np.meshgrid(np.array(SPECIAL, dtype), np.array(SPECIAL, dtype))
    )
    with np.errstate(all="ignore"):
        wanted = getattr(np, name)(a, b)
    np.testing.assert_allclose(compiled(name, a, b), wanted, rtol=2 * np.finfo(dtype).eps)


@pytest.mark.parametrize("name", ["maximum", "minimum"])
@pytest.mark.parametrize("dtype", NAMES)
def test_of_two_zeros_the_second_is_returned(compiled, dtype, name):
    a, b = np.array([0.0, -0.0] * 20, dtype), np.array([-0.0, 0.0] * 20, dtype)
    np.testing.assert_array_equal(np.signbit(compiled(name, a, b)), np.signbit(b))


def test_power_is_at_most_two_ulp_from_exact(compiled):
    rng = np.random.default_rng(1)
    x, exponent = rng.lognormal(0, 4, 20_000).astype(np.float32), rng.normal(0, 6, 20_000).astype(np.float32)
    with np.errstate(all="ignore"):
        wanted = np.power(x.astype(np.float64), exponent)
        check_within_two_ulp(compiled("power", x, exponent), wanted)


@pytest.mark.parametrize("build", BUILDS)
def test_every_loop_of_ours_becomes_simd_code(built, build):
    _, said = built[build]
    if not said:
        pytest.skip("Only gcc says which loops it vectorised.")
    reported = {int(line) for line in re.findall(r"loops\.c:(\d+):.*loop vectorized", said)}
    for number, line in enumerate(source().splitlines(), 1):
        if re.match(rf"void ({'|'.join((*VECTORISED, 'sign', 'maximum', 'minimum'))})_(float|double)_loop", line):
            assert number in reported, line
