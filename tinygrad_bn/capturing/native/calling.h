/* How Python calls a program: with NumPy's arrays as they are. Where they lie is found here, in a few nanoseconds. */
#ifndef TINYGRAD_BN_CALLING_H
#define TINYGRAD_BN_CALLING_H

#include "runtime.h"

/* An array, behind the head that all of Python's objects have: part of the binary interface that NumPy promises. */
struct array {
    char *data;
    int axes;
    const intptr_t *shape, *strides;
    void *base, *dtype;
    int flags;
};
enum { BY_ROWS = 0x0001, ALIGNED = 0x0100 };

struct call {
    void **given;          /* the pointers that the program works with */
    const void *kind;      /* the type of arrays */
    int64_t head;          /* how long the head of an object is, in bytes; it ends with the type */
    int64_t written_count; /* the stretches of memory that the program writes to, each with its beginning and its end */
    char *const (*written)[2];
};

/* Lets the program read an array of so many bytes where it lies, unless that is not row by row or may be written to. */
static inline int found(const struct call *call, const char *object, long nbytes, int place) {
    const struct array *array = (const void *)(object + call->head);
    if (((const void *const *)array)[-1] != call->kind || (~array->flags & (BY_ROWS | ALIGNED))) return 0;
    for (long i = 0; i < call->written_count; i++)
        if (array->data < call->written[i][1] && array->data + nbytes > call->written[i][0]) return 0;
    call->given[place] = array->data;
    return 1;
}

#endif
