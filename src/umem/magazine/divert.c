/* SPDX-License-Identifier: MIT */
/*
 * divert.c - bins whose windows stay closed on one side, and the threads that
 * are exempt from that.
 *
 * To close a side needs no handshake with the owner, as a sweep does (sweep.c):
 * nothing is taken from it.  An owner that has not seen the side close makes
 * its operation in the window, as it could have made it a moment before.  Which
 * sides are closed is the depot's to say; under tc_lock the owner opens its
 * windows by that (tcache_open()), and here they are set in all thread caches
 * after it has changed.
 *
 * A bin that is diverted on both sides looks to the sweep as one that it has
 * closed itself, and is given back or opened by the same rule.
 *
 * Locks: umem_tcaches_lock for the chosen threads and for depot_diverted, which
 * is read under any tc_lock too; then tc_lock of each thread cache.
 */
#include <string.h>

#include "magazine/tcache.h"
#include "os/os.h"

static uint32_t chosen[TCACHE_CHOSEN_MAX];
static unsigned chosen_count; /* 0: no thread is exempt */

void
tcache_open(const struct tcache *tc, struct tbin *b)
{
    const struct depot *depot = tcache_depot[b - tc->tc_bin];
    struct magazine *mag = b->bin_loaded;
    unsigned closed = atomic_load_explicit(&depot->depot_diverted, memory_order_relaxed);
    void **base = mag->mag_round, **limit = mag->mag_round + mag->mag_size;

    if (UMEM_UNLIKELY(closed != 0)) {
        if ((closed & TCACHE_ALLOC_SIDE) != 0 &&
            !atomic_load_explicit(&tc->tc_exempt, memory_order_relaxed))
            base = TCACHE_BASE_CLOSED;
        if ((closed & TCACHE_FREE_SIDE) != 0)
            limit = TCACHE_LIMIT_CLOSED;
    }
    __atomic_store_n(&b->bin_base, base, __ATOMIC_RELAXED);
    __atomic_store_n(&b->bin_limit, limit, __ATOMIC_RELAXED);
}

UMEM_COLD void
tcache_divert(unsigned bin, unsigned sides)
{
    umem_lock_acquire(&umem_tcaches_lock);
    atomic_store_explicit(&tcache_depot[bin]->depot_diverted, (uint8_t)sides, memory_order_relaxed);
    UMEM_LIST_FOR (node, &umem_tcaches) {
        struct tcache *tc = UMEM_CONTAINER_OF(node, struct tcache, tc_link);
        if (bin >= tc->tc_bins)
            continue;
        umem_lock_acquire(&tc->tc_lock);
        if (tc->tc_bin[bin].bin_loaded != NULL)
            tcache_open(tc, &tc->tc_bin[bin]);
        umem_lock_release(&tc->tc_lock);
    }
    umem_lock_release(&umem_tcaches_lock);
}

static bool
is_exempt(uint32_t thread)
{
    bool named = false;

    for (unsigned i = 0; i < chosen_count; i++)
        named |= chosen[i] == thread;
    return chosen_count > 0 && !named;
}

void
tcache_choose(struct tcache *tc)
{
    atomic_store_explicit(&tc->tc_exempt, is_exempt(tc->tc_thread), memory_order_relaxed);
}

UMEM_COLD void
tcache_choose_threads(const uint32_t *ids, unsigned n)
{
    umem_lock_acquire(&umem_tcaches_lock);
    if (n > 0)
        memcpy(chosen, ids, n * sizeof(*ids));
    chosen_count = n;
    UMEM_LIST_FOR (node, &umem_tcaches)
        tcache_choose(UMEM_CONTAINER_OF(node, struct tcache, tc_link));
    umem_lock_release(&umem_tcaches_lock);
}

UMEM_COLD bool
tcache_is_exempt(void)
{
    if (UMEM_LIKELY(tcache_is_live(tcache_self)))
        return atomic_load_explicit(&tcache_self->tc_exempt, memory_order_relaxed);
    umem_lock_acquire(&umem_tcaches_lock);
    bool exempt = chosen_count > 0 && is_exempt(os_thread_id());
    umem_lock_release(&umem_tcaches_lock);
    return exempt;
}
