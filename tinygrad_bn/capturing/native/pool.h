/* Threads that share loops. One library per process has them, whatever number of programs hand it their loops.
 *
 * A loop is cut into parts, and whoever is free takes the next one. The caller is one of the takers, so that a loop is
 * done even if no other thread ever wakes; a thread that has nothing to take spins for a moment and then sleeps. */
#include <stdatomic.h>
#include <stdint.h>

#include "runtime.h"

#if defined(_WIN32)

EXPORT int start(int threads) { return (void)threads, 1; }
EXPORT void share(long count, long grain, loop *body, void *data) { (void)grain, body(data, 0, count); }

#else

#include <pthread.h>

#if defined(__x86_64__) || defined(__i386__)
#define PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define PAUSE() __asm__ volatile("yield")
#else
#define PAUSE() ((void)0)
#endif

enum { SPINS = 4000, MOST_THREADS = 64, PARTS_PER_THREAD = 2 };

/* What is to be taken, in one word so that it changes at once: 32 bits count loops, 16 the parts, 16 those taken. */
static _Atomic uint64_t ticket;
static _Atomic long parts_done;
static _Atomic int sleepers;
static struct { long count, parts; loop *body; void *data; } job;
static int workers;
static pthread_mutex_t one_job = PTHREAD_MUTEX_INITIALIZER, bed = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t alarm_clock = PTHREAD_COND_INITIALIZER;

/* Takes parts until none is left. The job can be read between taking a part and reporting it, never else. */
static void take_parts(void) {
    uint64_t seen = atomic_load(&ticket);
    while ((seen & 0xffff) < (seen >> 16 & 0xffff)) {
        if (!atomic_compare_exchange_weak(&ticket, &seen, seen + 1)) continue;
        const long part = (long)(seen & 0xffff);
        job.body(job.data, job.count * part / job.parts, job.count * (part + 1) / job.parts);
        atomic_fetch_add(&parts_done, 1);
        seen = atomic_load(&ticket);
    }
}

static void *work(void *nothing) {
    uint32_t last = 0;
    for (;;) {
        for (int spin = 0; spin < SPINS && atomic_load(&ticket) >> 32 == last; spin++) PAUSE();
        if (atomic_load(&ticket) >> 32 == last) {
            pthread_mutex_lock(&bed);
            atomic_fetch_add(&sleepers, 1);
            while (atomic_load(&ticket) >> 32 == last) pthread_cond_wait(&alarm_clock, &bed);
            atomic_fetch_sub(&sleepers, 1);
            pthread_mutex_unlock(&bed);
        }
        last = (uint32_t)(atomic_load(&ticket) >> 32);
        take_parts();
    }
    return nothing;
}

/* A forked child has the caller's thread alone, which is enough. */
static void forget_workers(void) {
    workers = 0;
    atomic_store(&sleepers, 0);
    pthread_mutex_init(&one_job, NULL);
    pthread_mutex_init(&bed, NULL);
    pthread_cond_init(&alarm_clock, NULL);
}

/* From now on so many threads share a loop, the caller included, or more if there were; gives how many there are. */
EXPORT int start(int threads) {
    static int prepared;
    pthread_mutex_lock(&one_job);
    if (!prepared) prepared = !pthread_atfork(NULL, NULL, forget_workers);
    while (workers + 1 < threads && workers + 1 < MOST_THREADS) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, work, NULL)) break;
        pthread_detach(thread);
        workers++;
    }
    pthread_mutex_unlock(&one_job);
    return workers + 1;
}

/* body(data, first, last) for parts of [0, count), none much shorter than `grain`. A loop within a loop, or one beside
 * another caller's, is done by its caller alone. */
EXPORT void share(long count, long grain, loop *body, void *data) {
    if (!workers || count < 2 * grain || pthread_mutex_trylock(&one_job)) {
        body(data, 0, count);
        return;
    }
    const long most = (long)(workers + 1) * PARTS_PER_THREAD, fitting = grain > 0 ? count / grain : count;
    job.count = count, job.parts = fitting < most ? fitting : most, job.body = body, job.data = data;
    atomic_store(&parts_done, 0);
    atomic_store(&ticket, ((atomic_load(&ticket) >> 32) + 1) << 32 | (uint64_t)job.parts << 16);
    if (atomic_load(&sleepers)) {
        pthread_mutex_lock(&bed);
        pthread_cond_broadcast(&alarm_clock);
        pthread_mutex_unlock(&bed);
    }
    take_parts();
    while (atomic_load(&parts_done) < job.parts) PAUSE();
    pthread_mutex_unlock(&one_job);
}

#endif
