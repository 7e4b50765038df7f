/* What NumPy means by the simple functions: for float and double, each one element at a time, without a branch. */
#ifndef TINYGRAD_BN_ARITHMETIC_H
#define TINYGRAD_BN_ARITHMETIC_H

#include <float.h>

#include "functions.h"

#define ARITHMETIC(real, LARGEST, fmod_of, floor_of, copysign_of)                                                      \
    ELEMENTWISE real square_##real(real x) { return x * x; }                                                           \
    ELEMENTWISE uint8_t isnan_##real(real x) { return x != x; }                                                        \
    ELEMENTWISE uint8_t isinf_##real(real x) { return (x > LARGEST) | (x < -LARGEST); }                                \
    ELEMENTWISE uint8_t isfinite_##real(real x) { return (x >= -LARGEST) & (x <= LARGEST); }                           \
    /* x, but the largest numbers in the place of infinities, and `nan` in that of what is no number. */               \
    ELEMENTWISE real finite_##real(real x, real largest, real nan) {                                                   \
        return x != x ? nan : x > largest ? largest : x < -largest ? -largest : x;                                     \
    }                                                                                                                  \
    /* x - y floor(x / y), with the sign of y. */                                                                      \
    ELEMENTWISE real remainder_##real(real x, real y) {                                                                \
        real rest = fmod_of(x, y);                                                                                     \
        if (y == 0) return rest;                                                                                       \
        if (rest == 0) return copysign_of(0, y);                                                                       \
        return (y < 0) != (rest < 0) ? rest + y : rest;                                                                \
    }                                                                                                                  \
    ELEMENTWISE real floor_divide_##real(real x, real y) {                                                             \
        if (y == 0) return x / y;                                                                                      \
        real rest = fmod_of(x, y), quotient = (x - rest) / y;                                                          \
        if (rest != 0 && (y < 0) != (rest < 0)) quotient -= 1;                                                         \
        if (quotient == 0) return copysign_of(0, x / y);                                                               \
        real whole = floor_of(quotient);                                                                               \
        return quotient - whole > (real)0.5 ? whole + 1 : whole;                                                       \
    }

ARITHMETIC(float, FLT_MAX, fmodf, floorf, copysignf)
ARITHMETIC(double, DBL_MAX, fmod, floor, copysign)

/* In the largest and the smallest of many, NaN wins. */
#pragma omp declare reduction(maximum : float : omp_out = maximum_float(omp_out, omp_in)) initializer(omp_priv = -INFINITY)
#pragma omp declare reduction(maximum : double : omp_out = maximum_double(omp_out, omp_in)) initializer(omp_priv = -INFINITY)
#pragma omp declare reduction(minimum : float : omp_out = minimum_float(omp_out, omp_in)) initializer(omp_priv = INFINITY)
#pragma omp declare reduction(minimum : double : omp_out = minimum_double(omp_out, omp_in)) initializer(omp_priv = INFINITY)

#endif
