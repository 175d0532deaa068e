/* SPDX-License-Identifier: MIT */
/*
 * qcache.c - quantum caches: what vmem, below, uses of the caches here,
 * through the functions that init.c registers.
 */
#include "cache/cache.h"

/*
 * A slab holds at least this many of the arena's largest quantum caches'
 * objects, so that it exceeds qcache_max and comes from the segment lists
 * (Bonwick and Adams 2001, 4.4.4).
 */
#define QCACHE_SLAB_FACTOR 3

static void *
qcache_create(const char *name, size_t size, size_t quantum, struct vmem *vmp)
{
    struct umem_cache_args args = {
        .args_name = name,
        .args_bufsize = size,
        .args_align = quantum,
        .args_arena = vmp,
        .args_cflags = UMC_NOTOUCH | UMC_NODEBUG,
        .args_slab_min = QCACHE_SLAB_FACTOR * vmp->vm_qcache_max,
    };

    (void)umem_ready();
    return umem_cache_new(&args);
}

static void
qcache_destroy(void *qcache)
{
    umem_cache_destroy(qcache);
}

static void *
qcache_alloc(void *qcache, int vmflag)
{
    (void)vmflag;
    return umem_cache_alloc(qcache, UMEM_DEFAULT);
}

static void
qcache_free(void *qcache, void *addr)
{
    umem_cache_free(qcache, addr);
}

static void
qcache_reap(void *qcache)
{
    (void)umem_cache_reap(qcache);
}

const struct vmem_qcache_ops umem_qcache_ops = {
    .qcache_create = qcache_create,
    .qcache_destroy = qcache_destroy,
    .qcache_alloc = qcache_alloc,
    .qcache_free = qcache_free,
    .qcache_reap = qcache_reap,
};
