/* SPDX-License-Identifier: MIT */
/*
 * sweep.c - magazines of bins that lie idle go back to their depots, also where
 * the thread that owns them sleeps for good.
 *
 * The owner takes no lock on its fast path, so it has to be caught between two
 * operations.  Its marks are stored before it looks at the window (tcache.h).
 * Here the window is closed first, then every running thread of the process
 * passes a memory barrier (membarrier(2)), then the marks are read:
 *
 *  - Where the owner's mark came before its barrier, we see it.  If the window
 *    has not followed yet, the marks do not account for it, and the bin is left
 *    as it was.
 *  - Where its barrier came first, it finds the window closed, goes to the slow
 *    path and waits there for tc_lock, which we hold.
 *
 * This is Dekker's handshake with the cost of the fence on one side only, as
 * with "asymmetric fences" (P1202, Goldblatt) or hazard pointers in Folly.
 * Without membarrier(2), idle bins wait for their threads.
 */
#include "magazine/tcache.h"
#include "os/os.h"

static uint32_t
marks(const struct tbin *b)
{
    return __atomic_load_n(&b->bin_frees, __ATOMIC_RELAXED) -
           (uint32_t)__atomic_load_n(&b->bin_credit, __ATOMIC_RELAXED);
}

static bool
holds_something(const struct tbin *b)
{
    return b->bin_loaded != NULL || b->bin_previous != NULL;
}

static bool
is_idle(const struct tbin *b, unsigned bin)
{
    const struct depot *depot = tcache_depot[bin];

    return holds_something(b) && b->bin_seen == marks(b) && depot != NULL &&
           !depot_is_pinned(depot);
}

/* Closes the windows of idle bins, notes the marks of others.  Returns how many are idle. */
static unsigned
close_idle(struct tcache *tc)
{
    unsigned idle = 0;

    for (unsigned bin = 1; bin < tc->tc_bins; bin++) {
        struct tbin *b = &tc->tc_bin[bin];
        if (is_idle(b, bin)) {
            __atomic_store_n(&b->bin_base, TCACHE_BASE_CLOSED, __ATOMIC_RELAXED);
            __atomic_store_n(&b->bin_limit, TCACHE_LIMIT_CLOSED, __ATOMIC_RELAXED);
            idle++;
        } else if (b->bin_seen != marks(b)) { /* not to dirty what is unused */
            b->bin_seen = marks(b);
        }
    }
    return idle;
}

/* Takes what is in closed bins whose owner is not at them, and opens the others again. */
static void
settle_closed(struct tcache *tc, bool ordered)
{
    for (unsigned bin = 1; bin < tc->tc_bins; bin++) {
        struct tbin *b = &tc->tc_bin[bin];
        /* One side alone is closed where the bin is diverted. */
        if (b->bin_base != TCACHE_BASE_CLOSED || b->bin_limit != TCACHE_LIMIT_CLOSED ||
            !holds_something(b))
            continue;
        if (ordered && tcache_is_quiet(b))
            tcache_flush_bin(tc, bin);
        else if (b->bin_loaded != NULL)
            tcache_open(tc, b);
    }
}

static void
sweep_one(struct tcache *tc)
{
    if (!umem_lock_try(&tc->tc_lock))
        return; /* its owner is at work */
    /* Of our own bins we know the order. */
    if (close_idle(tc) > 0)
        settle_closed(tc, tc == tcache_self || os_barrier());
    umem_lock_release(&tc->tc_lock);
}

bool
tcache_sweep(unsigned max)
{
    static uint32_t round = 1; /* under umem_tcaches_lock */
    bool more = true;

    umem_lock_acquire(&umem_tcaches_lock);
    for (unsigned n = 0; n < max && more; n++) {
        struct umem_list *node = umem_tcaches.next;
        struct tcache *tc = UMEM_CONTAINER_OF(node, struct tcache, tc_link);
        if (node == &umem_tcaches || tc->tc_swept == round) {
            round++;
            more = false;
        } else {
            sweep_one(tc);
            tc->tc_swept = round;
            /* To the end of the list: the next call goes on behind it. */
            umem_list_remove(node);
            umem_list_push_back(&umem_tcaches, node);
        }
    }
    umem_lock_release(&umem_tcaches_lock);
    return more;
}
