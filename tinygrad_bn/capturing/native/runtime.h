/* What every native program stands on: products of matrices, by NumPy's BLAS or by loops of our own, and its threads. */
#ifndef TINYGRAD_BN_RUNTIME_H
#define TINYGRAD_BN_RUNTIME_H

#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

/* What a program may call: the BLAS, whose integers have so many bits, and the threads that it multiplies with.
 * An address is 0 where there is nothing. */
static struct host {
    int64_t bits;
    void *gemm_float, *gemm_double, *get_threads, *run_in_threads;
} host;

/* Called once, before anything else: otherwise every product is our own loop, and every loop the caller's. */
EXPORT void set_host(const struct host *found) { host = *found; }

/* A loop over these arrays: its passes from `first` up to `last`, of which none needs to know of another. */
typedef void loop(void *const *arrays, long first, long last);

/* A loop that threads share: whoever is free takes the next part, so that each is taken once, whoever comes late. */
struct shared {
    loop *body;
    void *const *arrays;
    long count, grain, parts;
    _Atomic long taken;
};

static inline long start_of(const struct shared *job, long part) {
    const long grains = (job->count + job->grain - 1) / job->grain, first = grains * part / job->parts * job->grain;
    return first < job->count ? first : job->count;
}

static void take_parts(void *data) {
    struct shared *job = data;
    for (long part; (part = atomic_fetch_add(&job->taken, 1)) < job->parts;)
        job->body(job->arrays, start_of(job, part), start_of(job, part + 1));
}

/* All `count` passes, in parts of whole grains, by the threads of the BLAS. They wait for the next product anyway, and
 * threads of our own would fight them for the cores. */
static inline void share(loop *body, long count, long grain, void *const *arrays) {
    long threads = host.run_in_threads ? ((int (*)(void))host.get_threads)() : 1;
    if (threads > count / grain) threads = count / grain;
    struct shared job = {body, arrays, count, grain, threads, 0};
    if (threads > 1)
        ((int (*)(int, void (*)(void *), void *, int))host.run_in_threads)((int)threads, take_parts, &job, 0);
    else
        body(arrays, 0, count);
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

/* The work of a product is m n k. With a turned right matrix, which a BLAS is slow to copy, it is our own up to this
 * figure, beyond which two threads of the BLAS are faster. */
#define OWN_PRODUCT (1L << 20)

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
