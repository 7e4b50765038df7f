/* What every native program stands on: the products of matrices, by NumPy's BLAS or by loops of our own. */
#ifndef TINYGRAD_BN_RUNTIME_H
#define TINYGRAD_BN_RUNTIME_H

#include <stdint.h>
#include <string.h>

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

/* Part of a loop: its passes from `first` up to `last`. */
typedef void loop(void *data, long first, long last);

/* What a program may call: the BLAS, whose integers have so many bits, and the threads that share its loops.
 * An address is 0 where there is nothing. */
static struct host {
    int64_t bits;
    void *gemm_float, *gemm_double, *gemv_float, *gemv_double, *get_threads, *set_threads, *share;
} host;

/* Called once, before anything else: otherwise every product is our own loop, and every loop the caller's. */
EXPORT void set_host(const struct host *found) { host = *found; }

/* body(data, first, last) for parts of [0, count), none much shorter than `grain`, by all threads there are. */
static inline void parallel_for(long count, long grain, loop *body, void *data) {
    if (host.share) ((void (*)(long, long, loop *, void *))host.share)(count, grain, body, data);
    else body(data, 0, count);
}

/* Lets the BLAS use so many threads from now on, in the whole process; gives how many it were, or 0 if unknown. */
static inline int blas_threads(int count) {
    if (!host.get_threads || !host.set_threads) return 0;
    const int before = ((int (*)(void))host.get_threads)();
    if (count > 0 && count != before) ((void (*)(int))host.set_threads)(count);
    return before;
}

/* The widest vector of this machine, in bytes: a tile is one vector wide, and its sums fill eight registers. */
#if defined(__AVX512F__)
enum { VECTOR_BYTES = 64 };
#elif defined(__AVX__)
enum { VECTOR_BYTES = 32 };
#else
enum { VECTOR_BYTES = 16 };
#endif
enum { TILE_ROWS = 8, TILE_DEPTH = 256 };

/* The work of a product is m n k. With a turned right matrix, which a BLAS is slow to copy, it is our own up to the
 * first figure, beyond which two threads of the BLAS are faster; each thread of ours has at least the second. */
#define OWN_PRODUCT (1L << 20)
#define SHARED_PRODUCT (1L << 21)

#if defined(__clang__)
#define UNROLLED _Pragma("clang loop unroll(full)")
#define ONE_COPY __attribute__((noinline))
#else
#define ONE_COPY __attribute__((noinline, noclone)) /* copies for other arguments take long to compile */
#define UNROLLED _Pragma("GCC unroll 16")
#endif

/* The first or last halves of two vectors of four, in turn: at = 0 gives a0 b0 a1 b1, at = 2 gives a2 b2 a3 b3. */
#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define INTERLEAVED(a, b, at) __builtin_shufflevector(a, b, at, at + 4, at + 1, at + 5)
#endif
#endif

#define REAL float
#define NAMED(name) name##_float
#include "products.h"
#undef REAL
#undef NAMED

#define REAL double
#define NAMED(name) name##_double
#include "products.h"
#undef REAL
#undef NAMED

#endif
