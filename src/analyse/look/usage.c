/* SPDX-License-Identifier: MIT */
/*
 * usage.c - see usage.h.
 */
#include "look/usage.h"

struct usage_row
usage_of_cache(const struct heap_cache *cache)
{
    return (struct usage_row){cache->cache_name,   cache->cache_bufsize,
                              cache->cache_inuse,  cache->cache_cached,
                              cache->cache_total,  cache->cache_slab_count * cache->cache_slab_size,
                              cache->cache_allocs, cache->cache_fails};
}

struct usage_row
usage_of_oversize(const struct heap *h)
{
    struct usage_row row = {.use_name = HEAP_OVERSIZE_NAME};
    for (size_t i = 0; i < h->heap_region_count; i++) {
        const struct region *region = &h->heap_regions[i];
        if (region->region_cache != NO_CACHE ||
            (region->region_kind != REGION_LARGE && region->region_kind != REGION_FIREWALL) ||
            !heap_is_live(h, (struct block){(uint32_t)i, 0}))
            continue;
        row.use_inuse++;
        row.use_total++;
        row.use_bytes += h->heap_regions[i].region_chunk;
    }
    return row;
}

void
usage_add(struct usage_row *sum, const struct usage_row *row)
{
    sum->use_inuse += row->use_inuse;
    sum->use_cached += row->use_cached;
    sum->use_total += row->use_total;
    sum->use_bytes += row->use_bytes;
    sum->use_allocs += row->use_allocs;
    sum->use_fails += row->use_fails;
}

bool
usage_is_used(const struct usage_row *row)
{
    return row->use_total > 0 || row->use_allocs > 0 || row->use_fails > 0;
}
