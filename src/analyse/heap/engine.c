/* SPDX-License-Identifier: MIT */
/*
 * engine.c - walks the engine's structures: caches, slabs, oversize blocks,
 * the engine's own memory.  What is counted, and what bounds every walk, is
 * said in heap.h.
 */
#include "heap/engine.h"
#include "heap/glibc.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* More than this of anything, and a list is a circle that misses its head. */
#define CACHES_MAX 65536
#define LARGES_MAX ((uint64_t)1 << 28)
#define CHUNKS_MAX ((uint64_t)1 << 20)
/* Slabs that may come or go beside the count while a live process is stopped in between. */
#define SLABS_SLACK 64
/* The low bits of a page map word say what its pointer leads to. */
#define PAGEMAP_KIND_MASK 7
/* Bytes of the page map's root that are passed over at once. */
#define EMPTY_PIECE 512
/* Chunks of one slab: 64 KiB to a few MiB of 8 bytes at least. */
#define SLAB_BLOCKS_MAX ((uint64_t)1 << 24)

void
heap_problem(struct heap *h, const char *fmt, ...)
{
    va_list ap;
    if (h->heap_problem_count < HEAP_PROBLEMS_MAX) {
        va_start(ap, fmt);
        vsnprintf(h->heap_problems[h->heap_problem_count], HEAP_PROBLEM_SIZE, fmt, ap);
        va_end(ap);
    }
    h->heap_problem_count++;
}

bool
heap_is_complete(const struct heap *h)
{
    return h->heap_problem_count == 0 && target_is_complete(h->heap_target);
}

bool
heap_has_cache(const struct heap *h, const char *name)
{
    for (size_t i = 0; i < h->heap_cache_count; i++)
        if (strcmp(h->heap_caches[i].cache_name, name) == 0)
            return true;
    return strcmp(name, HEAP_OVERSIZE_NAME) == 0;
}

void
copy_name(char *name, size_t size, const struct record *rec, struct field f)
{
    size_t n = 0;
    if (rec->rec_data != NULL && f.field_offset < rec->rec_size) {
        size_t max = rec->rec_size - f.field_offset;
        if (max > f.field_size)
            max = f.field_size;
        const unsigned char *text = rec->rec_data + f.field_offset;
        for (; n < max && n < size - 1 && text[n] != '\0'; n++)
            name[n] = isprint(text[n]) ? (char)text[n] : '?';
    }
    name[n] = '\0';
}

struct list_walk
list_begin(struct heap *h, addr_t head, struct field link, uint64_t limit, const char *what)
{
    struct list_walk w = {
        .walk_head = head, .walk_link = link, .walk_left = limit, .walk_what = what};
    if (!reader_word(&h->heap_reader, head + h->heap_offsets.list_next.field_offset,
                     h->heap_offsets.off_word, &w.walk_next)) {
        heap_problem(h, "the list of %s cannot be read", what);
        w.walk_next = head;
    }
    return w;
}

bool
list_next(struct heap *h, struct list_walk *w, uint64_t record_size)
{
    if (w->walk_next == w->walk_head)
        return false;
    if (w->walk_left-- == 0 || (w->walk_steps > 0 && w->walk_next == w->walk_mark)) {
        heap_problem(h, "the list of %s does not end", w->walk_what);
        return false;
    }
    if ((w->walk_steps & (w->walk_steps + 1)) == 0)
        w->walk_mark = w->walk_next;
    w->walk_steps++;
    w->walk_addr = w->walk_next - w->walk_link.field_offset;
    w->walk_record = reader_record(&h->heap_reader, w->walk_addr, (size_t)record_size);
    if (w->walk_record.rec_data == NULL) {
        heap_problem(h, "the list of %s leads to 0x%llx, which cannot be read", w->walk_what,
                     (unsigned long long)w->walk_addr);
        return false;
    }
    w->walk_next =
        record_get(&w->walk_record, w->walk_link.field_offset, h->heap_offsets.list_next);
    return true;
}

static void
read_cache(struct heap *h, struct heap_cache *cache, const struct record *rec)
{
    const struct offsets *off = &h->heap_offsets;
    uint64_t pool = off->cache_slabs.field_offset;

    cache->cache_addr = rec->rec_addr;
    copy_name(cache->cache_name, sizeof(cache->cache_name), rec, off->cache_name);
    cache->cache_bin = (uint32_t)record_get(rec, 0, off->cache_slow_bin);
    cache->cache_flags = (uint32_t)record_get(rec, 0, off->cache_flags);
    cache->cache_cflags = (uint32_t)record_get(rec, 0, off->cache_cflags);
    cache->cache_bufsize = record_get(rec, 0, off->cache_bufsize);
    cache->cache_bufspace = record_get(rec, 0, off->cache_bufspace);
    cache->cache_chunk = record_get(rec, pool, off->pool_chunk_size);
    cache->cache_slab_size = record_get(rec, pool, off->pool_slab_size);
    cache->cache_slab_count = record_get(rec, pool, off->pool_slabs);
    cache->cache_sidecar = (uint32_t)record_get(rec, pool, off->pool_sidecar);
    cache->cache_constructed = record_get(rec, 0, off->cache_dtor) != 0;
    cache->cache_allocs =
        record_get(rec, 0, off->cache_slow_allocs) + record_get(rec, 0, off->cache_retired_allocs);
    cache->cache_fails = record_get(rec, 0, off->cache_fails);
}

void
heap_read_caches(struct heap *h)
{
    const struct offsets *off = &h->heap_offsets;
    struct list_walk w = list_begin(h, off->at_umem_caches, off->cache_link, CACHES_MAX, "caches");
    size_t room = 0;

    while (list_next(h, &w, off->size_umem_cache)) {
        if (h->heap_cache_count == room) {
            room = room == 0 ? 128 : 2 * room;
            struct heap_cache *caches = realloc(h->heap_caches, room * sizeof(*caches));
            if (caches == NULL) {
                heap_problem(h, "no memory for the list of caches");
                return;
            }
            h->heap_caches = caches;
        }
        struct heap_cache *cache = &h->heap_caches[h->heap_cache_count++];
        memset(cache, 0, sizeof(*cache));
        read_cache(h, cache, &w.walk_record);
    }
}

static bool
is_mapped(const struct heap *h, addr_t start, addr_t end)
{
    return start < end && target_mapping_of(h->heap_target, start) != NULL &&
           target_mapping_of(h->heap_target, end - 1) != NULL;
}

/* Adds a slab; its record with the bitmap was read.  False: it makes no sense. */
static bool
add_slab(struct heap *h, uint32_t cache_index, const struct record *rec)
{
    const struct offsets *off = &h->heap_offsets;
    const struct heap_cache *cache = &h->heap_caches[cache_index];
    uint64_t chunks = record_get(rec, 0, off->slab_chunks);
    uint64_t base = record_get(rec, 0, off->slab_base);
    uint64_t span = record_get(rec, 0, off->slab_span);
    uint64_t words = record_get(rec, 0, off->slab_words);

    if (record_get(rec, 0, off->slab_pool) != cache->cache_addr + off->cache_slabs.field_offset ||
        chunks == 0 || chunks > SLAB_BLOCKS_MAX || words != (chunks + 63) / 64 || base < span ||
        base - span + chunks * cache->cache_chunk > cache->cache_slab_size ||
        !is_mapped(h, base, base + chunks * cache->cache_chunk))
        return false;
    uint64_t scan = cache->cache_bufspace < cache->cache_chunk && cache->cache_bufspace > 0
                        ? cache->cache_bufspace
                        : cache->cache_chunk;
    struct region geometry = {
        .region_base = base,
        .region_chunk = cache->cache_chunk,
        .region_scan = scan,
        .region_record = cache->cache_sidecar > 0 ? record_get(rec, 0, off->slab_sidecar) : 0,
        .region_blocks = (uint32_t)chunks,
        .region_cache = cache_index,
        .region_kind = REGION_SLAB};
    const struct region *region = heap_add_region(h, &geometry);
    if (region == NULL)
        return false;
    uint64_t *live = &h->heap_live[region->region_first / 64];
    for (uint64_t i = 0; i < words; i++) { /* a set bit of the slab is a free chunk */
        uint64_t word;
        memcpy(&word, rec->rec_data + off->slab_bitmap.field_offset + i * sizeof(word),
               sizeof(word));
        live[i] &= ~word;
    }
    return true;
}

static void
read_slab_list(struct heap *h, uint32_t cache_index, struct field list, uint64_t record_size,
               const char *what)
{
    const struct offsets *off = &h->heap_offsets;
    const struct heap_cache *cache = &h->heap_caches[cache_index];
    addr_t head = cache->cache_addr + off->cache_slabs.field_offset + list.field_offset;
    struct list_walk w =
        list_begin(h, head, off->slab_link, cache->cache_slab_count + SLABS_SLACK, what);
    while (list_next(h, &w, record_size)) {
        if (add_slab(h, cache_index, &w.walk_record)) {
            h->heap_caches[cache_index].cache_slabs_found++;
        } else {
            heap_problem(h, "a slab of %s at 0x%llx is damaged", cache->cache_name,
                         (unsigned long long)w.walk_addr);
            return;
        }
    }
}

void
heap_read_slabs(struct heap *h)
{
    const struct offsets *off = &h->heap_offsets;
    char what[HEAP_NAME_SIZE + 16];
    for (uint32_t i = 0; i < h->heap_cache_count; i++) {
        const struct heap_cache *cache = &h->heap_caches[i];
        if (cache->cache_slab_count == 0 && cache->cache_slab_size == 0)
            continue; /* never used */
        if (cache->cache_chunk == 0 || cache->cache_slab_size < cache->cache_chunk ||
            cache->cache_slab_size / cache->cache_chunk > SLAB_BLOCKS_MAX) {
            heap_problem(h, "cache %s has an impossible geometry", cache->cache_name);
            continue;
        }
        uint64_t chunks = cache->cache_slab_size / cache->cache_chunk;
        uint64_t size = off->slab_bitmap.field_offset + (chunks + 63) / 64 * sizeof(uint64_t);
        snprintf(what, sizeof(what), "slabs of %s", cache->cache_name);
        read_slab_list(h, i, off->pool_partial, size, what);
        read_slab_list(h, i, off->pool_full, size, what);
        read_slab_list(h, i, off->pool_empty, size, what);
    }
}

/*
 * The page map's word of a granule, 0 where there is none; *next: the next granule that may have
 * one, or ~0.
 */
static uint64_t
pagemap_word(struct heap *h, addr_t addr, addr_t *next)
{
    const struct offsets *off = &h->heap_offsets;
    unsigned leaf_shift =
        (unsigned)(off->const_UMEM_GRANULE_SHIFT + off->const_UMEM_PAGEMAP_LEAF_BITS);
    uint64_t granule = addr >> off->const_UMEM_GRANULE_SHIFT;
    uint64_t top = granule >> off->const_UMEM_PAGEMAP_LEAF_BITS;
    uint64_t index = granule & (((uint64_t)1 << off->const_UMEM_PAGEMAP_LEAF_BITS) - 1);
    uint64_t leaf = 0;
    uint64_t word;

    *next = ~(addr_t)0;
    if (top >> off->const_UMEM_PAGEMAP_ROOT_BITS != 0)
        return 0;
    *next = (top + 1) << leaf_shift;
    if (!reader_word(&h->heap_reader, off->at_umem_pagemap_root + top * off->off_word,
                     off->off_word, &leaf) ||
        leaf == 0)
        return 0;
    *next = (granule + 1) << off->const_UMEM_GRANULE_SHIFT;
    return reader_word(&h->heap_reader, leaf + index * sizeof(word), sizeof(word), &word) ? word
                                                                                          : 0;
}

/* The slab at record, if it is one of a cache that misses some. */
static bool
add_missing_slab(struct heap *h, addr_t record)
{
    const struct offsets *off = &h->heap_offsets;
    struct record head = reader_record(&h->heap_reader, record, off->size_slab);
    uint64_t pool = record_get(&head, 0, off->slab_pool);
    uint64_t words = record_get(&head, 0, off->slab_words);

    for (uint32_t i = 0; i < h->heap_cache_count; i++) {
        struct heap_cache *cache = &h->heap_caches[i];
        if (pool != cache->cache_addr + off->cache_slabs.field_offset ||
            cache->cache_slabs_found >= cache->cache_slab_count || words > SLAB_BLOCKS_MAX / 64)
            continue;
        struct record rec =
            reader_record(&h->heap_reader, record,
                          (size_t)(off->slab_bitmap.field_offset + words * sizeof(uint64_t)));
        if (rec.rec_data == NULL || !add_slab(h, i, &rec))
            return false;
        cache->cache_slabs_found++;
        return true;
    }
    return false;
}

bool
heap_find_missing_slabs(struct heap *h)
{
    const struct offsets *off = &h->heap_offsets;
    bool missing = false;
    bool found = false;
    uint64_t last = 0;
    struct block b;

    for (size_t i = 0; i < h->heap_cache_count; i++)
        if (h->heap_caches[i].cache_slabs_found < h->heap_caches[i].cache_slab_count)
            missing = true;
    if (!missing || off->const_UMEM_GRANULE_SHIFT < 12 || off->const_UMEM_GRANULE_SHIFT > 32 ||
        off->const_UMEM_PAGEMAP_LEAF_BITS > 24 || off->const_UMEM_PAGEMAP_ROOT_BITS > 24)
        return false;
    addr_t granule = (addr_t)1 << off->const_UMEM_GRANULE_SHIFT;
    for (size_t i = 0; i < h->heap_spans.count; i++) {
        const struct range *span = &h->heap_spans.list[i];
        for (addr_t at = span->range_start, next; at < span->range_end; at = next) {
            uint64_t word = pagemap_word(h, at, &next);
            if (next <= at)
                next = ~(addr_t)0; /* past the end of the address space */
            addr_t record = word & off->const_UMEM_PAGEMAP_POINTER_MASK;
            /* Half a granule on, behind any colour: the slab's first blocks, if it is known. */
            if ((word & PAGEMAP_KIND_MASK) != off->const_UMEM_PAGEMAP_SLAB || record == last ||
                heap_find(h, at + granule / 2, &b))
                continue;
            last = record;
            found = add_missing_slab(h, record) || found;
        }
    }
    return found;
}

void
heap_read_larges(struct heap *h)
{
    const struct offsets *off = &h->heap_offsets;
    struct list_walk w =
        list_begin(h, off->at_umem_larges, off->large_link, LARGES_MAX, "oversize blocks");

    while (list_next(h, &w, off->size_umem_large)) {
        uint64_t base = record_get(&w.walk_record, 0, off->large_base);
        uint64_t end = base + record_get(&w.walk_record, 0, off->large_span_size);
        if (base >= end || !is_mapped(h, base, end)) {
            heap_problem(h, "the oversize block at 0x%llx is damaged", (unsigned long long)base);
            return;
        }
        struct region geometry = {.region_base = base,
                                  .region_chunk = end - base,
                                  .region_scan = end - base,
                                  .region_record = w.walk_addr,
                                  .region_blocks = 1,
                                  .region_cache = NO_CACHE,
                                  .region_kind = REGION_LARGE};
        if (heap_add_region(h, &geometry) == NULL) {
            heap_problem(h, "no room for the oversize block at 0x%llx", (unsigned long long)base);
            return;
        }
    }
}

/* Whether a piece of a table at data begins with entries that are all NULL, as most are. */
static bool
is_empty(const unsigned char *data, size_t size)
{
    static const unsigned char empty[EMPTY_PIECE];
    return size >= sizeof(empty) && memcmp(data, empty, sizeof(empty)) == 0;
}

/* A table of pointers in the library's data, each leading to size bytes of its own memory. */
static void
own_table(struct heap *h, addr_t table, uint64_t count, uint64_t size, const char *what)
{
    const unsigned word = h->heap_offsets.off_word;
    addr_t at = table;
    const addr_t end = table + count * word;

    while (at < end) {
        size_t got;
        const unsigned char *data = reader_some(&h->heap_reader, at, (size_t)(end - at), &got);
        if (data == NULL || got < word) {
            heap_problem(h, "the table of %s cannot be read", what);
            return;
        }
        for (size_t i = 0; i + word <= got; i += word) {
            while (is_empty(data + i, got - i))
                i += EMPTY_PIECE;
            if (i + word > got)
                break;
            addr_t addr = word_get(data + i, word);
            if (addr != 0 && addr + size > addr)
                ranges_add(&h->heap_own, addr, addr + size);
        }
        at += got & ~(size_t)(word - 1);
    }
}

void
heap_read_own(struct heap *h)
{
    const struct offsets *off = &h->heap_offsets;
    uint64_t addr;
    uint64_t left = CHUNKS_MAX;

    if (!reader_word(&h->heap_reader, off->at_umem_meta_chunks, off->off_word, &addr)) {
        heap_problem(h, "the list of metadata cannot be read");
        addr = 0;
    }
    for (; addr != 0 && left > 0; left--) {
        struct record rec = reader_record(&h->heap_reader, addr, off->size_umem_meta_chunk);
        uint64_t size = record_get(&rec, 0, off->chunk_size);
        if (rec.rec_data == NULL || addr + size <= addr || !is_mapped(h, addr, addr + size)) {
            heap_problem(h, "the list of metadata leads to 0x%llx, which makes no sense",
                         (unsigned long long)addr);
            break;
        }
        ranges_add(&h->heap_own, addr, addr + size);
        addr = record_get(&rec, 0, off->chunk_next);
    }
    if (left == 0)
        heap_problem(h, "the list of metadata does not end");
    if (off->const_UMEM_PAGEMAP_ROOT_BITS <= 24 && off->const_UMEM_PAGEMAP_LEAF_BITS <= 24)
        own_table(h, off->at_umem_pagemap_root, (uint64_t)1 << off->const_UMEM_PAGEMAP_ROOT_BITS,
                  sizeof(uint64_t) << off->const_UMEM_PAGEMAP_LEAF_BITS, "the page map");
    if (off->const_UMEM_STACKS_SEGMENTS <= 1 << 20 && off->const_UMEM_STACKS_SEGMENT_SHIFT <= 24)
        own_table(h, off->at_umem_stacks_segment, off->const_UMEM_STACKS_SEGMENTS,
                  (uint64_t)8 << off->const_UMEM_STACKS_SEGMENT_SHIFT, "recorded stacks");
    ranges_sort(&h->heap_own);
}

enum heap_read
heap_open(struct heap *h, struct target *t, char *why, size_t size)
{
    memset(h, 0, sizeof(*h));
    h->heap_target = t;
    if (reader_init(&h->heap_reader, t) != 0) {
        snprintf(why, size, "no memory");
        return HEAP_FAILED;
    }
    enum offsets_status found = offsets_load(t, &h->heap_offsets, why, size);
    if (found == OFFSETS_NO_LIBRARY) {
        enum heap_read other = glibc_open(h);
        if (other == HEAP_OK)
            return other;
        if (other == HEAP_FAILED)
            snprintf(why, size, "no memory");
    }
    if (found != OFFSETS_OK) {
        heap_close(h);
        return HEAP_FAILED;
    }
    if (h->heap_offsets.off_state != h->heap_offsets.const_UMEM_STATE_READY) {
        snprintf(why, size, "%s is loaded and has not allocated anything yet",
                 h->heap_offsets.off_module);
        return HEAP_NONE;
    }
    heap_read_caches(h);
    heap_read_slabs(h);
    heap_read_larges(h);
    heap_read_firewalls(h);
    heap_read_own(h);
    heap_read_arenas(h);
    bool sealed = heap_seal(h) == 0;
    if (sealed && heap_find_missing_slabs(h))
        sealed = heap_seal(h) == 0;
    if (!sealed) {
        snprintf(why, size, "no memory");
        heap_close(h);
        return HEAP_FAILED;
    }
    heap_read_magazines(h);
    heap_read_transit(h);
    heap_read_cached_stacks(h);
    heap_read_freed(h);
    heap_count(h);
    return HEAP_OK;
}
