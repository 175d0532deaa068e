/* SPDX-License-Identifier: MIT */
/*
 * verify_lists.c - whether slabs and magazines agree with themselves and with
 * each other: counts, the list that a slab is on, links that lead both ways,
 * and no buffer that is free twice.
 *
 * Who changes any of this holds the lock that guards it.  A lock that was held
 * when the target was stopped, or died, means that these are in the midst of a
 * change: then they are passed over.
 */
#include "look/verify.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "heap/engine.h"

#define THREADS_MAX ((uint64_t)1 << 20)
#define SLABS_SLACK 64
#define BITMAP_WORDS_MAX ((uint64_t)1 << 20)

/* What the slabs of a cache come to. */
struct sums {
    uint64_t slabs;
    uint64_t taken; /* chunks that are on no free bitmap */
};

static bool
is_locked(struct heap *h, addr_t structure, struct field lock)
{
    uint64_t word;

    return lock.field_size != 0 &&
           (!reader_word(&h->heap_reader, structure + lock.field_offset, lock.field_size, &word) ||
            word != 0);
}

static bool
is_busy(struct heap *h, const struct heap_cache *cache)
{
    const struct offsets *off = &h->heap_offsets;

    return is_locked(h, cache->cache_addr + off->cache_slabs.field_offset, off->pool_lock_word) ||
           is_locked(h, cache->cache_addr + off->cache_depot.field_offset, off->depot_lock_word);
}

static bool
threads_are_busy(struct heap *h)
{
    const struct offsets *off = &h->heap_offsets;
    struct list_walk w =
        list_begin(h, off->at_umem_tcaches, off->tc_link, THREADS_MAX, "thread caches");

    while (list_next(h, &w, off->size_tcache))
        if (record_get(&w.walk_record, 0, off->tc_lock_word) != 0)
            return true;
    return false;
}

/* Free chunks by the bitmap, which lies behind the record. */
static uint64_t
count_free(const struct offsets *off, const struct record *rec, uint64_t words)
{
    uint64_t free_chunks = 0;

    for (uint64_t i = 0; i < words; i++) {
        struct field word = {off->slab_bitmap.field_offset + (uint32_t)(i * sizeof(uint64_t)),
                             sizeof(uint64_t)};
        free_chunks += (uint64_t)__builtin_popcountll(record_get(rec, 0, word));
    }
    return free_chunks;
}

/* One slab.  list: its list in the pool. */
static void
check_slab(struct verification *v, struct heap *h, uint32_t cache, const struct record *rec,
           struct field list, struct sums *sums)
{
    const struct offsets *off = &h->heap_offsets;
    addr_t addr = rec->rec_addr;
    uint64_t chunks = record_get(rec, 0, off->slab_chunks);
    uint64_t stated = record_get(rec, 0, off->slab_free);
    uint64_t words = record_get(rec, 0, off->slab_words);
    bool purging = record_get(rec, 0, off->slab_purging) != 0;

    if (words > BITMAP_WORDS_MAX)
        return; /* heap_open() has told */
    struct record whole = reader_record(
        &h->heap_reader, addr, (size_t)(off->slab_bitmap.field_offset + words * sizeof(uint64_t)));
    if (whole.rec_data == NULL)
        return;
    uint64_t counted = count_free(off, &whole, words);
    sums->slabs++;
    sums->taken += chunks - counted;
    if (off->slab_free.field_size != 0 && stated != counted)
        verify_note(v, VERIFY_SLAB, cache, addr,
                    "slab corrupted: it counts %" PRIu64 " free buffers, and has %" PRIu64, stated,
                    counted);
    struct field right = counted == 0        ? off->pool_full
                         : counted == chunks ? off->pool_empty
                                             : off->pool_partial;
    if (!purging && right.field_offset != list.field_offset)
        verify_note(v, VERIFY_SLAB, cache, addr,
                    "slab corrupted: with %" PRIu64 " of %" PRIu64
                    " buffers free it is on the wrong list",
                    counted, chunks);
}

static void
check_list(struct verification *v, struct heap *h, uint32_t index, struct field list,
           struct sums *sums)
{
    const struct offsets *off = &h->heap_offsets;
    const struct heap_cache *cache = &h->heap_caches[index];
    addr_t head = cache->cache_addr + off->cache_slabs.field_offset + list.field_offset;
    struct list_walk w = list_begin(h, head, off->slab_link, cache->cache_slab_count + SLABS_SLACK,
                                    cache->cache_name);

    while (list_next(h, &w, off->size_slab))
        check_slab(v, h, index, &w.walk_record, list, sums);
}

static void
check_slabs(struct verification *v, struct heap *h, uint32_t index)
{
    const struct offsets *off = &h->heap_offsets;
    const struct heap_cache *cache = &h->heap_caches[index];
    struct sums sums = {0};
    uint64_t allocated;

    check_list(v, h, index, off->pool_partial, &sums);
    check_list(v, h, index, off->pool_full, &sums);
    check_list(v, h, index, off->pool_empty, &sums);
    if (sums.slabs != cache->cache_slab_count)
        verify_note(v, VERIFY_SLAB, index, cache->cache_addr,
                    "cache corrupted: it counts %" PRIu64 " slabs, and has %" PRIu64,
                    cache->cache_slab_count, sums.slabs);
    addr_t at =
        cache->cache_addr + off->cache_slabs.field_offset + off->pool_allocated.field_offset;
    if (off->pool_allocated.field_size == 0 || cache->cache_slab_count != sums.slabs ||
        !reader_word(&h->heap_reader, at, off->pool_allocated.field_size, &allocated) ||
        allocated == sums.taken)
        return;
    verify_note(v, VERIFY_SLAB, index, cache->cache_addr,
                "cache corrupted: it counts %" PRIu64 " buffers out of its slabs, and %" PRIu64
                " are",
                allocated, sums.taken);
}

/* Buffers that heap_open() met as free when they were so already. */
static void
note_twice(struct verification *v, struct heap *h, uint32_t only)
{
    for (size_t i = 0; i < h->heap_twice.count; i++) {
        addr_t addr = h->heap_twice.list[i].range_start;
        struct block b;
        if (!heap_find(h, addr, &b))
            continue;
        uint32_t cache = h->heap_regions[b.block_region].region_cache;
        if ((only != VERIFY_ALL && cache != only) || verify_row(v, cache)->vc_busy)
            continue;
        struct verify_problem *prb =
            verify_note(v, VERIFY_DUPLICATE, cache, addr, "buffer is free twice: a duplicate free");
        prb->prb_has_block = true;
        prb->prb_block = b;
    }
}

void
verify_lists(struct verification *v, struct heap *h, uint32_t only)
{
    bool busy = threads_are_busy(h);

    for (uint32_t i = 0; i < h->heap_cache_count; i++) {
        struct heap_cache *cache = &h->heap_caches[i];
        if ((only != VERIFY_ALL && only != i) || cache->cache_slab_count == 0)
            continue;
        if (is_busy(h, cache))
            verify_row(v, i)->vc_busy = true;
        else
            check_slabs(v, h, i);
    }
    if (!busy)
        note_twice(v, h, only);
}
