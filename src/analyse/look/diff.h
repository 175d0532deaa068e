/* SPDX-License-Identifier: MIT */
/*
 * diff.h - what of a heap grew and shrank between two targets, by the place
 * that allocated it, and how much of that nothing reaches any more.
 *
 * The two may be one process at two times, or two runs of a program: a place is
 * the cache and the stack, each frame by its module's name and the offset there,
 * wherever the module was loaded.  Without recorded stacks it is the cache.
 */
#ifndef ANALYSE_LOOK_DIFF_H
#define ANALYSE_LOOK_DIFF_H

#include "leaks/leaks.h"

struct diff_amount {
    uint64_t amt_count;
    uint64_t amt_bytes;
    uint64_t amt_leaked_count; /* of these, unreachable */
    uint64_t amt_leaked_bytes;
};

struct diff_row {
    const char *row_cache; /* belongs to the heap that row_stack is of */
    uint32_t row_stack;    /* recorded stack, 0: none */
    bool row_in_second;    /* of the second heap, else of the first */
    struct diff_amount row_before;
    struct diff_amount row_after;
};

struct diff_options {
    const char *dif_cache;  /* only this one, or NULL */
    uint64_t dif_min_bytes; /* leave out rows that changed by less */
};

struct diff {
    struct diff_row *dif_rows; /* those that changed: most grown first */
    size_t dif_count;
    struct diff_amount dif_before; /* of all that was looked at */
    struct diff_amount dif_after;
};

/* Both heaps just opened; they are added to as by leaks_find().  -1: no memory. */
int diff_find(struct heap *first, struct heap *second, const struct diff_options *options,
              struct diff *diff);
void diff_fini(struct diff *diff);

#endif
