/* SPDX-License-Identifier: MIT */
/*
 * trim.c - umem_cache_trim(): what one cache keeps constructed is bounded by
 * whoever made it, by number or by how long it lay unused.
 *
 * Beside reap.c, which gives back what the working set of every cache does not
 * need.  Destructors run here, under reap_lock and no other lock.
 */
#include <errno.h>

#include "cache/cache.h"
#include "cache/reserve.h"

/* What this thread's own magazines hold of the cache. */
static void
flush_own_bin(const struct umem_cache *cp)
{
    struct tcache *tc = tcache_self;

    if (!tcache_is_live(tc) || cp->cache_slow_bin == 0 || cp->cache_slow_bin >= tc->tc_bins)
        return;
    umem_lock_acquire(&tc->tc_lock);
    tcache_flush_bin(tc, cp->cache_slow_bin);
    umem_lock_release(&tc->tc_lock);
}

UMEM_EXPORT size_t
umem_cache_trim(umem_cache_t *cp, size_t keep, int flags)
{
    bool idle = (flags & UMEM_TRIM_IDLE) != 0;
    struct magazine *chain;
    int saved = errno;

    if (atomic_load_explicit(&cp->cache_reserve, memory_order_acquire) != NULL ||
        depot_is_pinned(&cp->cache_depot) || !umem_reap_exclude())
        return 0; /* sealed, reserved, or called from a destructor */
    if (keep == 0 && !idle)
        flush_own_bin(cp);
    size_t taken = depot_take_oldest(&cp->cache_depot, keep, idle, &chain);
    umem_cache_empty_magazines(cp, chain);
    if (taken > 0 || keep == 0)
        (void)slab_pool_reap(&cp->cache_slabs, 0);
    umem_reap_admit(true);
    errno = saved;
    return taken;
}
