/* SPDX-License-Identifier: MIT */
/*
 * sizes.c - see sizes.h.
 */
#include "look/sizes.h"

#include <stdlib.h>
#include <string.h>

#include "heap/glibc.h"
#include "heap/memory.h"

/* Sizes up to this are counted in a table; blocks of more are rare: 128 KiB is the largest class.
 */
#define TABLE_SIZES ((size_t)131072 + 1)
#define BINS_DEFAULT 16

struct collecting {
    struct heap *h;
    struct sizes *sizes;
    uint64_t *table; /* counts by size */
    struct size_count *larger;
    size_t larger_count;
    size_t larger_room;
    bool failed;
};

static void
count_size(struct collecting *c, uint64_t size)
{
    if (size < TABLE_SIZES) {
        c->table[size]++;
        return;
    }
    if (!memory_grow(&c->larger, &c->larger_room, c->larger_count, sizeof(*c->larger))) {
        c->failed = true;
        return;
    }
    c->larger[c->larger_count++] = (struct size_count){size, 1};
}

static void
add_block(struct collecting *c, struct block b, struct cache_overhead *overhead)
{
    struct block_info info;

    if (heap_block_in_transit(c->h, b))
        return;
    heap_block_info(c->h, b, &info);
    uint64_t size = info.blk_requested;
    if (size == BLOCK_UNKNOWN) {
        c->sizes->siz_unrecorded++;
        size = info.blk_size;
    }
    count_size(c, size);
    c->sizes->siz_buffers++;
    c->sizes->siz_bytes += size;
    overhead->ovh_buffers++;
    overhead->ovh_requested += size;
}

/*
 * Of glibc's heap: chunks of all sizes side by side, each with a word of its
 * size.  What a chunk that is a mapping has besides is left out.
 */
static void
add_chunks(struct collecting *c, uint32_t index, const char *cache)
{
    const struct region *region = &c->h->heap_regions[index];

    for (uint32_t i = 0; i < region->region_blocks; i++) {
        struct block b = {index, i};
        if (!heap_is_live(c->h, b))
            continue;
        uint64_t size = heap_block_scan(c->h, b);
        size_t row = glibc_class(size);
        if (cache != NULL && strcmp(c->h->heap_caches[row].cache_name, cache) != 0)
            continue;
        c->sizes->siz_caches[row].ovh_memory += size + region->region_uneven->une_tail;
        add_block(c, b, &c->sizes->siz_caches[row]);
    }
}

static void
add_region(struct collecting *c, uint32_t index)
{
    const struct region *region = &c->h->heap_regions[index];
    size_t row = region->region_cache == NO_CACHE ? c->h->heap_cache_count : region->region_cache;
    struct cache_overhead *overhead = &c->sizes->siz_caches[row];

    if (region->region_kind == REGION_LARGE || region->region_kind == REGION_FIREWALL)
        overhead->ovh_memory += region->region_chunk;
    for (uint32_t i = 0; i < region->region_blocks; i++)
        if (heap_is_live(c->h, (struct block){index, i}))
            add_block(c, (struct block){index, i}, overhead);
}

static int
compare_sizes(const void *a, const void *b)
{
    uint64_t x = ((const struct size_count *)a)->siz_size;
    uint64_t y = ((const struct size_count *)b)->siz_size;
    return (x > y) - (x < y);
}

/* Table and larger sizes to one ascending list. */
static bool
make_list(struct collecting *c)
{
    size_t n = c->larger_count;

    for (size_t i = 0; i < TABLE_SIZES; i++)
        n += c->table[i] != 0;
    struct size_count *list = calloc(n + 1, sizeof(*list));
    if (list == NULL)
        return false;
    n = 0;
    for (size_t i = 0; i < TABLE_SIZES; i++)
        if (c->table[i] != 0)
            list[n++] = (struct size_count){i, c->table[i]};
    if (c->larger_count > 1)
        qsort(c->larger, c->larger_count, sizeof(*c->larger), compare_sizes);
    for (size_t i = 0; i < c->larger_count; i++) {
        if (n > 0 && list[n - 1].siz_size == c->larger[i].siz_size)
            list[n - 1].siz_count++;
        else
            list[n++] = c->larger[i];
    }
    c->sizes->siz_list = list;
    c->sizes->siz_list_count = n;
    return true;
}

/* Drops the rows of caches that are not used. */
static void
pack_caches(struct heap *h, struct sizes *sizes)
{
    size_t n = 0;

    for (size_t i = 0; i <= h->heap_cache_count; i++) {
        struct cache_overhead *row = &sizes->siz_caches[i];
        row->ovh_cache = i < h->heap_cache_count ? (uint32_t)i : NO_CACHE;
        if (row->ovh_buffers > 0 || row->ovh_memory > 0)
            sizes->siz_caches[n++] = *row;
    }
    sizes->siz_cache_count = n;
}

/* Caches of malloc and umem_alloc have the prefix of theirs; others are the program's own. */
static bool
is_wanted(const struct heap *h, uint32_t cache, const char *name)
{
    const char *own = cache == NO_CACHE ? HEAP_OVERSIZE_NAME : h->heap_caches[cache].cache_name;

    if (name != NULL)
        return strcmp(own, name) == 0;
    return cache == NO_CACHE || strncmp(own, "umem_alloc_", strlen("umem_alloc_")) == 0;
}

int
sizes_find(struct heap *h, const char *cache, struct sizes *sizes)
{
    struct collecting c = {.h = h, .sizes = sizes};

    *sizes = (struct sizes){0};
    c.table = memory_zeroed(TABLE_SIZES, sizeof(*c.table));
    sizes->siz_caches = memory_zeroed(h->heap_cache_count + 1, sizeof(*sizes->siz_caches));
    c.failed = c.table == NULL || sizes->siz_caches == NULL;
    for (uint32_t i = 0; !c.failed && i < h->heap_region_count; i++) {
        const struct region *region = &h->heap_regions[i];
        if (region->region_kind == REGION_CHUNKS)
            add_chunks(&c, i, cache);
        else if (region->region_kind != REGION_MAPPING && region->region_kind != REGION_SEGMENT &&
                 is_wanted(h, region->region_cache, cache))
            add_region(&c, i);
    }
    for (uint32_t i = 0; !c.failed && i < h->heap_cache_count; i++)
        if (is_wanted(h, i, cache))
            sizes->siz_caches[i].ovh_memory +=
                h->heap_caches[i].cache_slab_count * h->heap_caches[i].cache_slab_size;
    bool done = !c.failed && make_list(&c);
    if (done)
        pack_caches(h, sizes);
    free(c.table);
    free(c.larger);
    return done ? 0 : -1;
}

void
sizes_fini(struct sizes *sizes)
{
    free(sizes->siz_list);
    free(sizes->siz_caches);
    *sizes = (struct sizes){0};
}

/* Empty bins from 0 to the largest size; geometric ones begin w, w, 2w, 4w, ... wide. */
static size_t
make_edges(const struct sizes *sizes, const struct size_bins_options *options,
           struct size_bin *bins)
{
    uint64_t largest = sizes->siz_list[sizes->siz_list_count - 1].siz_size;
    unsigned max = options->bno_max == 0 ? BINS_DEFAULT : options->bno_max;
    uint64_t width = options->bno_width == 0 ? 1 : options->bno_width;
    uint64_t low = 0;
    size_t n = 0;

    if (max > SIZE_BINS_MAX)
        max = SIZE_BINS_MAX;
    if (!options->bno_geometric && largest / width + 1 > max)
        width = largest / max + 1;
    while (low <= largest && n < max) {
        uint64_t high = low + width - 1;
        if (n + 1 == max || high < low)
            high = UINT64_MAX;
        if (high >= largest)
            high = largest;
        bins[n++] = (struct size_bin){.bin_low = low, .bin_high = high};
        low = high + 1;
        if (options->bno_geometric && n > 1)
            width *= 2;
    }
    return n;
}

size_t
sizes_bins(const struct sizes *sizes, const struct size_bins_options *options,
           struct size_bin *bins)
{
    if (sizes->siz_list_count == 0)
        return 0;
    size_t count = make_edges(sizes, options, bins);
    size_t bin = 0;
    for (size_t i = 0; i < sizes->siz_list_count; i++) {
        const struct size_count *size = &sizes->siz_list[i];
        while (bin + 1 < count && size->siz_size > bins[bin].bin_high)
            bin++;
        bins[bin].bin_count += size->siz_count;
        bins[bin].bin_bytes += size->siz_count * size->siz_size;
    }
    return count;
}

uint64_t
sizes_most(const struct size_bin *bins, size_t count)
{
    uint64_t most = 1;
    for (size_t i = 0; i < count; i++)
        most = bins[i].bin_count > most ? bins[i].bin_count : most;
    return most;
}
