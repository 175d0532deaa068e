/* SPDX-License-Identifier: MIT */
/*
 * sizes.h - how large the live blocks are, as asked for, and what the caches
 * that serve them add to that.
 */
#ifndef ANALYSE_LOOK_SIZES_H
#define ANALYSE_LOOK_SIZES_H

#include "heap/heap.h"

struct size_count {
    uint64_t siz_size;
    uint64_t siz_count;
};

struct cache_overhead {
    uint32_t ovh_cache;     /* index, NO_CACHE for oversize blocks */
    uint64_t ovh_buffers;   /* live */
    uint64_t ovh_requested; /* bytes of them, as asked for */
    uint64_t ovh_memory;    /* bytes of slabs */
};

struct sizes {
    struct size_count *siz_list; /* each size once, ascending */
    size_t siz_list_count;
    struct cache_overhead *siz_caches; /* those with buffers or memory */
    size_t siz_cache_count;
    uint64_t siz_buffers;
    uint64_t siz_bytes;
    uint64_t siz_unrecorded; /* buffers of which only the buffer's own size is known */
};

/* Of this cache, or of all (NULL) that malloc and umem_alloc use.  -1: no memory. */
int sizes_find(struct heap *h, const char *cache, struct sizes *sizes);
void sizes_fini(struct sizes *sizes);

struct size_bin { /* sizes from bin_low to bin_high */
    uint64_t bin_low;
    uint64_t bin_high;
    uint64_t bin_count;
    uint64_t bin_bytes;
};
#define SIZE_BINS_MAX 256

struct size_bins_options {
    unsigned bno_max;   /* bins at most; 0: 16 */
    uint64_t bno_width; /* the narrowest bin, bytes; 0: 1 */
    bool bno_geometric; /* each from the second on twice as wide as the one before */
};
/* Sorts the sizes into bins without gaps; returns how many. */
size_t sizes_bins(const struct sizes *sizes, const struct size_bins_options *options,
                  struct size_bin *bins);
/* The largest count of these bins, at least 1: what the longest bar stands for. */
uint64_t sizes_most(const struct size_bin *bins, size_t count);

#endif
