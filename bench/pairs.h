/* SPDX-License-Identifier: MIT */
/*
 * pairs.h - what the patterns of pairs.c have in common: a worker, which is one
 * thread's part of a run, and blocks of the fixed size, from malloc or from an
 * object cache of the preloaded library.
 *
 * A pattern is a function that does some thousand operations and counts them;
 * it is called until pairs_stopped.  An operation is an alloc or a free.
 */
#ifndef BENCH_PAIRS_H
#define BENCH_PAIRS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <umem.h>

#include "common.h"

#define BLOCK_SIZE 256 /* a middling object; every peer has a class for it */
/* Pairs between two looks at pairs_stopped: some 10 us of the fastest allocator. */
#define BATCH 1024

/* Aligned: two lines, which processors fetch together, are one thread's alone. */
struct worker {
    _Alignas(128) pthread_t w_thread;
    size_t w_live;          /* blocks alive at a time */
    size_t w_at;            /* where a pattern has got to in its slots */
    _Atomic uint64_t w_ops; /* done; written by one thread, read by main */
    uint64_t w_random;
    void **w_slots;
    _Atomic(void *) *w_pipe; /* pointers under way to the partner */
    _Atomic bool w_done;     /* nothing more will come */
};

struct pattern {
    const char *name;
    size_t live;
    bool filled; /* the slots hold blocks of BLOCK_SIZE from the start */
    bool fixed;  /* all blocks are of BLOCK_SIZE: object caches can serve it */
    void (*batch)(struct worker *);
    void *(*partner)(void *); /* a second thread of each worker, or NULL */
};

extern const struct pattern patterns_local[];
extern const struct pattern patterns_shared[];

extern _Atomic bool pairs_stopped;
extern umem_cache_t *pairs_cache;
extern void *(*pairs_cache_alloc)(umem_cache_t *, int);
extern void (*pairs_cache_free)(umem_cache_t *, void *);

static inline void *
block_alloc(void)
{
    if (pairs_cache == NULL)
        return must_malloc(BLOCK_SIZE);
    char *block = pairs_cache_alloc(pairs_cache, UMEM_DEFAULT);
    if (block == NULL)
        abort();
    *(volatile char *)block = 1;
    return block;
}

static inline void
block_free(void *block)
{
    if (pairs_cache != NULL)
        pairs_cache_free(pairs_cache, block);
    else
        free(block);
}

static inline void
count_ops(struct worker *w, uint64_t ops)
{
    uint64_t done = atomic_load_explicit(&w->w_ops, memory_order_relaxed);
    atomic_store_explicit(&w->w_ops, done + ops, memory_order_relaxed);
}

#endif
