/* SPDX-License-Identifier: MIT */
/*
 * top.h - the usage of a heap at one moment, by cache and by allocating place,
 * and how it changed since the moment before.
 */
#ifndef ANALYSE_LOOK_TOP_H
#define ANALYSE_LOOK_TOP_H

#include "heap/heap.h"

struct top_row {
    char row_cache[HEAP_NAME_SIZE];
    uint32_t row_stack;   /* of a place: recorded stack, 0 none */
    uint64_t row_bufsize; /* of a cache */
    uint64_t row_buffers; /* in use */
    uint64_t row_bytes;   /* of them */
    uint64_t row_memory;  /* of a cache: its slabs */
    uint64_t row_allocs;  /* of a cache: so far */
    /* Since the moment before; 0 in the first. */
    int64_t row_more_buffers;
    int64_t row_more_bytes;
    int64_t row_more_allocs;
};

struct top_table {
    struct top_row *top_rows; /* by bytes in use, the most first */
    size_t top_count;
};

struct top {
    struct top_table top_caches; /* those that were used */
    struct top_table top_sites;  /* none where nothing is audited */
    struct top_row top_sum;      /* of the caches */
    uint64_t top_time;           /* on the target's clock, ns */
};

/* before: an earlier moment of the same process, or NULL.  -1: no memory. */
int top_take(struct heap *h, const struct top *before, struct top *top);
void top_fini(struct top *top);

#endif
