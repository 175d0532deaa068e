/* SPDX-License-Identifier: MIT */
/*
 * reap.c - memory that the working set does not need goes back.
 *
 * No thread runs for this.  An update is due once a reap interval; the thread
 * that finds it so, on its way to a depot, measures the working sets and takes
 * a bounded step: what lay unused for an interval goes from depots to slabs,
 * half of the empty slabs go from the pools to the heap, and the pages of what
 * is free there, as between oversize blocks, to the system.  umem_reap() does
 * all of it at once.
 *
 * An update runs on some allocation's way, where the thread may hold any of
 * the program's locks: destructors are called on the way to their own cache
 * only, or from umem_reap().
 *
 * Lock: reap_lock (UMEM_RANK_REAP).  An allocation only ever tries it.
 * Destructors and reclaim functions run under it, but under no other lock, so
 * they may allocate, free, create and destroy caches.
 */
#include "cache/cache.h"
#include "debug/debug.h"
#include "os/os.h"

#define MS_PER_S 1000u
/* Magazines that one update takes from one depot: at 254 rounds some 100 us of work. */
#define UPDATE_MAGAZINES_MAX 16

static struct umem_lock reap_lock = UMEM_LOCK_INIT(UMEM_RANK_REAP);
static UMEM_TLS bool reaping; /* this thread holds reap_lock */
static _Atomic uint64_t next_update_ms;

static bool
try_reap_lock(void)
{
    if (reaping || !umem_lock_try(&reap_lock))
        return false;
    reaping = true;
    return true;
}

static void
release_reap_lock(void)
{
    reaping = false;
    umem_lock_release(&reap_lock);
}

bool
umem_reap_exclude(void)
{
    if (reaping)
        return false;
    umem_lock_acquire(&reap_lock);
    reaping = true;
    return true;
}

void
umem_reap_admit(bool excluded)
{
    if (excluded)
        release_reap_lock();
}

void
umem_reap_fork_child(void)
{
    if (!reaping)
        umem_lock_reset_child(&reap_lock);
}

/*
 * The n-th cache, or NULL past the last.  By position, since the list's lock
 * is dropped between two of them; reap_lock keeps the cache alive.
 */
static struct umem_cache *
nth_cache(size_t n)
{
    struct umem_cache *found = NULL;

    umem_lock_acquire(&umem_caches_lock);
    UMEM_LIST_FOR (node, &umem_caches) {
        if (n-- == 0) {
            found = UMEM_CONTAINER_OF(node, struct umem_cache, cache_link);
            break;
        }
    }
    umem_lock_release(&umem_caches_lock);
    return found;
}

static void
update_cache(struct umem_cache *cp)
{
    depot_update(&cp->cache_depot);
    umem_cache_empty_magazines(cp, depot_take_reapable(&cp->cache_depot, UPDATE_MAGAZINES_MAX));
    umem_lock_acquire(&cp->cache_slabs.pool_lock);
    size_t empty = cp->cache_slabs.pool_slabs_empty;
    umem_lock_release(&cp->cache_slabs.pool_lock);
    if (empty > 0)
        (void)slab_pool_reap(&cp->cache_slabs, empty / 2);
}

/* Destructors may take locks that a thread holds which allocates something else. */
static bool
may_update(const struct umem_cache *cp, const struct umem_cache *allocating)
{
    return cp->cache_dtor == NULL || cp == allocating;
}

/* What an update on another cache's way left undone. */
static void
catch_up(struct umem_cache *cp)
{
    if (!try_reap_lock())
        return;
    atomic_store_explicit(&cp->cache_update_left, false, memory_order_relaxed);
    update_cache(cp);
    release_reap_lock();
}

void
umem_update_if_due(struct umem_cache *allocating)
{
    if (UMEM_UNLIKELY(atomic_load_explicit(&allocating->cache_update_left, memory_order_relaxed)))
        catch_up(allocating);
    uint64_t now = os_clock_coarse_ms();
    uint64_t due = atomic_load_explicit(&next_update_ms, memory_order_relaxed);

    if (UMEM_LIKELY(now < due) || !try_reap_lock())
        return;
    atomic_store_explicit(&next_update_ms,
                          now + (uint64_t)umem_options.opt_reap_interval_s * MS_PER_S,
                          memory_order_relaxed);
    /* due is 0 on the first call: nothing can have gone unused yet. */
    struct umem_cache *cp;
    for (size_t n = 0; due != 0 && (cp = nth_cache(n)) != NULL; n++) {
        if (may_update(cp, allocating))
            update_cache(cp);
        else
            atomic_store_explicit(&cp->cache_update_left, true, memory_order_relaxed);
    }
    if (due != 0)
        vmem_heap_purge();
    release_reap_lock();
}

bool
umem_cache_reap(struct umem_cache *cp)
{
    depot_zero_working_set(&cp->cache_depot);
    umem_cache_empty_magazines(cp, depot_take_reapable(&cp->cache_depot, SIZE_MAX));
    return slab_pool_reap(&cp->cache_slabs, 0) > 0;
}

/* The lock is held.  constructed: also caches whose objects took work to make. */
static bool
reap_caches(bool constructed)
{
    struct umem_cache *cp;
    bool any = false;

    if (constructed)
        tcache_flush_self();
    for (size_t n = 0; (cp = nth_cache(n)) != NULL; n++)
        if (constructed || (cp->cache_ctor == NULL && cp->cache_dtor == NULL))
            any |= umem_cache_reap(cp);
    vmem_reap(&vmem_heap);
    return any;
}

bool
umem_reap_plain(void)
{
    if (!try_reap_lock())
        return false;
    bool any = reap_caches(false);
    release_reap_lock();
    return any;
}

UMEM_EXPORT void
umem_reap(void)
{
    struct umem_cache *cp;

    (void)umem_ready();
    if (!umem_reap_exclude())
        return; /* called from a reclaim function or a destructor: the reap goes on */
    for (size_t n = 0; (cp = nth_cache(n)) != NULL; n++)
        if (cp->cache_reclaim != NULL)
            cp->cache_reclaim(cp->cache_private);
    (void)reap_caches(true);
    vmem_heap_purge();
    umem_reap_admit(true);
}
