/* SPDX-License-Identifier: MIT */
/*
 * glibc_free.c - free chunks that are marked as in use: those in fast bins and
 * in threads' caches (tcache).
 *
 * Both are singly linked through the first word of the chunk's memory.  From
 * 2.32 on that word is mixed with its own address; which of the two it is
 * shows in whether it leads to a chunk.
 */
#include <string.h>

#include "heap/glibc.h"

#define TCACHE_BINS 64
#define TCACHE_COUNT_SIZE 2 /* bytes: since 2.30 */
#define SAFE_LINK_SHIFT 12
/* Longer than any list can be: a circle. */
#define FAST_LIST_MAX ((uint64_t)1 << 28)

/* The block that begins at addr. */
static bool
block_at(struct heap *h, addr_t addr, struct block *b)
{
    return heap_find(h, addr, b) && h->heap_regions[b->block_region].region_kind == REGION_CHUNKS &&
           heap_block_addr(h, *b) == addr;
}

/* Counts a block as free; false where it is no block, or was free already. */
static bool
take_free(struct heap *h, addr_t addr)
{
    struct block b;
    if (!block_at(h, addr, &b) || !heap_is_live(h, b))
        return false;
    bit_clear(h->heap_live, heap_block_number(h, b));
    h->heap_caches[glibc_class(heap_block_scan(h, b))].cache_cached++;
    return true;
}

/* What follows the block at addr in its list; lead: what links point before it.  0: the end. */
static bool
next_of(struct glibc *g, addr_t addr, uint64_t lead, addr_t *next)
{
    struct heap *h = g->g_heap;
    struct block b;
    uint64_t plain;
    if (!reader_word(&h->heap_reader, addr, g->g_word, &plain))
        return false;
    uint64_t mixed = plain ^ addr >> SAFE_LINK_SHIFT;
    if (plain == 0 || mixed == 0) {
        *next = 0;
        return true;
    }
    *next = mixed + lead;
    if (block_at(h, *next, &b))
        return true;
    *next = plain + lead;
    return block_at(h, *next, &b);
}

/* A list of free blocks from addr on, at most so many. */
static void
take_list(struct glibc *g, addr_t addr, uint64_t lead, uint64_t most, const char *what)
{
    for (; addr != 0 && most > 0; most--) {
        addr_t next;
        if (!take_free(g->g_heap, addr) || !next_of(g, addr, lead, &next)) {
            heap_problem(g->g_heap, "a list of %s is damaged at 0x%llx", what,
                         (unsigned long long)addr);
            return;
        }
        addr = next;
    }
}

void
glibc_read_fast_bins(struct glibc *g)
{
    uint64_t header = 2 * (uint64_t)g->g_word;
    for (size_t a = 0; a < g->g_arena_count; a++)
        for (unsigned i = 0; i < g->g_layout.ar_fast_count; i++) {
            uint64_t chunk;
            addr_t at = g->g_arenas[a] + g->g_layout.ar_fast_bins + i * g->g_word;
            if (reader_word(&g->g_heap->heap_reader, at, g->g_word, &chunk) && chunk != 0)
                take_list(g, chunk + header, header, FAST_LIST_MAX, "a fast bin");
        }
}

/* --- Threads' caches --- */

struct tcache {
    uint16_t count[TCACHE_BINS];
    addr_t first[TCACHE_BINS];
};

static bool
read_tcache(struct glibc *g, addr_t addr, struct tcache *cache)
{
    const size_t counts = (size_t)TCACHE_BINS * TCACHE_COUNT_SIZE;
    struct record rec =
        reader_record(&g->g_heap->heap_reader, addr, counts + (size_t)TCACHE_BINS * g->g_word);
    if (rec.rec_data == NULL)
        return false;
    for (size_t i = 0; i < TCACHE_BINS; i++) {
        cache->count[i] =
            (uint16_t)record_get(&rec, i * TCACHE_COUNT_SIZE, (struct field){0, TCACHE_COUNT_SIZE});
        cache->first[i] =
            record_get(&rec, counts + i * g->g_word, (struct field){0, (uint32_t)g->g_word});
    }
    return true;
}

/* Each list is empty, or begins with a block of its size; and one is not empty. */
static bool
looks_like_tcache(struct glibc *g, const struct tcache *cache)
{
    struct block b;
    bool any = false;
    for (size_t i = 0; i < TCACHE_BINS; i++) {
        if (cache->first[i] == 0 && cache->count[i] == 0)
            continue;
        uint64_t usable = GLIBC_CHUNK_MIN(g->g_word) + i * GLIBC_ALIGN - g->g_word;
        if (cache->count[i] == 0 || !block_at(g->g_heap, cache->first[i], &b) ||
            heap_block_scan(g->g_heap, b) != usable)
            return false;
        any = true;
    }
    return any;
}

static void
try_tcache(struct glibc *g, struct block b)
{
    struct tcache cache;
    if (!read_tcache(g, heap_block_addr(g->g_heap, b), &cache) || !looks_like_tcache(g, &cache))
        return;
    for (size_t i = 0; i < TCACHE_BINS; i++)
        take_list(g, cache.first[i], 0, cache.count[i], "a thread's cache");
}

void
glibc_read_thread_caches(struct glibc *g)
{
    struct heap *h = g->g_heap;
    uint64_t size = (uint64_t)TCACHE_BINS * (TCACHE_COUNT_SIZE + g->g_word);

    for (uint32_t r = 0; r < h->heap_region_count; r++)
        for (uint32_t i = 0; i < h->heap_regions[r].region_blocks; i++) {
            struct block b = {r, i};
            uint64_t usable = heap_block_scan(h, b);
            if (usable >= size && usable < size + GLIBC_ALIGN && heap_is_live(h, b))
                try_tcache(g, b);
        }
}
