/* SPDX-License-Identifier: MIT */
/*
 * fork.c - the engine across fork().
 *
 * The prepare handler takes every lock in rank order, so that the child's copy
 * of each structure is whole; the parent releases them, the child resets them
 * (their waiters do not exist there) and takes over what other threads had
 * cached.  Their windows are whole at any instant: see tcache.h.
 *
 * Our handlers are registered when the library is loaded (see init.c), that is
 * before the program's: prepare handlers run last registered first, the others
 * first registered first, so the program's handlers may allocate.  While the
 * engine is asleep they only keep other threads from waking it half-way.
 * libc's fork() takes the lock of its streams after all handlers, and a thread
 * that holds that one may allocate, so we take it first; it is recursive.
 * reap_lock is not taken: it is held round the program's destructors.
 */
#include <pthread.h>

#include "cache/agent.h"
#include "cache/audit.h"
#include "cache/cache.h"
#include "cache/firewall.h"
#include "cache/quarantine.h"
#include "debug/debug.h"
#include "debug/stacks.h"
#include "os/meta.h"
#include "os/os.h"
#include "slab/pagemap.h"

/* Calls fn on one lock of every cache; umem_caches_lock is held. */
static void
for_depots(void (*fn)(struct umem_lock *lock))
{
    UMEM_LIST_FOR (node, &umem_caches)
        fn(&UMEM_CONTAINER_OF(node, struct umem_cache, cache_link)->cache_depot.depot_lock);
}

static void
for_pools(void (*fn)(struct umem_lock *lock))
{
    UMEM_LIST_FOR (node, &umem_caches)
        fn(&UMEM_CONTAINER_OF(node, struct umem_cache, cache_link)->cache_slabs.pool_lock);
}

/* Another thread's purge ended where it was. */
static void
end_purges(void)
{
    UMEM_LIST_FOR (node, &umem_caches)
        slab_pool_fork_child(&UMEM_CONTAINER_OF(node, struct umem_cache, cache_link)->cache_slabs);
}

static bool awake; /* as the prepare handler found it; under init_lock */

static UMEM_USUAL void
prepare(void)
{
    os_streams_lock();
    awake = umem_init_fork_prepare();
    if (!awake)
        return;
    umem_audit_fork_prepare();
    umem_lock_acquire_fork(&umem_caches_lock);
    umem_quarantine_fork_prepare();
    tcache_fork_prepare();
    for_depots(umem_lock_acquire_fork);
    for_pools(umem_lock_acquire_fork);
    umem_lock_acquire_fork(&umem_larges_lock);
    umem_lock_acquire_fork(&umem_firewall_lock);
    vmem_fork_prepare();
    pagemap_fork_prepare();
    umem_meta_fork_prepare();
    umem_stacks_fork_prepare();
    umem_debug_fork_prepare();
}

static void
release_all(void)
{
    umem_debug_fork_parent();
    umem_stacks_fork_parent();
    umem_meta_fork_parent();
    pagemap_fork_parent();
    vmem_fork_parent();
    umem_lock_release(&umem_firewall_lock);
    umem_lock_release(&umem_larges_lock);
    for_pools(umem_lock_release);
    for_depots(umem_lock_release);
    tcache_fork_parent();
    umem_quarantine_fork_parent();
    umem_lock_release(&umem_caches_lock);
    umem_audit_fork_parent();
}

static void
reset_all(void)
{
    umem_debug_fork_child();
    umem_stacks_fork_child();
    umem_meta_fork_child();
    pagemap_fork_child();
    vmem_fork_child();
    umem_lock_reset_child(&umem_firewall_lock);
    umem_lock_reset_child(&umem_larges_lock);
    for_pools(umem_lock_reset_child);
    end_purges();
    for_depots(umem_lock_reset_child);
    umem_lock_reset_child(&umem_caches_lock);
    umem_quarantine_fork_child();
    umem_audit_fork_child();
    umem_agent_fork_child();
    umem_reap_fork_child();
    tcache_fork_child();
}

static UMEM_USUAL void
parent(void)
{
    if (awake)
        release_all();
    umem_init_fork_parent();
    os_streams_unlock();
}

static void
child(void)
{
    if (awake)
        reset_all();
    umem_init_fork_child();
    os_streams_reset_child();
}

UMEM_USUAL void
umem_fork_init(void)
{
    /* ENOMEM alone can fail this, and leaves fork as unsafe as it was before. */
    (void)pthread_atfork(prepare, parent, child);
}
