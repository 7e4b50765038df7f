"""What exported C stands on: the simple functions by the C library, and a product of matrices in three loops."""

from __future__ import annotations

import re

from tinygrad_bn.capturing.native.dialect import Inexpressible

_OF_LIBRARY = {
    "exp": "exp",
    "expm1": "expm1",
    "log": "log",
    "log1p": "log1p",
    "tanh": "tanh",
    "erf": "erf",
    "arctan": "atan",
    "sin": "sin",
    "cos": "cos",
    "tan": "tan",
    "sqrt": "sqrt",
    "fabs": "fabs",
    "floor": "floor",
    "ceil": "ceil",
    "rint": "rint",
}
_OWN = {
    "square": "real square_real(real x) { return x * x; }",
    "power": "real power_real(real x, real exponent) { return (real)pow(x, exponent); }",
    "maximum": "real maximum_real(real a, real b) { return a > b || a != a ? a : b; }",
    "minimum": "real minimum_real(real a, real b) { return a < b || a != a ? a : b; }",
    "sign": "real sign_real(real x) { return x != x ? x : (real)(x > 0) - (real)(x < 0); }",
    "isnan": "int isnan_real(real x) { return x != x; }",
    "isinf": "int isinf_real(real x) { return x == (real)INFINITY || x == (real)-INFINITY; }",
    "isfinite": "int isfinite_real(real x) { return x - x == 0; }",
    "finite": """real finite_real(real x, real largest, real nan) {
    return x != x ? nan : x > largest ? largest : x < -largest ? -largest : x;
}""",
    "gemm": """void gemm_real(int turned_a, int turned_b, long m, long n, long k, real alpha, const real *a, long lda,
                      const real *b, long ldb, real beta, real *c, long ldc) {
    for (long i = 0; i < m; i++) {
        for (long j = 0; j < n; j++) c[i * ldc + j] = beta == 0 ? 0 : beta * c[i * ldc + j];
        for (long p = 0; p < k; p++) {
            const real factor = alpha * (turned_a ? a[p * lda + i] : a[i * lda + p]);
            for (long j = 0; j < n; j++) c[i * ldc + j] += factor * (turned_b ? b[j * ldb + p] : b[p * ldb + j]);
        }
    }
}""",
}
_ABOUT = {"gemm": "/* c = alpha a b + beta c, for c of m rows and n columns; a turned_ matrix is read transposed. */\n"}


def helpers(text: str) -> str:
    """The definitions of the functions that a C text calls.

    Raises:
        Inexpressible: there is none of one of them.
    """
    return "\n".join(_defined(*call) for call in sorted(set(re.findall(r"\b([a-z]\w*)_(float|double)\(", text))))


def _defined(name: str, real: str) -> str:
    if name in _OF_LIBRARY:
        suffix = "f" if real == "float" else ""
        own = f"real {name}_real(real x) {{ return {_OF_LIBRARY[name]}{suffix}(x); }}"
    elif name in _OWN:
        own = _OWN[name]
    else:
        raise Inexpressible(name)
    return (
        f"{_ABOUT.get(name, '')}static {own}\n".replace("_real", f"_{real}")
        .replace("real ", f"{real} ")
        .replace("(real)", f"({real})")
    )
