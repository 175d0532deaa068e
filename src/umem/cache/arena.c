/* SPDX-License-Identifier: MIT */
/*
 * arena.c - how a program comes by an arena: the entry points of <sys/vmem.h>
 * that may be the first thing it calls of this library.
 *
 * They set the engine up (options, quantum caches, fork handlers), which the
 * vmem layer, below, cannot ask for; all else of vmem is there.
 */
#include "cache/cache.h"

UMEM_EXPORT vmem_t *
vmem_create(const char *name, void *base, size_t size, size_t quantum, vmem_alloc_t *afunc,
            vmem_free_t *ffunc, vmem_t *source, size_t qcache_max, int vmflag)
{
    (void)umem_ready();
    return vmem_new(name, base, size, quantum, afunc, ffunc, source, qcache_max, vmflag);
}

UMEM_EXPORT vmem_t *
vmem_heap_arena(vmem_alloc_t **allocp, vmem_free_t **freep)
{
    (void)umem_ready();
    if (allocp != NULL)
        *allocp = vmem_alloc;
    if (freep != NULL)
        *freep = vmem_free;
    return &vmem_heap;
}
