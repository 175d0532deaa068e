/* SPDX-License-Identifier: MIT */
/*
 * pairs_shared.c - patterns of pairs.c in which a thread frees what another one
 * allocated: "pipe", where each producer has a consumer, and "server", where
 * threads hand their blocks to successors and end, after P. Larson's and
 * M. Krishnan's model of a server ("Memory Allocation for Long-Running Server
 * Applications", ISMM 1998).
 */
#include <sched.h>

#include "pairs.h"

#define PIPE_SLOTS 1024 /* pointers under way from producer to consumer */

/* "server": blocks a thread, of 16 to 1,000 bytes. */
#define SERVER_SLOTS 500
#define SERVER_MIN 16
#define SERVER_SPREAD 985
/* Batches of a thread's life: 20,000 pairs, beside which its start is small. */
#define SERVER_LIFE 20

static void
batch_produce(struct worker *w)
{
    for (size_t i = 0; i < BATCH; i++) {
        _Atomic(void *) *slot = &w->w_pipe[w->w_at];
        void *block = block_alloc();
        while (atomic_load_explicit(slot, memory_order_relaxed) != NULL)
            sched_yield();
        atomic_store_explicit(slot, block, memory_order_release);
        w->w_at = (w->w_at + 1) % PIPE_SLOTS;
    }
    count_ops(w, 2 * BATCH);
}

/* What the producer put before it was done has been seen once a slot is empty. */
static void *
consume(void *arg)
{
    struct worker *w = arg;
    for (size_t n = 0;; n = (n + 1) % PIPE_SLOTS) {
        _Atomic(void *) *slot = &w->w_pipe[n];
        void *block;
        while ((block = atomic_load_explicit(slot, memory_order_acquire)) == NULL) {
            if (atomic_load(&w->w_done) && atomic_load(slot) == NULL)
                return NULL;
            sched_yield();
        }
        atomic_store_explicit(slot, NULL, memory_order_release);
        block_free(block);
    }
}

/* A thread of the server: replaces blocks at random, its predecessor's first. */
static void *
serve(void *arg)
{
    struct worker *w = arg;
    for (int life = 0; life < SERVER_LIFE; life++) {
        if (atomic_load_explicit(&pairs_stopped, memory_order_relaxed))
            break;
        for (size_t i = 0; i < BATCH; i++) {
            size_t at = random_below(&w->w_random, w->w_live);
            free(w->w_slots[at]);
            w->w_slots[at] = must_malloc(SERVER_MIN + random_below(&w->w_random, SERVER_SPREAD));
        }
        count_ops(w, 2 * BATCH);
        sched_yield(); /* as pairs.c does for a crowd */
    }
    return NULL;
}

/* One life.  The worker itself only waits; its successors are the server. */
static void
batch_server(struct worker *w)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, serve, w) != 0)
        abort();
    pthread_join(thread, NULL);
}

const struct pattern patterns_shared[] = {
    {"pipe", PIPE_SLOTS, false, true, batch_produce, consume},
    {"server", SERVER_SLOTS, false, false, batch_server, NULL},
    {0},
};
