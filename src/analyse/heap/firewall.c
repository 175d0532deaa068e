/* SPDX-License-Identifier: MIT */
/*
 * firewall.c - blocks between inaccessible pages (UMEM_DEBUG=firewall=N): each
 * a region of its own, since no two begin at the same place in their pages.
 * Those in quarantine are known too, as free blocks.
 */
#include "heap/engine.h"

#include <string.h>

#define SPANS_MAX ((uint64_t)1 << 28)
/* More blocks in a span than its record can have: 16 MiB of a metadata block. */
#define BLOCKS_MAX ((uint64_t)200000)

/* The cache with this record, or NO_CACHE; mostly that of the block before. */
static uint32_t
cache_at(const struct heap *h, addr_t addr, uint32_t before)
{
    if (before < h->heap_cache_count && h->heap_caches[before].cache_addr == addr)
        return before;
    for (uint32_t i = 0; i < h->heap_cache_count; i++)
        if (h->heap_caches[i].cache_addr == addr)
            return i;
    return NO_CACHE;
}

/* Adds the block whose record lies at offset at of rec.  False: it makes no sense. */
static bool
add_block(struct heap *h, const struct record *rec, uint64_t at, uint32_t *cache)
{
    const struct offsets *off = &h->heap_offsets;
    uint64_t bufctl = at + off->fwb_bufctl.field_offset;
    uint64_t base = record_get(rec, at, off->fwb_base);
    uint64_t size = record_get(rec, bufctl, off->bc_size);
    uint64_t state = record_get(rec, bufctl, off->bc_state);
    addr_t cache_addr = record_get(rec, at, off->fwb_cache);

    if (base == 0 ||
        (state != off->const_UMEM_BUFFER_ALLOCATED && state != off->const_UMEM_BUFFER_FREE))
        return true; /* was never handed out, or is on its way */
    if (size == 0)
        size = 1;
    if (base + size < base || target_mapping_of(h->heap_target, base) == NULL ||
        target_mapping_of(h->heap_target, base + size - 1) == NULL)
        return false;
    *cache = cache_addr != 0 ? cache_at(h, cache_addr, *cache) : NO_CACHE;
    struct region geometry = {.region_base = base,
                              .region_chunk = size,
                              .region_scan = size,
                              .region_record = rec->rec_addr + bufctl,
                              .region_blocks = 1,
                              .region_cache = *cache,
                              .region_kind = REGION_FIREWALL};
    const struct region *region = heap_add_region(h, &geometry);
    if (region != NULL && state != off->const_UMEM_BUFFER_ALLOCATED)
        bit_clear(h->heap_live, region->region_first);
    return region != NULL;
}

static bool
add_span(struct heap *h, addr_t span, uint64_t used)
{
    const struct field blocks = h->heap_offsets.fw_block;
    uint32_t cache = NO_CACHE;
    bool good = used <= BLOCKS_MAX;

    if (!good || used == 0)
        return good;
    struct record rec = reader_record(&h->heap_reader, span + blocks.field_offset,
                                      (size_t)(used * blocks.field_size));
    if (rec.rec_data == NULL)
        return false;
    for (uint64_t i = 0; i < used; i++)
        good = add_block(h, &rec, i * blocks.field_size, &cache) && good;
    return good;
}

void
heap_read_firewalls(struct heap *h)
{
    const struct offsets *off = &h->heap_offsets;

    if (off->at_umem_firewalls == 0 || off->fw_block.field_size == 0)
        return; /* a library without */
    struct list_walk w =
        list_begin(h, off->at_umem_firewalls, off->fw_link, SPANS_MAX, "guarded blocks");
    while (list_next(h, &w, off->fw_block.field_offset))
        if (!add_span(h, w.walk_addr, record_get(&w.walk_record, 0, off->fw_used)))
            heap_problem(h, "the record of guarded blocks at 0x%llx is damaged",
                         (unsigned long long)w.walk_addr);
}
