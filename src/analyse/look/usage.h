/* SPDX-License-Identifier: MIT */
/*
 * usage.h - how much each cache has in use, free and in all.  Buffers are
 * counted from the slabs and magazines themselves; allocations and failures are
 * the library's own statistics.
 */
#ifndef ANALYSE_LOOK_USAGE_H
#define ANALYSE_LOOK_USAGE_H

#include "heap/heap.h"

struct usage_row {
    const char *use_name;
    uint64_t use_bufsize; /* 0: any */
    uint64_t use_inuse;
    uint64_t use_cached;
    uint64_t use_total;
    uint64_t use_bytes; /* of slabs */
    uint64_t use_allocs;
    uint64_t use_fails;
};

struct usage_row usage_of_cache(const struct heap_cache *cache);
/* Blocks that have no cache; the heap's arena counts their allocations among others. */
struct usage_row usage_of_oversize(const struct heap *h);
void usage_add(struct usage_row *sum, const struct usage_row *row);
/* Whether the cache was ever used. */
bool usage_is_used(const struct usage_row *row);

#endif
