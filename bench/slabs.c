/* SPDX-License-Identifier: MIT */
/*
 * slabs.c - prints the slabs of our size classes, a line each: the class's
 * size, bytes and chunks of a slab.  Uses the engine's hidden functions.
 */
#include <stdio.h>

#include "cache/cache.h"

int
main(void)
{
    (void)umem_ready();
    for (unsigned c = 0; c < UMEM_CLASS_COUNT; c++) {
        const struct slab_pool *pool = &umem_class_cache(c)->cache_slabs;
        printf("%zu %zu %u\n", pool->pool_chunk_size, pool->pool_slab_size, pool->pool_chunks);
    }
    return 0;
}
