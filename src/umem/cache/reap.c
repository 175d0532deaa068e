/* SPDX-License-Identifier: MIT */
/*
 * reap.c - memory that the working set does not need goes back.
 *
 * No thread runs for this, unless UMEM_OPTIONS=reap_thread asks for one
 * (reaper.c).  An update is due once a reap interval; threads that find it so,
 * on their way to a depot, do it in bounded steps, some milliseconds apart:
 * magazines of bins that lay idle go from threads to the depots, what lay
 * unused there for an interval goes to the slabs, and the pages of what is free
 * in those and in the heap to the system.  umem_reap() does all of it at once.
 *
 * An update runs on some operation's way, where the thread may hold any of
 * the program's locks: destructors are called on the way to their own cache
 * only, or from umem_reap().
 *
 * Lock: reap_lock (UMEM_RANK_REAP).  An allocation only ever tries it.
 * Destructors and reclaim functions run under it, but under no other lock, so
 * they may allocate, free, create and destroy caches.
 */
#include "cache/audit.h"
#include "cache/cache.h"
#include "cache/firewall.h"
#include "cache/quarantine.h"
#include "cache/twin.h"
#include "debug/debug.h"
#include "os/meta.h"
#include "os/os.h"

#define MS_PER_S 1000u
/*
 * What one step does at most: magazines emptied (at 126 rounds some 1 us each),
 * thread caches looked through (a barrier of 1 us each, where one is idle).
 */
#define STEP_MAGAZINES_MAX 64
/* Slabs looked at for free pages; one whose pages go counts for 16: some 0.2 ms of work. */
#define STEP_SLABS_MAX 256
#define STEP_TCACHES_MAX 16
/* Between two steps of one update: they take a few percent of a thread's time at the most. */
#define STEP_INTERVAL_MS 10
/*
 * Steps made at once by who comes late: a program that allocates ten times a
 * second gives back as soon as a busy one.
 */
#define STEPS_LATE_MAX 12

static struct umem_lock reap_lock = UMEM_LOCK_INIT(UMEM_RANK_REAP);
static UMEM_TLS bool reaping; /* this thread holds reap_lock */
/* When a step is due on an operation's way.  0: the first update has not begun. */
static _Atomic uint64_t next_step_ms;
#define NEVER UINT64_MAX /* a thread does the steps */
static bool handed_over; /* the same, under reap_lock */

/* Where an update that is under way goes on; under reap_lock. */
static struct update {
    enum { UPDATE_THREADS, UPDATE_CACHES, UPDATE_HEAP } update_phase;
    struct umem_list *update_at; /* the next cache, on umem_caches, while UPDATE_CACHES */
    bool update_begun;           /* its working set has been measured */
} update;

bool
umem_reap_try_exclude(void)
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

UMEM_COLD bool
umem_reap_exclude(void)
{
    if (reaping)
        return false;
    umem_lock_acquire(&reap_lock);
    reaping = true;
    return true;
}

UMEM_COLD void
umem_reap_admit(bool excluded)
{
    if (excluded)
        release_reap_lock();
}

UMEM_COLD void
umem_reap_fork_child(void)
{
    if (!reaping)
        umem_lock_reset_child(&reap_lock);
    if (!handed_over)
        return;
    /* The thread that did the steps is not in the child: operations do them again. */
    handed_over = false;
    atomic_store_explicit(&next_step_ms, 0, memory_order_relaxed);
}

struct umem_list *
umem_cache_next(struct umem_list *at)
{
    umem_lock_acquire(&umem_caches_lock);
    struct umem_list *next = at->next != &umem_caches ? at->next : NULL;
    umem_lock_release(&umem_caches_lock);
    return next;
}

/* The cache that a walk over all of them comes to next, or NULL; under reap_lock. */
static struct umem_list *walk_at;

static struct umem_cache *
next_cache(void)
{
    struct umem_list *at = walk_at;

    if (at == NULL)
        return NULL;
    walk_at = umem_cache_next(at);
    return UMEM_CONTAINER_OF(at, struct umem_cache, cache_link);
}

/* Begins a walk, on which caches may be made and destroyed. */
static struct umem_cache *
first_cache(void)
{
    walk_at = umem_cache_next(&umem_caches);
    return next_cache();
}

UMEM_COLD void
umem_update_forget(struct umem_cache *cp)
{
    if (walk_at == &cp->cache_link)
        walk_at = umem_cache_next(&cp->cache_link);
    if (update.update_at != &cp->cache_link)
        return;
    update.update_at = umem_cache_next(&cp->cache_link);
    update.update_begun = false;
}

/* Takes up to *budget magazines; true when that was all. */
static bool
reap_magazines(struct umem_cache *cp, size_t *budget)
{
    struct magazine *chain;

    if (depot_is_pinned(&cp->cache_depot))
        return true;
    size_t taken = depot_take_reapable(&cp->cache_depot, *budget, &chain);
    bool all = taken < *budget;
    *budget -= taken;
    umem_cache_empty_magazines(cp, chain);
    return all;
}

/* Half of the empty slabs that an arena of the program's keeps; the heap's go as they come. */
static void
reap_slabs(struct umem_cache *cp)
{
    umem_lock_acquire(&cp->cache_slabs.pool_lock);
    size_t empty = cp->cache_slabs.pool_slabs_empty;
    umem_lock_release(&cp->cache_slabs.pool_lock);
    if (empty > 0 && !depot_is_pinned(&cp->cache_depot))
        (void)slab_pool_reap(&cp->cache_slabs, empty / 2);
}

/* Destructors may take locks that a thread holds which allocates something else. */
static bool
may_update(const struct umem_cache *cp, const struct umem_cache *operating)
{
    return cp->cache_dtor == NULL || cp == operating;
}

/* What an update on another cache's way left undone. */
static void
catch_up(struct umem_cache *cp)
{
    size_t budget = STEP_MAGAZINES_MAX;

    if (!umem_reap_try_exclude())
        return;
    atomic_store_explicit(&cp->cache_update_left, false, memory_order_relaxed);
    /* A twin's destructor is this cache's, and it may see no operation of its own any more. */
    for (struct umem_cache *at = cp; at != NULL;
         at = at == cp ? umem_twin_first(cp) : at->cache_next_twin) {
        depot_update(&at->cache_depot);
        (void)reap_magazines(at, &budget);
        reap_slabs(at);
    }
    release_reap_lock();
}

/* Caches from update_at on, until the budget is used up.  True: all are done. */
static bool
step_caches(const struct umem_cache *operating)
{
    size_t budget = STEP_MAGAZINES_MAX, slabs = STEP_SLABS_MAX;

    while (update.update_at != NULL) {
        struct umem_list *at = update.update_at;
        struct umem_cache *cp = UMEM_CONTAINER_OF(at, struct umem_cache, cache_link);
        umem_audit_settle(cp);
        if (!may_update(cp, operating)) {
            atomic_store_explicit(&cp->cache_update_left, true, memory_order_relaxed);
        } else {
            if (!update.update_begun)
                depot_update(&cp->cache_depot);
            update.update_begun = true;
            if (!reap_magazines(cp, &budget))
                return false;
            reap_slabs(cp);
            if (!depot_is_pinned(&cp->cache_depot) &&
                !slab_pool_purge(&cp->cache_slabs, false, &slabs))
                return false;
        }
        /* Unless a destructor destroyed the cache, and so moved on. */
        if (update.update_at == at) {
            update.update_at = umem_cache_next(at);
            update.update_begun = false;
        }
    }
    return true;
}

/* One step of an update; the lock is held.  True: it was the last one. */
static bool
step(const struct umem_cache *operating)
{
    switch (update.update_phase) {
    case UPDATE_THREADS:
        if (!tcache_sweep(STEP_TCACHES_MAX)) {
            update.update_phase = UPDATE_CACHES;
            update.update_at = umem_cache_next(&umem_caches);
        }
        return false;
    case UPDATE_CACHES:
        if (step_caches(operating))
            update.update_phase = UPDATE_HEAP;
        return false;
    case UPDATE_HEAP:
    default:
        if (vmem_heap_purge())
            return false;
        update.update_phase = UPDATE_THREADS;
        return true;
    }
}

static uint64_t
interval_ms(void)
{
    return (uint64_t)umem_options.opt_reap_interval_s * MS_PER_S;
}

/* From one step to the next; last: it was the last one of its update. */
static uint64_t
pause_ms(bool last)
{
    return last && interval_ms() > STEP_INTERVAL_MS ? interval_ms() : STEP_INTERVAL_MS;
}

/* The steps that an operation makes which came when one was due; the lock is held. */
static void
step_late(const struct umem_cache *operating, uint64_t now, uint64_t due)
{
    uint64_t steps = umem_min64((now - due) / STEP_INTERVAL_MS, STEPS_LATE_MAX - 1) + 1;
    bool last = due == 0; /* nothing can have gone unused on the first call */

    while (!last && steps-- > 0)
        last = step(operating);
    atomic_store_explicit(&next_step_ms, now + (last ? interval_ms() : STEP_INTERVAL_MS),
                          memory_order_relaxed);
}

uint32_t
umem_update_if_due(struct umem_cache *cp)
{
    uint64_t now = os_clock_coarse_ms();

    if (UMEM_UNLIKELY(cp != NULL &&
                      atomic_load_explicit(&cp->cache_update_left, memory_order_relaxed)))
        catch_up(cp);
    uint64_t due = atomic_load_explicit(&next_step_ms, memory_order_relaxed);
    if (UMEM_UNLIKELY(vmem_heap_is_due(now)) && due != NEVER)
        (void)vmem_heap_purge();
    if (UMEM_UNLIKELY(now >= due) && umem_reap_try_exclude()) {
        if (!handed_over)
            step_late(cp, now, due);
        release_reap_lock();
    }
    return (uint32_t)now;
}

UMEM_COLD uint64_t
umem_update_take_over(void)
{
    bool excluded = umem_reap_exclude();

    handed_over = true;
    atomic_store_explicit(&next_step_ms, NEVER, memory_order_relaxed);
    umem_reap_admit(excluded);
    return pause_ms(true);
}

UMEM_COLD uint64_t
umem_update_step(void)
{
    if (!umem_reap_try_exclude())
        return STEP_INTERVAL_MS; /* a reap is under way, or a cache about to go */
    bool last = step(NULL);
    release_reap_lock();
    return pause_ms(last);
}

UMEM_COLD bool
umem_cache_reap(struct umem_cache *cp)
{
    struct magazine *chain;

    if (depot_is_pinned(&cp->cache_depot))
        return false;
    depot_zero_working_set(&cp->cache_depot);
    /* Slabs that become empty on the way go back as they do. */
    size_t taken = depot_take_reapable(&cp->cache_depot, SIZE_MAX, &chain);
    umem_cache_empty_magazines(cp, chain);
    return slab_pool_reap(&cp->cache_slabs, 0) > 0 || taken > 0;
}

/* The lock is held.  constructed: also caches whose objects took work to make. */
static UMEM_COLD bool
reap_caches(bool constructed)
{
    bool any = umem_quarantine_empty();

    tcache_flush_self();
    for (struct umem_cache *cp = first_cache(); cp != NULL; cp = next_cache())
        if (constructed || umem_cache_is_plain(cp))
            any |= umem_cache_reap(cp);
    /* Twins, further down the list, have been emptied by now. */
    for (struct umem_cache *cp = first_cache(); cp != NULL; cp = next_cache())
        umem_audit_settle(cp);
    vmem_reap(&vmem_heap);
    return any;
}

/* The lock is held.  All passes that are under way, and one more of each cache. */
static void
purge_slabs(void)
{
    for (struct umem_cache *cp = first_cache(); cp != NULL; cp = next_cache())
        for (int passes = 0; passes < 2 && !depot_is_pinned(&cp->cache_depot); passes++) {
            size_t budget = SIZE_MAX;
            (void)slab_pool_purge(&cp->cache_slabs, true, &budget);
        }
}

UMEM_COLD bool
umem_reap_plain(void)
{
    if (!umem_reap_try_exclude())
        return false;
    bool drained = umem_firewall_drain();
    bool any = reap_caches(false) || drained;
    any = umem_meta_give_back() || any;
    any = vmem_heap_release() || any;
    release_reap_lock();
    return any;
}

UMEM_EXPORT UMEM_COLD void
umem_reap(void)
{
    (void)umem_ready();
    if (!umem_reap_exclude())
        return; /* called from a reclaim function or a destructor: the reap goes on */
    for (struct umem_cache *cp = first_cache(); cp != NULL; cp = next_cache())
        if (cp->cache_reclaim != NULL)
            cp->cache_reclaim(cp->cache_private);
    (void)reap_caches(true); /* and the heap's pages */
    purge_slabs();
    umem_reap_admit(true);
}
