/* SPDX-License-Identifier: MIT */
/*
 * twin.h - the twin of a cache: a cache of the same objects under debugging,
 * from which allocations come while auditing is switched on (audit.h).
 *
 * A program that was started plain has no room beside its blocks for what an
 * audit records, and what is out stays where it is.  So a cache that is to be
 * audited gets a twin, whose slabs have sidecars, and its windows are diverted
 * (magazine/tcache.h): alloc comes to the slow path, which asks the twin.  A
 * block always goes back to the cache that it came from.  free() finds that by
 * the page map, in which a twin's slabs belong to bin 0.  umem_cache_free() is
 * told another cache, so there the side of free is diverted too, from before
 * the twin hands out anything until all that it has handed out is back.
 *
 * A twin is a cache like any other for all else: it is on umem_caches, is
 * reaped, and is what reports and the analyser name.  It lives as long as its
 * original, for the next time; empty it holds no slab.
 *
 * Under audit_lock: which twins there are, which one is active.
 */
#ifndef UMEM_TWIN_H
#define UMEM_TWIN_H

#include "cache/cache.h"

/* Allocations of cp come from a twin from now on that has flags (UMF_*); audit_lock is held. */
bool umem_twin_start(struct umem_cache *cp, uint32_t flags);
/* They do no more; audit_lock is held. */
void umem_twin_stop(struct umem_cache *cp);
/*
 * Of a cache that has no active twin: opens those sides of its windows that
 * may be open; audit_lock is held.
 */
void umem_twin_settle(struct umem_cache *cp);

static inline struct umem_cache *
umem_twin_first(struct umem_cache *cp)
{
    return atomic_load_explicit(&cp->cache_twins, memory_order_acquire);
}

struct umem_cache *umem_twin_enter_slow(struct umem_cache *cp, size_t requested);
/*
 * The twin that this allocation is to come from, or NULL: the cache itself.  To
 * be left afterwards.
 */
static inline struct umem_cache *
umem_twin_enter(struct umem_cache *cp, size_t requested)
{
    if (UMEM_LIKELY(atomic_load_explicit(&cp->cache_active, memory_order_relaxed) == NULL))
        return NULL;
    return umem_twin_enter_slow(cp, requested);
}
void umem_twin_leave(struct umem_cache *twin);

struct umem_cache *umem_twin_of_slow(struct umem_cache *cp, const void *obj);
/* Whichever of cp and its twins has obj; cp where none has. */
static inline struct umem_cache *
umem_twin_of(struct umem_cache *cp, const void *obj)
{
    return UMEM_LIKELY(umem_twin_first(cp) == NULL) ? cp : umem_twin_of_slow(cp, obj);
}

#endif
