/* SPDX-License-Identifier: MIT */
/*
 * records.c - the engine's structures in the target one by one, for those who
 * want to see the records themselves: slabs, segments, thread caches.
 */
#include "heap/engine.h"

#include <stdio.h>

/* As in the walks of the model: more, and a list is a circle that misses its head. */
#define SEGMENTS_MAX ((uint64_t)1 << 26)
#define THREADS_MAX ((uint64_t)1 << 20)
#define SLABS_SLACK 64

/* False: fn has had enough. */
static bool
each(struct heap *h, struct list_walk *w, uint64_t size, heap_record_fn *fn, void *arg)
{
    while (list_next(h, w, size))
        if (!fn(arg, &w->walk_record))
            return false;
    return true;
}

void
heap_each_slab(struct heap *h, const struct heap_cache *cache, unsigned lists, heap_record_fn *fn,
               void *arg)
{
    const struct offsets *off = &h->heap_offsets;
    const struct {
        unsigned list;
        struct field head;
    } known[] = {{SLABS_PARTIAL, off->pool_partial},
                 {SLABS_FULL, off->pool_full},
                 {SLABS_EMPTY, off->pool_empty}};
    char what[HEAP_NAME_SIZE + 16];

    if (cache->cache_slab_count == 0 && cache->cache_slab_size == 0)
        return; /* never used */
    snprintf(what, sizeof(what), "slabs of %s", cache->cache_name);
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (!(lists & known[i].list))
            continue;
        addr_t head =
            cache->cache_addr + off->cache_slabs.field_offset + known[i].head.field_offset;
        struct list_walk w =
            list_begin(h, head, off->slab_link, cache->cache_slab_count + SLABS_SLACK, what);
        if (!each(h, &w, off->size_slab, fn, arg))
            return;
    }
}

void
heap_each_segment(struct heap *h, addr_t arena, heap_record_fn *fn, void *arg)
{
    const struct offsets *off = &h->heap_offsets;
    struct list_walk w =
        list_begin(h, arena + off->vm_order.field_offset, off->seg_order, SEGMENTS_MAX, "segments");
    each(h, &w, off->size_vmem_seg, fn, arg);
}

void
heap_each_tcache(struct heap *h, heap_record_fn *fn, void *arg)
{
    const struct offsets *off = &h->heap_offsets;
    struct list_walk w =
        list_begin(h, off->at_umem_tcaches, off->tc_link, THREADS_MAX, "thread caches");
    each(h, &w, off->size_tcache, fn, arg);
}

bool
heap_segment(struct heap *h, addr_t addr, struct segment_info *info)
{
    const struct offsets *off = &h->heap_offsets;
    struct record rec = reader_record(&h->heap_reader, addr, off->size_vmem_seg);
    uint64_t type = record_get(&rec, 0, off->seg_type);

    *info = (struct segment_info){.seg_start = record_get(&rec, 0, off->seg_start),
                                  .seg_end = record_get(&rec, 0, off->seg_end),
                                  .seg_import = record_get(&rec, 0, off->seg_import) != 0};
    if (rec.rec_data == NULL || info->seg_start >= info->seg_end)
        return false;
    if (type == off->const_VMEM_SEG_ALLOC)
        info->seg_type = SEGMENT_ALLOC;
    else if (type == off->const_VMEM_SEG_SPAN)
        info->seg_type = SEGMENT_SPAN;
    else if (type == off->const_VMEM_SEG_FREE)
        info->seg_type = SEGMENT_FREE;
    return info->seg_type != SEGMENT_UNKNOWN;
}
