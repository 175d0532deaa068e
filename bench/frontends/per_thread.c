/* SPDX-License-Identifier: MIT */
/*
 * per_thread.c - front end T, as src/umem/magazine/tcache.h has it: a record,
 * found by an initial-exec TLS pointer, with a window (cur, base, limit) on the
 * loaded magazine and a previous one.  Plain loads and stores.
 *
 * Both operations begin with a mark: alloc takes one from a credit, free adds
 * one to a count.  Marks and cur together tell another thread whether an
 * operation is under way, which is what it takes to empty a window from outside.
 */
#include "frontends.h"

#ifdef FRONTENDS_SUPPORTED

#include <stdatomic.h>

#define CREDIT (1 << 20) /* allocations between two visits of the slow path for their own sake */

struct tcache {
    void **t_cur, **t_base, **t_limit;
    int64_t t_credit;
    uint64_t t_frees;
    struct magazine *t_loaded, *t_previous;
} __attribute__((aligned(64)));

static __thread __attribute__((tls_model("initial-exec"))) struct tcache *tcache_self;
static struct tcache tcaches[THREADS_MAX];

/* A mark is stored before the window is looked at; membarrier() does the CPU's half of it. */
static inline void
marked(void)
{
    atomic_signal_fence(memory_order_seq_cst);
}

static void
t_swap(struct tcache *t)
{
    struct magazine *mag = t->t_previous;
    t->t_previous = t->t_loaded;
    if (t->t_loaded != NULL)
        t->t_loaded->mag_rounds = (size_t)(t->t_cur - t->t_base);
    t->t_loaded = mag;
    t->t_base = mag->mag_round;
    t->t_limit = mag->mag_round + ROUNDS;
    t->t_cur = mag->mag_round + mag->mag_rounds;
}

static __attribute__((noinline)) void *
t_alloc_slow(struct tcache *t)
{
    if (t->t_credit < 0)
        t->t_credit = CREDIT;
    if (t->t_cur == t->t_base) {
        if (t->t_previous == NULL || t->t_previous->mag_rounds == 0) {
            struct magazine *full = back_get_full(t->t_previous);
            if (full == NULL)
                return back_object();
            full->mag_rounds = ROUNDS;
            t->t_previous = full;
        }
        t_swap(t);
    }
    return *--t->t_cur;
}

static __attribute__((noinline)) void *
t_alloc(void)
{
    struct tcache *t = tcache_self;
    if (!LIKELY(--t->t_credit >= 0))
        return t_alloc_slow(t);
    marked();
    void **cur = t->t_cur;
    if (!LIKELY(cur != t->t_base))
        return t_alloc_slow(t);
    void *obj = *--cur;
    t->t_cur = cur;
    return obj;
}

static __attribute__((noinline)) void
t_free_slow(struct tcache *t, void *obj)
{
    if (t->t_previous == NULL || t->t_previous->mag_rounds != 0) {
        t->t_previous = back_get_empty(t->t_previous);
        t->t_previous->mag_rounds = 0;
    }
    t_swap(t);
    *t->t_cur++ = obj;
}

static __attribute__((noinline)) void
t_free(void *obj)
{
    struct tcache *t = tcache_self;
    t->t_frees++;
    marked();
    void **cur = t->t_cur;
    if (!LIKELY(cur != t->t_limit)) {
        t_free_slow(t, obj);
        return;
    }
    *cur = obj;
    atomic_signal_fence(memory_order_release);
    t->t_cur = cur + 1;
}

static void
t_begin(size_t thread)
{
    tcache_self = &tcaches[thread];
}

static void
t_end(void)
{
    struct tcache *t = tcache_self;
    if (t->t_loaded != NULL) {
        back_loose(t->t_base, (size_t)(t->t_cur - t->t_base));
        back_put(t->t_loaded, false);
    }
    if (t->t_previous != NULL)
        back_put(t->t_previous, t->t_previous->mag_rounds != 0);
    *t = (struct tcache){0};
}

static size_t
t_cached(void)
{
    size_t rounds = 0;
    for (struct tcache *t = tcaches; t < tcaches + THREADS_MAX; t++)
        rounds += (size_t)(t->t_cur - t->t_base) +
                  (t->t_previous != NULL ? t->t_previous->mag_rounds : 0);
    return rounds;
}

const struct front per_thread = {'T', t_alloc, t_free, t_begin, t_end, t_cached};

#endif
