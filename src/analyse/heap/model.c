/* SPDX-License-Identifier: MIT */
/*
 * model.c - regions, their blocks' bits, and the index from address to region.
 */
#include "heap/heap.h"

#include <stdlib.h>
#include <string.h>

#include "heap/glibc.h"
#include "heap/memory.h"

#define RECIPROCAL_ONE ((uint64_t)1 << 32)
/* A slab has fewer blocks than this, or it is damaged. */
#define BLOCKS_MAX ((uint32_t)1 << 26)

bool
ranges_add(struct ranges *r, addr_t start, addr_t end)
{
    if (start >= end)
        return true;
    if (!memory_grow(&r->list, &r->room, r->count, sizeof(*r->list)))
        return false;
    r->list[r->count++] = (struct range){start, end};
    return true;
}

static int
compare_ranges(const void *a, const void *b)
{
    const struct range *x = a;
    const struct range *y = b;
    return (x->range_start > y->range_start) - (x->range_start < y->range_start);
}

void
ranges_sort(struct ranges *r)
{
    if (r->count < 2)
        return;
    qsort(r->list, r->count, sizeof(*r->list), compare_ranges);
    size_t n = 0;
    for (size_t i = 1; i < r->count; i++) {
        if (r->list[i].range_start > r->list[n].range_end)
            r->list[++n] = r->list[i];
        else if (r->list[i].range_end > r->list[n].range_end)
            r->list[n].range_end = r->list[i].range_end;
    }
    r->count = n + 1;
}

size_t
ranges_find(const struct ranges *r, addr_t addr)
{
    size_t lo = 0;
    size_t hi = r->count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (r->list[mid].range_end <= addr)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

void
ranges_fini(struct ranges *r)
{
    free(r->list);
    *r = (struct ranges){0};
}

/* Room for more block numbers, their words zeroed. */
static bool
grow_bits(struct heap *h, uint64_t words)
{
    if (words <= h->heap_live_room)
        return true;
    uint64_t room = h->heap_live_room + h->heap_live_room / 2;
    if (room < words + 1024)
        room = words + 1024;
    uint64_t *bits = realloc(h->heap_live, room * sizeof(*bits));
    if (bits == NULL)
        return false;
    memset(bits + h->heap_live_room, 0, (room - h->heap_live_room) * sizeof(*bits));
    h->heap_live = bits;
    h->heap_live_room = room;
    return true;
}

static bool
grow_regions(struct heap *h)
{
    return h->heap_region_count < UINT32_MAX - 1 &&
           memory_grow(&h->heap_regions, &h->heap_region_room, h->heap_region_count,
                       sizeof(*h->heap_regions));
}

/* Room below the whole address space, and blocks that fill it exactly. */
static bool
geometry_is_sane(const struct region *g)
{
    if (g->region_blocks == 0 || g->region_blocks > BLOCKS_MAX || g->region_chunk == 0)
        return false;
    if (g->region_uneven != NULL)
        return g->region_chunk <= UINT64_MAX - g->region_base && g->region_base != 0;
    unsigned __int128 size = (unsigned __int128)g->region_chunk * g->region_blocks;
    return size <= UINT64_MAX - g->region_base && g->region_base != 0 &&
           g->region_scan <= g->region_chunk;
}

struct region *
heap_add_region(struct heap *h, const struct region *geometry)
{
    uint64_t words = ((uint64_t)geometry->region_blocks + 63) / 64;

    if (!geometry_is_sane(geometry) || !grow_regions(h) ||
        !grow_bits(h, h->heap_blocks / 64 + words))
        return NULL;
    struct region *region = &h->heap_regions[h->heap_region_count++];
    *region = *geometry;
    region->region_end =
        region->region_base +
        region->region_chunk * (region->region_uneven != NULL ? 1 : region->region_blocks);
    bool small = region->region_end - region->region_base < RECIPROCAL_ONE;
    region->region_reciprocal =
        small ? (RECIPROCAL_ONE + region->region_chunk - 1) / region->region_chunk : 0;
    region->region_first = h->heap_blocks;
    h->heap_blocks += words * 64;
    uint64_t *bits = &h->heap_live[region->region_first / 64];
    memset(bits, 0xff, words * sizeof(*bits));
    if (region->region_blocks % 64 != 0)
        bits[words - 1] = ((uint64_t)1 << region->region_blocks % 64) - 1;
    return region;
}

static int
compare_regions(const void *a, const void *b)
{
    const struct region *x = a;
    const struct region *y = b;
    if (x->region_base != y->region_base)
        return x->region_base > y->region_base ? 1 : -1;
    return (x->region_end < y->region_end) - (x->region_end > y->region_end); /* outer first */
}

/*
 * Quantum caches hand out memory that slabs of other caches may be made of:
 * such a slab lies in one block of the outer region.  Takes the outer region
 * apart: each block that nothing else lies in becomes a region of its own.
 */
static bool
split_outer(struct heap *h, size_t outer_index, size_t next, size_t count)
{
    struct region outer = h->heap_regions[outer_index];

    for (uint32_t i = 0; i < outer.region_blocks; i++) {
        addr_t base = outer.region_base + i * outer.region_chunk;
        while (next < count && h->heap_regions[next].region_end <= base &&
               h->heap_regions[next].region_base < outer.region_end)
            next++;
        if (next < count && h->heap_regions[next].region_base >= base &&
            h->heap_regions[next].region_base < base + outer.region_chunk)
            continue;
        struct region geometry = outer;
        geometry.region_base = base;
        geometry.region_blocks = 1;
        if (outer.region_record != 0)
            geometry.region_record += i * h->heap_caches[outer.region_cache].cache_sidecar;
        bool live = bit_get(h->heap_live, outer.region_first + i);
        struct region *piece = heap_add_region(h, &geometry);
        if (piece == NULL)
            return false;
        if (!live)
            bit_clear(h->heap_live, piece->region_first);
    }
    h->heap_regions[outer_index].region_blocks = 0; /* dropped by the caller */
    return true;
}

/* Whether the slab inner lies in one block of outer. */
static bool
lies_in_block(const struct region *outer, const struct region *inner)
{
    if (outer->region_kind != REGION_SLAB || inner->region_end > outer->region_end)
        return false;
    return region_index_of(outer, inner->region_base) ==
           region_index_of(outer, inner->region_end - 1);
}

/* Resolves overlaps of sorted regions.  True: regions were added, sort again. */
static bool
resolve_overlaps(struct heap *h)
{
    size_t count = h->heap_region_count;
    bool added = false;
    size_t last = 0; /* the region before i that was not dropped */

    for (size_t i = 1; i < count; i++) {
        struct region *before = &h->heap_regions[last];
        struct region *region = &h->heap_regions[i];
        if (before->region_blocks == 0 || region->region_base >= before->region_end) {
            last = i;
        } else if (lies_in_block(before, region)) {
            added = split_outer(h, last, i, count) || added;
            last = i;
        } else {
            heap_problem(h, "blocks at 0x%llx lie in two slabs at once",
                         (unsigned long long)region->region_base);
            region->region_blocks = 0;
        }
    }
    size_t n = 0;
    for (size_t i = 0; i < h->heap_region_count; i++)
        if (h->heap_regions[i].region_blocks != 0)
            h->heap_regions[n++] = h->heap_regions[i];
    h->heap_region_count = n;
    return added;
}

static void
free_index(struct granule_index *index)
{
    struct granule_leaf *next;
    for (struct granule_leaf *leaf = index != NULL ? index->leaves : NULL; leaf != NULL;
         leaf = next) {
        next = leaf->next;
        free(leaf);
    }
    free(index);
}

/* An index with room for the leaves of sorted regions. */
static struct granule_index *
make_index(const struct heap *h)
{
    addr_t first = 0;
    size_t count = 1;
    if (h->heap_region_count > 0) {
        first = h->heap_regions[0].region_base >> GRANULE_LEAF_SHIFT;
        addr_t end = h->heap_regions[h->heap_region_count - 1].region_end - 1;
        count = (size_t)((end >> GRANULE_LEAF_SHIFT) - first) + 1;
    }
    if (count > GRANULE_LEAVES_MAX)
        count = GRANULE_LEAVES_MAX;
    struct granule_index *index = calloc(1, sizeof(*index) + count * sizeof(index->leaf[0]));
    if (index != NULL)
        index->first = first;
    return index;
}

static bool
index_granule(struct granule_index *index, addr_t granule, uint32_t number)
{
    struct granule_leaf **leaf = &index->leaf[granule_leaf(index, granule << GRANULE_SHIFT)];
    if (*leaf == NULL) {
        struct granule_leaf *made = memory_zeroed(1, sizeof(*made));
        if (made == NULL)
            return false;
        made->next = index->leaves;
        *leaf = index->leaves = made;
    }
    uint32_t *slot = &(*leaf)->region[granule & GRANULE_LEAF_MASK];
    if (*slot == 0)
        *slot = number + 1;
    return true;
}

/* More than this has one block of a terabyte, or a damaged one: not every granule is indexed. */
#define HUGE_SIZE ((uint64_t)1 << 32)

static bool
is_huge(const struct region *region)
{
    return region->region_end - region->region_base > HUGE_SIZE;
}

/* Every granule that the region touches leads to it, or to the first region there. */
static bool
index_region(struct heap *h, const struct region *region, uint32_t number)
{
    addr_t first = region->region_base >> GRANULE_SHIFT;
    addr_t last = (region->region_end - 1) >> GRANULE_SHIFT;
    if (is_huge(region)) {
        h->heap_huge++;
        return index_granule(h->heap_index, first, number) &&
               index_granule(h->heap_index, last, number);
    }
    for (addr_t g = first; g <= last; g++)
        if (!index_granule(h->heap_index, g, number))
            return false;
    return true;
}

uint32_t
heap_find_huge(const struct heap *h, addr_t addr)
{
    size_t low = 0;
    size_t high = h->heap_region_count;
    while (low < high) { /* the first that ends behind addr */
        size_t middle = low + (high - low) / 2;
        if (h->heap_regions[middle].region_end <= addr)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == h->heap_region_count || h->heap_regions[low].region_base > addr ||
        !is_huge(&h->heap_regions[low]))
        return 0;
    return (uint32_t)low + 1;
}

int
heap_seal(struct heap *h)
{
    if (h->heap_index != NULL && h->heap_indexed == h->heap_region_count)
        return 0;
    do {
        if (h->heap_region_count > 1)
            qsort(h->heap_regions, h->heap_region_count, sizeof(*h->heap_regions), compare_regions);
    } while (resolve_overlaps(h));
    free_index(h->heap_index);
    h->heap_index = make_index(h);
    if (h->heap_index == NULL)
        return -1;
    h->heap_huge = 0;
    h->heap_lowest = h->heap_highest = 0;
    for (size_t i = 0; i < h->heap_region_count; i++)
        if (!index_region(h, &h->heap_regions[i], (uint32_t)i))
            return -1;
    if (h->heap_region_count > 0) {
        h->heap_lowest = h->heap_regions[0].region_base;
        h->heap_highest = h->heap_regions[h->heap_region_count - 1].region_end;
    }
    h->heap_indexed = h->heap_region_count;
    return 0;
}

static uint64_t
count_live(const struct heap *h, const struct region *region)
{
    uint64_t live = 0;
    uint64_t word = region->region_first / 64;
    for (uint64_t i = 0; i < region->region_blocks; i += 64)
        live += (uint64_t)__builtin_popcountll(h->heap_live[word++]);
    return live;
}

void
heap_count(struct heap *h)
{
    h->heap_live_buffers = h->heap_live_bytes = 0;
    for (size_t i = 0; i < h->heap_cache_count; i++)
        h->heap_caches[i].cache_total = h->heap_caches[i].cache_inuse = 0;
    if (h->heap_allocator == HEAP_GLIBC)
        glibc_count_cached(h);
    for (size_t i = 0; i < h->heap_region_count; i++) {
        const struct region *region = &h->heap_regions[i];
        uint64_t live = count_live(h, region);
        if (region->region_kind == REGION_MAPPING)
            continue;
        h->heap_live_buffers += live;
        if (region->region_kind == REGION_CHUNKS) {
            glibc_count(h, (uint32_t)i);
            continue;
        }
        if (region->region_cache == NO_CACHE) {
            h->heap_live_bytes += live * region->region_chunk;
            continue;
        }
        struct heap_cache *cache = &h->heap_caches[region->region_cache];
        cache->cache_inuse += live;
        if (region->region_kind == REGION_FIREWALL) { /* in no slab, and of its own size */
            cache->cache_total += live;
            h->heap_live_bytes += live * region->region_chunk;
            continue;
        }
        cache->cache_total += region->region_blocks;
        h->heap_live_bytes += live * cache->cache_bufsize;
    }
}

void
heap_close(struct heap *h)
{
    free_index(h->heap_index);
    free(h->heap_regions);
    free(h->heap_live);
    free(h->heap_caches);
    free(h->heap_arenas);
    free(h->heap_threads);
    ranges_fini(&h->heap_spans);
    ranges_fini(&h->heap_loaded);
    ranges_fini(&h->heap_arena_spans);
    ranges_fini(&h->heap_own);
    ranges_fini(&h->heap_constructed);
    ranges_fini(&h->heap_untold);
    for (size_t i = 0; i < h->heap_uneven_count; i++)
        uneven_free(h->heap_unevens[i]);
    free(h->heap_unevens);
    ranges_fini(&h->heap_twice);
    reader_fini(&h->heap_reader);
    memset(h, 0, sizeof(*h));
}
