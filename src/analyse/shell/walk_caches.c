/* SPDX-License-Identifier: MIT */
/*
 * walk_caches.c - walkers over caches, their slabs, their buffers, and the
 * caches of threads.
 */
#include "shell/shell.h"

#include <string.h>

static bool
full(struct shell *sh)
{
    return shell_error(sh, shell_interrupted ? "interrupted" : "no memory");
}

static bool
walk_umem_cache(struct shell *sh, const struct walk *walk, struct addresses *out)
{
    (void)walk;
    for (size_t i = 0; i < sh->sh_heap.heap_cache_count; i++)
        if (!addresses_add(out, sh->sh_heap.heap_caches[i].cache_addr))
            return full(sh);
    return true;
}

/* The cache that a walk starts from: its index, or NO_CACHE for all of them. */
static bool
choose_cache(struct shell *sh, const struct walk *walk, uint32_t *cache)
{
    *cache = NO_CACHE;
    if (!walk->walk_has_addr)
        return true;
    const struct heap_cache *found = shell_cache(sh, walk->walk_addr);
    if (found != NULL)
        *cache = (uint32_t)(found - sh->sh_heap.heap_caches);
    return found != NULL;
}

/* Blocks that are live, or free, of one cache or of all. */
static bool
walk_blocks(struct shell *sh, const struct walk *walk, bool live, struct addresses *out)
{
    const struct heap *h = &sh->sh_heap;
    uint32_t cache;

    if (!choose_cache(sh, walk, &cache))
        return false;
    for (uint32_t r = 0; r < h->heap_region_count; r++) {
        const struct region *region = &h->heap_regions[r];
        if (region->region_kind == REGION_SEGMENT || region->region_kind == REGION_MAPPING ||
            (cache != NO_CACHE && region->region_cache != cache))
            continue;
        for (uint32_t i = 0; i < region->region_blocks; i++) {
            struct block b = {r, i};
            if (heap_is_live(h, b) == live && !addresses_add(out, heap_block_addr(h, b)))
                return full(sh);
        }
    }
    return true;
}

static bool
walk_umem(struct shell *sh, const struct walk *walk, struct addresses *out)
{
    return walk_blocks(sh, walk, true, out);
}

static bool
walk_freemem(struct shell *sh, const struct walk *walk, struct addresses *out)
{
    return walk_blocks(sh, walk, false, out);
}

static bool
take_record(void *arg, const struct record *rec)
{
    return addresses_add(arg, rec->rec_addr);
}

static bool
walk_slabs(struct shell *sh, const struct walk *walk, unsigned lists, struct addresses *out)
{
    const struct heap_cache *cache = shell_cache(sh, walk->walk_addr);
    if (cache == NULL)
        return false;
    heap_each_slab(&sh->sh_heap, cache, lists, take_record, out);
    return true;
}

static bool
walk_umem_slab(struct shell *sh, const struct walk *walk, struct addresses *out)
{
    return walk_slabs(sh, walk, SLABS_ALL, out);
}

static bool
walk_umem_slab_partial(struct shell *sh, const struct walk *walk, struct addresses *out)
{
    return walk_slabs(sh, walk, SLABS_PARTIAL, out);
}

static bool
walk_umem_cpu(struct shell *sh, const struct walk *walk, struct addresses *out)
{
    (void)walk;
    heap_each_tcache(&sh->sh_heap, take_record, out);
    return true;
}

struct bins {
    const struct offsets *off;
    uint32_t bin;
    struct addresses *out;
};

static bool
take_bin(void *arg, const struct record *rec)
{
    const struct bins *bins = arg;
    if (bins->bin >= record_get(rec, 0, bins->off->tc_bins))
        return true; /* this thread has not met the cache */
    return addresses_add(bins->out, rec->rec_addr + bins->off->tc_bin.field_offset +
                                        (uint64_t)bins->bin * bins->off->size_tbin);
}

static bool
walk_umem_cpu_cache(struct shell *sh, const struct walk *walk, struct addresses *out)
{
    const struct heap_cache *cache = shell_cache(sh, walk->walk_addr);
    if (cache == NULL)
        return false;
    struct bins bins = {&sh->sh_heap.heap_offsets, cache->cache_bin, out};
    if (bins.bin != 0) /* bin 0 is nobody's */
        heap_each_tcache(&sh->sh_heap, take_bin, &bins);
    return true;
}

const struct walker walkers_caches[] = {
    {"umem_cache", "all object caches", WALK_ANYWHERE, true, walk_umem_cache},
    {"umem", "allocated buffers, of all caches or of the one at ADDR", WALK_EITHER, true,
     walk_umem},
    {"freemem", "free buffers, of all caches or of the one at ADDR", WALK_EITHER, true,
     walk_freemem},
    {"umem_slab", "slabs of the cache at ADDR", WALK_FROM_ADDRESS, true, walk_umem_slab},
    {"umem_slab_partial", "slabs of the cache at ADDR that are used in part", WALK_FROM_ADDRESS,
     true, walk_umem_slab_partial},
    {"umem_cpu", "threads' caches (there is one a thread, not one a CPU)", WALK_ANYWHERE, true,
     walk_umem_cpu},
    {"umem_cpu_cache", "bins in threads' caches of the cache at ADDR", WALK_FROM_ADDRESS, true,
     walk_umem_cpu_cache},
    {0}};
