/* Elementwise mathematics of a compiled program: NumPy's values and special cases, at most 2 ulp from exact.

A loop over one of these functions becomes SIMD code by itself: they have no branch and no table, they call nothing,
and every choice is a ternary whose two sides are both computed. Only what stands at the end of the file, under
"From the C library", is computed one element at a time. How to compile:

    -O3 -march=native -fno-math-errno -fno-trapping-math -ffp-contract=off

never -ffast-math, which would take the error terms and the rounding constants below for zeros. Fused multiply-adds are
asked for by name, where the processor has them. The method is the same in float and double: reduce the argument to a
short interval, evaluate a polynomial there, put the result together again. The coefficients are minimax fits of
relative error, made in 50 digits with the exchange algorithm of Remez (1934) and rounded to the type. */

#ifndef TINYGRAD_BN_FUNCTIONS_H
#define TINYGRAD_BN_FUNCTIONS_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__GNUC__)
#define ELEMENTWISE static inline __attribute__((always_inline, unused))
#else
#define ELEMENTWISE static inline
#endif

/* Bits ------------------------------------------------------------------------------------------------------------ */

ELEMENTWISE uint32_t bits_of_float(float x) { uint32_t bits; memcpy(&bits, &x, sizeof bits); return bits; }
ELEMENTWISE uint64_t bits_of_double(double x) { uint64_t bits; memcpy(&bits, &x, sizeof bits); return bits; }
ELEMENTWISE float float_of_bits(uint32_t bits) { float x; memcpy(&x, &bits, sizeof x); return x; }
ELEMENTWISE double double_of_bits(uint64_t bits) { double x; memcpy(&x, &bits, sizeof x); return x; }

/* ROUNDER + x rounds x to an integer n, halves to even, and shows n in the low bits of the sum. */
#define ROUNDER_FLOAT 0x1.8p23f
#define ROUNDER_DOUBLE 0x1.8p52

/* 2^n, given ROUNDER + n. */
ELEMENTWISE float power_of_two_float(float rounder_plus_n) {
    return float_of_bits((bits_of_float(rounder_plus_n) << 23) + bits_of_float(1.0f));
}
ELEMENTWISE double power_of_two_double(double rounder_plus_n) {
    return double_of_bits((bits_of_double(rounder_plus_n) << 52) + bits_of_double(1.0));
}

/* Polynomials ----------------------------------------------------------------------------------------------------- */

/* a * b + c, rounded once where the processor can; elsewhere the C library would emulate that, at a hundred times the
cost. */
ELEMENTWISE float multiply_add_float(float a, float b, float c) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
    return __builtin_fmaf(a, b, c);
#else
    return a * b + c;
#endif
}
ELEMENTWISE double multiply_add_double(double a, double b, double c) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
    return __builtin_fma(a, b, c);
#else
    return a * b + c;
#endif
}

/* POLYNOMIAL_n(multiply_add, x, a, b, c, ...) = a + b x + c x^2 + ..., n coefficients, by Horner's rule. */
#define POLYNOMIAL_2(f, x, a, b) f(x, b, a)
#define POLYNOMIAL_3(f, x, a, ...) f(x, POLYNOMIAL_2(f, x, __VA_ARGS__), a)
#define POLYNOMIAL_4(f, x, a, ...) f(x, POLYNOMIAL_3(f, x, __VA_ARGS__), a)
#define POLYNOMIAL_5(f, x, a, ...) f(x, POLYNOMIAL_4(f, x, __VA_ARGS__), a)
#define POLYNOMIAL_6(f, x, a, ...) f(x, POLYNOMIAL_5(f, x, __VA_ARGS__), a)
#define POLYNOMIAL_7(f, x, a, ...) f(x, POLYNOMIAL_6(f, x, __VA_ARGS__), a)
#define POLYNOMIAL_8(f, x, a, ...) f(x, POLYNOMIAL_7(f, x, __VA_ARGS__), a)
#define POLYNOMIAL_9(f, x, a, ...) f(x, POLYNOMIAL_8(f, x, __VA_ARGS__), a)
#define POLYNOMIAL_10(f, x, a, ...) f(x, POLYNOMIAL_9(f, x, __VA_ARGS__), a)
#define POLYNOMIAL_11(f, x, a, ...) f(x, POLYNOMIAL_10(f, x, __VA_ARGS__), a)
#define POLYNOMIAL_12(f, x, a, ...) f(x, POLYNOMIAL_11(f, x, __VA_ARGS__), a)
#define POLYNOMIAL_13(f, x, a, ...) f(x, POLYNOMIAL_12(f, x, __VA_ARGS__), a)
#define POLYNOMIAL_14(f, x, a, ...) f(x, POLYNOMIAL_13(f, x, __VA_ARGS__), a)
#define POLYNOMIAL_15(f, x, a, ...) f(x, POLYNOMIAL_14(f, x, __VA_ARGS__), a)
#define POLYNOMIAL_16(f, x, a, ...) f(x, POLYNOMIAL_15(f, x, __VA_ARGS__), a)
#define POLYNOMIAL_17(f, x, a, ...) f(x, POLYNOMIAL_16(f, x, __VA_ARGS__), a)
#define POLYNOMIAL_18(f, x, a, ...) f(x, POLYNOMIAL_17(f, x, __VA_ARGS__), a)
#define POLYNOMIAL_19(f, x, a, ...) f(x, POLYNOMIAL_18(f, x, __VA_ARGS__), a)

/* exp and expm1 ---------------------------------------------------------------------------------------------------

x = n log 2 + r with |r| <= log(2) / 2; then e^x = 2^n e^r and e^r = 1 + r + r^2 q(r), where q is a polynomial.
n log 2 is subtracted in two parts, the first so short that its product with n is exact: Cody and Waite (1980). */

#define LOG2_E 1.4426950408889634
#define LOG_2_HIGH_FLOAT 0x1.63p-1f
#define LOG_2_LOW_FLOAT -0x1.bd0106p-13f
#define LOG_2_HIGH_DOUBLE 0x1.62e42feep-1
#define LOG_2_LOW_DOUBLE 0x1.a39ef35793c76p-33

/* q(r) = (e^r - 1 - r) / r^2. */
ELEMENTWISE float exp_remainder_float(float r) {
    return POLYNOMIAL_5(multiply_add_float, r, 0.49999997f, 0.16666539f, 0.041667223f, 0.008367181f, 0.0013882398f);
}
ELEMENTWISE double exp_remainder_double(double r) {
    return POLYNOMIAL_10(multiply_add_double, r, 0.5000000000000006, 0.1666666666666658, 0.04166666666656946,
                         0.008333333333395705, 0.0013888888934165285, 0.00019841269708690504, 2.4801501960719293e-05,
                         2.7557413321790316e-06, 2.76274147074913e-07, 2.505319012350711e-08);
}

/* e^x for |x| <= 80, or NaN: the heart of exp, tanh and erf. */
ELEMENTWISE float exp_moderate_float(float x) {
    float shifted = multiply_add_float(x, (float)LOG2_E, ROUNDER_FLOAT), n = shifted - ROUNDER_FLOAT;
    float r = multiply_add_float(-n, LOG_2_LOW_FLOAT, multiply_add_float(-n, LOG_2_HIGH_FLOAT, x));
    return (1.0f + multiply_add_float(r * r, exp_remainder_float(r), r)) * power_of_two_float(shifted);
}
ELEMENTWISE double exp_moderate_double(double x) {
    double shifted = multiply_add_double(x, LOG2_E, ROUNDER_DOUBLE), n = shifted - ROUNDER_DOUBLE;
    double r = multiply_add_double(-n, LOG_2_LOW_DOUBLE, multiply_add_double(-n, LOG_2_HIGH_DOUBLE, x));
    return (1.0 + multiply_add_double(r * r, exp_remainder_double(r), r)) * power_of_two_double(shifted);
}

/* e^x. The factor 2^n comes in two halves, so that a subnormal result is rounded once and too large a one is inf. */
ELEMENTWISE float exp_float(float x) {
    x = x < -104.0f ? -104.0f : x;
    x = x > 89.0f ? 89.0f : x;
    float n = multiply_add_float(x, (float)LOG2_E, ROUNDER_FLOAT) - ROUNDER_FLOAT;
    float r = multiply_add_float(-n, LOG_2_LOW_FLOAT, multiply_add_float(-n, LOG_2_HIGH_FLOAT, x));
    float half = multiply_add_float(n, 0.5f, ROUNDER_FLOAT), rest = (n - (half - ROUNDER_FLOAT)) + ROUNDER_FLOAT;
    float power = 1.0f + multiply_add_float(r * r, exp_remainder_float(r), r);
    return power * power_of_two_float(half) * power_of_two_float(rest);
}
ELEMENTWISE double exp_double(double x) {
    x = x < -746.0 ? -746.0 : x;
    x = x > 710.0 ? 710.0 : x;
    double n = multiply_add_double(x, LOG2_E, ROUNDER_DOUBLE) - ROUNDER_DOUBLE;
    double r = multiply_add_double(-n, LOG_2_LOW_DOUBLE, multiply_add_double(-n, LOG_2_HIGH_DOUBLE, x));
    double half = multiply_add_double(n, 0.5, ROUNDER_DOUBLE), rest = (n - (half - ROUNDER_DOUBLE)) + ROUNDER_DOUBLE;
    double power = 1.0 + multiply_add_double(r * r, exp_remainder_double(r), r);
    return power * power_of_two_double(half) * power_of_two_double(rest);
}

/* e^x - 1 = 2^n (e^r - 1) + (2^n - 1), with half the scale inside and doubled at the end, so that n may reach the
largest exponent; `lost` is what rounding took from r. The last line keeps -0 and the subnormal numbers. */
ELEMENTWISE float expm1_float(float x) {
    float y = x < -20.0f ? -20.0f : x;
    y = y > 89.0f ? 89.0f : y;
    float shifted = multiply_add_float(y, (float)LOG2_E, ROUNDER_FLOAT - 1.0f), n = shifted - (ROUNDER_FLOAT - 1.0f);
    float high = multiply_add_float(-n, LOG_2_HIGH_FLOAT, y);
    float r = multiply_add_float(-n, LOG_2_LOW_FLOAT, high);
    float lost = multiply_add_float(-n, LOG_2_LOW_FLOAT, high - r);
    float power = r + multiply_add_float(r * r, exp_remainder_float(r), lost), scale = power_of_two_float(shifted);
    float result = 2.0f * multiply_add_float(scale, power, scale - 0.5f);
    return fabsf(x) < 0x1p-60f ? x : result;
}
ELEMENTWISE double expm1_double(double x) {
    double y = x < -40.0 ? -40.0 : x;
    y = y > 710.0 ? 710.0 : y;
    double shifted = multiply_add_double(y, LOG2_E, ROUNDER_DOUBLE - 1.0), n = shifted - (ROUNDER_DOUBLE - 1.0);
    double high = multiply_add_double(-n, LOG_2_HIGH_DOUBLE, y);
    double r = multiply_add_double(-n, LOG_2_LOW_DOUBLE, high);
    double lost = multiply_add_double(-n, LOG_2_LOW_DOUBLE, high - r);
    double power = r + multiply_add_double(r * r, exp_remainder_double(r), lost), scale = power_of_two_double(shifted);
    double result = 2.0 * multiply_add_double(scale, power, scale - 0.5);
    return fabs(x) < 0x1p-60 ? x : result;
}

/* log and log1p ---------------------------------------------------------------------------------------------------

x = 2^e (1 + f) with sqrt(1/2) <= 1 + f < sqrt(2); then log(x) = e log 2 + log(1 + f), the small parts added first.
In float, log(1 + f) = f - f^2 / 2 + f^3 p(f), as in Cephes (Moshier, 1984). In double, s = f / (2 + f) and
log(1 + f) = 2 artanh(s) = 2 s + s z t(z), z = s^2,
written so that f itself is not rounded, as in fdlibm (Sun, 1993). */

#define SQRT_HALF_BITS_FLOAT UINT32_C(0x3f3504f3)
#define SQRT_HALF_BITS_DOUBLE UINT64_C(0x3fe6a09e667f3bcd)

/* e log 2 + log(1 + f). */
ELEMENTWISE float log_assembled_float(float e, float f) {
    float square = f * f;
    float p = POLYNOMIAL_8(multiply_add_float, f, 0.3333333f, -0.25000826f, 0.20001237f, -0.16623147f, 0.14201358f,
                           -0.13161974f, 0.12765484f, -0.076345295f);
    float small = multiply_add_float(square, -0.5f, multiply_add_float(e, LOG_2_LOW_FLOAT, f * square * p));
    return multiply_add_float(e, LOG_2_HIGH_FLOAT, f + small);
}
ELEMENTWISE double log_assembled_double(double e, double f) {
    double s = f / (2.0 + f), z = s * s, half_square = 0.5 * f * f;
    double t = POLYNOMIAL_7(multiply_add_double, z, 0.666666666666674, 0.3999999999937795, 0.28571428751308525,
                            0.22222197586891668, 0.18183619006724838, 0.15312569512054058, 0.14811542996716942);
    double small = multiply_add_double(s, multiply_add_double(z, t, half_square), e * LOG_2_LOW_DOUBLE);
    return multiply_add_double(e, LOG_2_HIGH_DOUBLE, f - (half_square - small));
}

/* (e, 1 + f) of a normal x > 0: the exponent is read as the low bits of a float of known size, as ROUNDER does it. */
ELEMENTWISE float exponent_float(float x) {
    uint32_t biased = (bits_of_float(x) - SQRT_HALF_BITS_FLOAT + bits_of_float(1.0f)) >> 23;
    return float_of_bits(biased + bits_of_float(0x1p23f)) - (0x1p23f + 127.0f);
}
ELEMENTWISE double exponent_double(double x) {
    uint64_t biased = (bits_of_double(x) - SQRT_HALF_BITS_DOUBLE + bits_of_double(1.0)) >> 52;
    return double_of_bits(biased + bits_of_double(0x1p52)) - (0x1p52 + 1023.0);
}
ELEMENTWISE float mantissa_float(float x) {
    uint32_t fraction = (bits_of_float(x) - SQRT_HALF_BITS_FLOAT) & UINT32_C(0x007fffff);
    return float_of_bits(fraction + SQRT_HALF_BITS_FLOAT);
}
ELEMENTWISE double mantissa_double(double x) {
    uint64_t fraction = (bits_of_double(x) - SQRT_HALF_BITS_DOUBLE) & UINT64_C(0x000fffffffffffff);
    return double_of_bits(fraction + SQRT_HALF_BITS_DOUBLE);
}

/* log(x); a subnormal x is made normal first. */
ELEMENTWISE float log_float(float x) {
    float normal = x < 0x1p-126f ? x * 0x1p23f : x, shift = x < 0x1p-126f ? 23.0f : 0.0f;
    float result = log_assembled_float(exponent_float(normal) - shift, mantissa_float(normal) - 1.0f);
    result = x < INFINITY ? result : x;
    result = x == 0.0f ? -INFINITY : result;
    return x < 0.0f ? NAN : result;
}
ELEMENTWISE double log_double(double x) {
    double normal = x < 0x1p-1022 ? x * 0x1p52 : x, shift = x < 0x1p-1022 ? 52.0 : 0.0;
    double result = log_assembled_double(exponent_double(normal) - shift, mantissa_double(normal) - 1.0);
    result = x < INFINITY ? result : x;
    result = x == 0.0 ? -INFINITY : result;
    return x < 0.0 ? NAN : result;
}

/* log(1 + x) = log(sum + lost), where lost is what rounding took from the sum: Knuth's TwoSum (1969). It is added to f,
in the scale of f, and is nothing to a large sum. The last line keeps -0 and the subnormal numbers. */
ELEMENTWISE float log1p_float(float x) {
    float sum = 1.0f + x, taken = sum - 1.0f, lost = (1.0f - (sum - taken)) + (x - taken), e = exponent_float(sum);
    float scale = sum < 0x1p60f ? power_of_two_float(ROUNDER_FLOAT - e) : 0.0f;
    float result = log_assembled_float(e, multiply_add_float(lost, scale, mantissa_float(sum) - 1.0f));
    result = x < INFINITY ? result : x;
    result = x == -1.0f ? -INFINITY : result;
    result = x < -1.0f ? NAN : result;
    return fabsf(x) < 0x1p-60f ? x : result;
}
ELEMENTWISE double log1p_double(double x) {
    double sum = 1.0 + x, taken = sum - 1.0, lost = (1.0 - (sum - taken)) + (x - taken), e = exponent_double(sum);
    double scale = sum < 0x1p60 ? power_of_two_double(ROUNDER_DOUBLE - e) : 0.0;
    double result = log_assembled_double(e, multiply_add_double(lost, scale, mantissa_double(sum) - 1.0));
    result = x < INFINITY ? result : x;
    result = x == -1.0 ? -INFINITY : result;
    result = x < -1.0 ? NAN : result;
    return fabs(x) < 0x1p-60 ? x : result;
}

/* tanh ------------------------------------------------------------------------------------------------------------

Odd. tanh(x) = x + x z p(z), z = x^2, near 0, and 1 - 2 / (e^(2 x) + 1) beyond: Cody and Waite (1980). */

ELEMENTWISE float tanh_float(float x) {
    float a = fabsf(x), bounded = a > 10.0f ? 10.0f : a, z = a * a;
    float p = POLYNOMIAL_5(multiply_add_float, z, -0.33333316f, 0.13332586f, -0.05385231f, 0.021071678f,
                           -0.0062742378f);
    float inner = multiply_add_float(a * z, p, a), outer = 1.0f - 2.0f / (exp_moderate_float(2.0f * bounded) + 1.0f);
    return copysignf(a < 0.55f ? inner : outer, x);
}
ELEMENTWISE double tanh_double(double x) {
    double a = fabs(x), bounded = a > 20.0 ? 20.0 : a, z = a * a;
    double p = POLYNOMIAL_11(multiply_add_double, z, -0.33333333333332854, 0.1333333333326209, -0.05396825393126729,
                             0.021869487576084628, -0.008863221002510155, 0.0035919891729619346, -0.0014549588742064341,
                             0.0005863165296981092, -0.00022856419260321176, 7.714434843440816e-05,
                             -1.6072561919351224e-05);
    double inner = multiply_add_double(a * z, p, a), outer = 1.0 - 2.0 / (exp_moderate_double(2.0 * bounded) + 1.0);
    return copysign(a < 0.625 ? inner : outer, x);
}

/* erf -------------------------------------------------------------------------------------------------------------

Odd. erf(x) = x + x p(z), z = x^2, near 0, and 1 - e^-g(x) beyond, with a polynomial g: -log(erfc(x)) bends so
little that one fit, weighted with erfc(x), reaches to where erf rounds to 1. */

ELEMENTWISE float erf_float(float x) {
    float a = fabsf(x), bounded = a > 4.0f ? 4.0f : a;
    float p = POLYNOMIAL_7(multiply_add_float, a * a, 0.12837917f, -0.37612635f, 0.11283715f, -0.026860509f,
                           0.0052038594f, -0.000817564f, 8.513107e-05f);
    float g = POLYNOMIAL_8(multiply_add_float, bounded, -0.00017055098f, 1.1294951f, 0.6333867f, 0.1082366f,
                           -0.025091488f, 0.0041605234f, -0.0004323022f, 2.0909481e-05f);
    return copysignf(a < 0.9f ? multiply_add_float(a, p, a) : 1.0f - exp_moderate_float(-g), x);
}
ELEMENTWISE double erf_double(double x) {
    double a = fabs(x), bounded = a > 6.0 ? 6.0 : a;
    double p = POLYNOMIAL_13(multiply_add_double, a * a, 0.1283791670955126, -0.3761263890318375, 0.11283791670954857,
                             -0.026866170645072896, 0.005223977624780867, -0.0008548326978742052,
                             0.0001205533103688895, -1.4925593506540704e-05, 1.6460972810247708e-06,
                             -1.6350025140912135e-07, 1.4657879238739532e-08, -1.136566346044511e-09,
                             5.945257284532827e-11);
    double g = POLYNOMIAL_18(multiply_add_double, bounded, 5.13329419055484e-07, 1.1283739908357209,
                             0.6366440591351408, 0.10270227835338736, -0.018988019674431162, -0.0004135685055189516,
                             0.0019189801500352091, -0.0007730719329282242, 0.0001365730554304488,
                             1.9514104632534895e-05, -2.2529330572114733e-05, 8.577656373011537e-06,
                             -2.114523460986813e-06, 3.695140149940281e-07, -4.592622076670102e-08,
                             3.88935887746603e-09, -2.0199665187563307e-10, 4.864100160672106e-12);
    return copysign(a < 1.0 ? multiply_add_double(a, p, a) : 1.0 - exp_moderate_double(-g), x);
}

/* arctan ----------------------------------------------------------------------------------------------------------

Odd. arctan(x) = x + x z p(z), z = x^2, up to 1, and pi / 2 + arctan(-1 / x) beyond. pi / 2 comes in two parts, lest
its own rounding be seen in the result. */

ELEMENTWISE float arctan_float(float x) {
    float a = fabsf(x), t = (a > 1.0f ? -1.0f : a) / (a > 1.0f ? a : 1.0f), z = t * t;
    float high = a > 1.0f ? 1.5707964f : 0.0f, low = a > 1.0f ? -4.371139e-08f : 0.0f;
    float p = POLYNOMIAL_9(multiply_add_float, z, -0.333333f, 0.19998549f, -0.14264242f, 0.10952186f, -0.084034495f,
                           0.05795758f, -0.03117783f, 0.010914597f, -0.0017936197f);
    return copysignf(high + (t + multiply_add_float(t * z, p, low)), x);
}
ELEMENTWISE double arctan_double(double x) {
    double a = fabs(x), t = (a > 1.0 ? -1.0 : a) / (a > 1.0 ? a : 1.0), z = t * t;
    double high = a > 1.0 ? 1.5707963267948966 : 0.0, low = a > 1.0 ? 6.123233995736766e-17 : 0.0;
    double p = POLYNOMIAL_19(multiply_add_double, z, -0.3333333333333186, 0.1999999999975502, -0.14285714271334707,
                             0.11111110678745699, -0.09090901235338891, 0.07692212929969444, -0.06665860359215127,
                             0.05877307752578035, -0.0523923293745324, 0.046739494434087196, -0.04092637895104392,
                             0.03406780589307824, -0.02582679092125331, 0.016978030806152514, -0.009184556060465206,
                             0.0038559735296647205, -0.0011640713588722802, 0.00022302232969828703,
                             -2.025854734170209e-05);
    return copysign(high + (t + multiply_add_double(t * z, p, low)), x);
}

/* Choices ---------------------------------------------------------------------------------------------------------

NaN goes through; of a 0 and a -0 the second one is returned, as by NumPy on x86. */

ELEMENTWISE float maximum_float(float a, float b) { return a > b || a != a ? a : b; }
ELEMENTWISE double maximum_double(double a, double b) { return a > b || a != a ? a : b; }
ELEMENTWISE float minimum_float(float a, float b) { return a < b || a != a ? a : b; }
ELEMENTWISE double minimum_double(double a, double b) { return a < b || a != a ? a : b; }

/* -1, 0 or 1, or NaN; 0 for -0. */
ELEMENTWISE float sign_float(float x) { return x != x ? x : (x > 0.0f ? 1.0f : 0.0f) - (x < 0.0f ? 1.0f : 0.0f); }
ELEMENTWISE double sign_double(double x) { return x != x ? x : (x > 0.0 ? 1.0 : 0.0) - (x < 0.0 ? 1.0 : 0.0); }

/* From the processor ----------------------------------------------------------------------------------------------

One instruction each. */

ELEMENTWISE float sqrt_float(float x) { return sqrtf(x); }
ELEMENTWISE double sqrt_double(double x) { return sqrt(x); }
ELEMENTWISE float fabs_float(float x) { return fabsf(x); }
ELEMENTWISE double fabs_double(double x) { return fabs(x); }
ELEMENTWISE float floor_float(float x) { return floorf(x); }
ELEMENTWISE double floor_double(double x) { return floor(x); }
ELEMENTWISE float ceil_float(float x) { return ceilf(x); }
ELEMENTWISE double ceil_double(double x) { return ceil(x); }
ELEMENTWISE float rint_float(float x) { return rintf(x); }
ELEMENTWISE double rint_double(double x) { return rint(x); }

/* From the C library ----------------------------------------------------------------------------------------------

One element at a time: the reduction of large arguments and the tables in there do not vectorise. */

ELEMENTWISE float sin_float(float x) { return sinf(x); }
ELEMENTWISE double sin_double(double x) { return sin(x); }
ELEMENTWISE float cos_float(float x) { return cosf(x); }
ELEMENTWISE double cos_double(double x) { return cos(x); }
ELEMENTWISE float tan_float(float x) { return tanf(x); }
ELEMENTWISE double tan_double(double x) { return tan(x); }
ELEMENTWISE float power_float(float x, float exponent) { return powf(x, exponent); }
ELEMENTWISE double power_double(double x, double exponent) { return pow(x, exponent); }

#endif
