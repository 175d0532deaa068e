/* SPDX-License-Identifier: MIT */
/*
 * arenas.c - the vmem arenas: their figures, the spans of the heap, and the
 * segments that the program took from the heap without a cache.
 */
#include "heap/engine.h"

#include <stdlib.h>
#include <string.h>

#define ARENAS_MAX 65536
/* Boundary tags of one arena; 2^26 of a granule each are 4 TiB. */
#define SEGMENTS_MAX ((uint64_t)1 << 26)
#define HEAP_ARENA "umem_heap"

static void
read_arena(struct heap *h, struct heap_arena *arena, const struct record *rec)
{
    const struct offsets *off = &h->heap_offsets;
    uint64_t stats = off->vm_stats.field_offset;

    arena->arena_addr = rec->rec_addr;
    arena->arena_source = record_get(rec, 0, off->vm_source);
    copy_name(arena->arena_name, sizeof(arena->arena_name), rec, off->vm_name);
    arena->arena_inuse = record_get(rec, stats, off->vms_inuse);
    arena->arena_total = record_get(rec, stats, off->vms_total);
    arena->arena_imported = record_get(rec, stats, off->vms_import);
    arena->arena_allocs = record_get(rec, stats, off->vms_allocs);
    arena->arena_fails = record_get(rec, stats, off->vms_fails);
}

/* Segments of one type of an arena, clipped to mapped memory. */
static void
collect_segments(struct heap *h, const struct heap_arena *arena, uint64_t type, bool imported_only,
                 struct ranges *out)
{
    const struct offsets *off = &h->heap_offsets;
    struct list_walk w = list_begin(h, arena->arena_addr + off->vm_order.field_offset,
                                    off->seg_order, SEGMENTS_MAX, arena->arena_name);
    while (list_next(h, &w, off->size_vmem_seg)) {
        if (record_get(&w.walk_record, 0, off->seg_type) != type ||
            (imported_only && record_get(&w.walk_record, 0, off->seg_import) == 0))
            continue;
        ranges_add(out, record_get(&w.walk_record, 0, off->seg_start),
                   record_get(&w.walk_record, 0, off->seg_end));
    }
}

static const struct heap_arena *
heap_arena(const struct heap *h)
{
    for (size_t i = 0; i < h->heap_arena_count; i++)
        if (strcmp(h->heap_arenas[i].arena_name, HEAP_ARENA) == 0)
            return &h->heap_arenas[i];
    return NULL;
}

void
heap_read_arenas(struct heap *h)
{
    const struct offsets *off = &h->heap_offsets;
    struct list_walk w = list_begin(h, off->at_vmem_arenas, off->vm_link, ARENAS_MAX, "arenas");

    while (list_next(h, &w, off->size_vmem)) {
        struct heap_arena *arenas =
            realloc(h->heap_arenas, (h->heap_arena_count + 1) * sizeof(*arenas));
        if (arenas == NULL)
            break;
        h->heap_arenas = arenas;
        struct heap_arena *arena = &arenas[h->heap_arena_count++];
        memset(arena, 0, sizeof(*arena));
        read_arena(h, arena, &w.walk_record);
    }
    const struct heap_arena *heap = heap_arena(h);
    if (heap == NULL)
        heap_problem(h, "there is no arena \"%s\"", HEAP_ARENA);
    else
        collect_segments(h, heap, off->const_VMEM_SEG_SPAN, false, &h->heap_spans);
    ranges_sort(&h->heap_spans);
}

/* Adds what of [start, end) no region covers, regions being sorted. */
static void
add_uncovered(struct heap *h, size_t sorted, addr_t start, addr_t end)
{
    size_t lo = 0;
    size_t hi = sorted;
    while (lo < hi) { /* the first region that ends behind start */
        size_t mid = lo + (hi - lo) / 2;
        if (h->heap_regions[mid].region_end <= start)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo < sorted && h->heap_regions[lo].region_base < end)
        return; /* a slab, an oversize block, or an arena whose slabs lie in it */
    struct region geometry = {.region_base = start,
                              .region_chunk = end - start,
                              .region_scan = end - start,
                              .region_blocks = 1,
                              .region_cache = NO_CACHE,
                              .region_kind = REGION_SEGMENT};
    if (target_mapping_of(h->heap_target, start) != NULL)
        heap_add_region(h, &geometry);
}

/* Whether the memory is the program's own: an arena may also hand out mere numbers. */
static bool
is_own_mapping(const struct heap *h, addr_t start, addr_t end)
{
    const unsigned want = MAPPING_ANONYMOUS | MAPPING_PRIVATE;
    const struct mapping *map = target_mapping_of(h->heap_target, start);
    return map != NULL && (map->map_flags & want) == want &&
           target_mapping_of(h->heap_target, end - 1) != NULL;
}

/* Of an arena whose spans are memory: its spans, and what it has allocated and not passed on. */
static void
add_arena(struct heap *h, const struct heap_arena *arena, size_t sorted)
{
    const struct offsets *off = &h->heap_offsets;
    struct ranges spans = {0};
    struct ranges passed_on = {0};
    struct ranges allocated = {0};

    collect_segments(h, arena, off->const_VMEM_SEG_SPAN, false, &spans);
    ranges_sort(&spans);
    for (size_t i = 0; i < spans.count; i++)
        if (is_own_mapping(h, spans.list[i].range_start, spans.list[i].range_end))
            ranges_add(&h->heap_arena_spans, spans.list[i].range_start, spans.list[i].range_end);
    for (size_t i = 0; i < h->heap_arena_count; i++)
        if (h->heap_arenas[i].arena_source == arena->arena_addr)
            collect_segments(h, &h->heap_arenas[i], off->const_VMEM_SEG_SPAN, true, &passed_on);
    ranges_sort(&passed_on);
    collect_segments(h, arena, off->const_VMEM_SEG_ALLOC, false, &allocated);
    for (size_t i = 0; i < allocated.count; i++) {
        const struct range *r = &allocated.list[i];
        size_t at = ranges_find(&passed_on, r->range_start);
        bool passed = at < passed_on.count && passed_on.list[at].range_start < r->range_end;
        if (!passed && is_own_mapping(h, r->range_start, r->range_end))
            add_uncovered(h, sorted, r->range_start, r->range_end);
    }
    ranges_fini(&spans);
    ranges_fini(&passed_on);
    ranges_fini(&allocated);
}

void
heap_add_segments(struct heap *h)
{
    size_t sorted = h->heap_region_count;
    for (size_t i = 0; h->heap_allocator == HEAP_UMEM && i < h->heap_arena_count; i++)
        add_arena(h, &h->heap_arenas[i], sorted);
    ranges_sort(&h->heap_arena_spans);
}
