/* SPDX-License-Identifier: MIT */
/*
 * pairs_local.c - patterns of pairs.c in which a thread frees what it allocated
 * itself: in last-in-first-out, first-in-first-out and random order, in batches,
 * in waves that grow and shrink the heap, and of large blocks.
 */
#include "pairs.h"

/* "batches": so many blocks at most, then all are freed. */
#define BATCHES_MAX 2000

/* "grow": waves of so many blocks, 12.5 MiB of the fixed size a thread. */
#define GROW_BLOCKS 50000
/* "grow-mixed": sizes of 16 bytes to 8 KiB, 900 bytes on average. */
#define MIXED_BLOCKS 20000
#define MIXED_LOW 4
#define MIXED_HIGH 13

/* "large": blocks of 5 to 25 MB, touched at every page, some of them live. */
#define LARGE_SLOTS 8
#define LARGE_MIN (5 * MIB)
#define LARGE_SPREAD (20 * MIB)

static void
batch_lifo(struct worker *w)
{
    size_t rounds = BATCH / w->w_live;
    for (size_t i = 0; i < rounds; i++) {
        for (size_t j = 0; j < w->w_live; j++)
            w->w_slots[j] = block_alloc();
        for (size_t j = w->w_live; j-- > 0;)
            block_free(w->w_slots[j]);
    }
    count_ops(w, 2 * rounds * w->w_live);
}

static void
batch_fifo(struct worker *w)
{
    size_t at = w->w_at;
    for (size_t i = 0; i < BATCH; i++) {
        block_free(w->w_slots[at]);
        w->w_slots[at] = block_alloc();
        if (++at == w->w_live)
            at = 0;
    }
    w->w_at = at;
    count_ops(w, 2 * BATCH);
}

static void
batch_random(struct worker *w)
{
    for (size_t i = 0; i < BATCH; i++) {
        size_t at = random_below(&w->w_random, w->w_live);
        block_free(w->w_slots[at]);
        w->w_slots[at] = block_alloc();
    }
    count_ops(w, 2 * BATCH);
}

static void
batch_batches(struct worker *w)
{
    size_t n = 1 + random_below(&w->w_random, w->w_live);
    for (size_t i = 0; i < n; i++)
        w->w_slots[i] = block_alloc();
    for (size_t i = 0; i < n; i++)
        block_free(w->w_slots[i]);
    count_ops(w, 2 * n);
}

/* One step of a wave: w_at counts up through allocations, then through frees. */
static void
batch_grow(struct worker *w)
{
    for (size_t i = 0; i < BATCH; i++) {
        if (w->w_at < w->w_live)
            w->w_slots[w->w_at] = block_alloc();
        else
            block_free(w->w_slots[w->w_at - w->w_live]);
        if (++w->w_at == 2 * w->w_live)
            w->w_at = 0;
    }
    count_ops(w, BATCH);
}

static void
batch_grow_mixed(struct worker *w)
{
    for (size_t i = 0; i < BATCH; i++) {
        if (w->w_at < w->w_live)
            w->w_slots[w->w_at] = must_malloc(random_size(&w->w_random, MIXED_LOW, MIXED_HIGH));
        else
            free(w->w_slots[w->w_at - w->w_live]);
        if (++w->w_at == 2 * w->w_live)
            w->w_at = 0;
    }
    count_ops(w, BATCH);
}

static void
batch_large(struct worker *w)
{
    size_t at = random_below(&w->w_random, w->w_live);
    size_t size = LARGE_MIN + random_below(&w->w_random, LARGE_SPREAD);
    free(w->w_slots[at]);
    char *block = must_malloc(size);
    for (size_t i = 0; i < size; i += PAGE)
        *(volatile char *)(block + i) = 1;
    w->w_slots[at] = block;
    count_ops(w, 2);
}

const struct pattern patterns_local[] = {
    {"lifo-32", 32, false, true, batch_lifo, NULL},
    {"lifo-1000", 1000, false, true, batch_lifo, NULL},
    {"fifo-32", 32, true, true, batch_fifo, NULL},
    {"fifo-1000", 1000, true, true, batch_fifo, NULL},
    {"fifo-50000", 50000, true, true, batch_fifo, NULL},
    {"random-50000", 50000, true, true, batch_random, NULL},
    {"batches", BATCHES_MAX, false, true, batch_batches, NULL},
    {"grow", GROW_BLOCKS, false, true, batch_grow, NULL},
    {"grow-mixed", MIXED_BLOCKS, false, false, batch_grow_mixed, NULL},
    {"large", LARGE_SLOTS, false, false, batch_large, NULL},
    {0},
};
