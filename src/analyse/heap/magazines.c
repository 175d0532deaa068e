/* SPDX-License-Identifier: MIT */
/*
 * magazines.c - takes what lies in magazines off the live blocks: the depot's
 * full ones, and each thread's loaded and previous one.  And what lies in the
 * reserves of sealed caches.
 */
#include "heap/engine.h"

#include <stdlib.h>
#include <string.h>

/* Engines of today stop at some hundred rounds a magazine. */
#define ROUNDS_MAX 65536
#define THREADS_MAX ((uint64_t)1 << 20)
#define BINS_MAX 65536
/* Magazines that may move while a live process is stopped in between. */
#define MAGAZINES_SLACK 64

/* Takes one free object off the live ones. */
static bool
subtract(struct heap *h, addr_t addr)
{
    struct block b;
    if (!heap_find(h, addr, &b) || heap_block_addr(h, b) != addr ||
        h->heap_regions[b.block_region].region_kind != REGION_SLAB)
        return false;
    uint64_t n = heap_block_number(h, b);
    if (!bit_get(h->heap_live, n)) {
        ranges_add(&h->heap_twice, addr, addr + 1);
    } else {
        const struct region *region = &h->heap_regions[b.block_region];
        struct heap_cache *cache = &h->heap_caches[region->region_cache];
        bit_clear(h->heap_live, n);
        cache->cache_cached++;
        if (cache->cache_constructed)
            ranges_add(&h->heap_constructed, addr, addr + region->region_scan);
    }
    return true;
}

/* Subtracts count rounds from addr on; returns how many. */
static uint64_t
subtract_rounds(struct heap *h, addr_t addr, uint64_t count, const char *where)
{
    unsigned word = h->heap_offsets.off_word;
    uint64_t bad = 0;

    if (count == 0)
        return 0;
    if (count > ROUNDS_MAX) {
        heap_problem(h, "a magazine of %s at 0x%llx is damaged", where, (unsigned long long)addr);
        return 0;
    }
    struct record rec = reader_record(&h->heap_reader, addr, (size_t)(count * word));
    if (rec.rec_data == NULL) {
        heap_problem(h, "a magazine of %s at 0x%llx cannot be read", where,
                     (unsigned long long)addr);
        return 0;
    }
    for (uint64_t i = 0; i < count; i++)
        if (!subtract(h, record_get(&rec, i * word, (struct field){0, word})))
            bad++;
    if (bad > 0)
        heap_problem(h, "%llu objects in a magazine of %s at 0x%llx lie in no slab",
                     (unsigned long long)bad, where, (unsigned long long)addr);
    return count - bad;
}

/* A magazine whose mag_rounds counts; returns its rounds, *next the one behind it. */
static uint64_t
subtract_magazine(struct heap *h, addr_t mag, const char *where, addr_t *next)
{
    const struct offsets *off = &h->heap_offsets;
    struct record rec = reader_record(&h->heap_reader, mag, off->size_magazine);
    uint64_t rounds = record_get(&rec, 0, off->mag_rounds);

    *next = record_get(&rec, 0, off->mag_next);
    if (rec.rec_data == NULL || rounds > record_get(&rec, 0, off->mag_size)) {
        heap_problem(h, "a magazine of %s at 0x%llx is damaged", where, (unsigned long long)mag);
        *next = 0;
        return 0;
    }
    return subtract_rounds(h, mag + off->mag_round.field_offset, rounds, where);
}

static void
read_depot(struct heap *h, const struct heap_cache *cache)
{
    const struct offsets *off = &h->heap_offsets;
    addr_t list = cache->cache_addr + off->cache_depot.field_offset + off->depot_full.field_offset;
    uint64_t mag;
    uint64_t count;

    if (!reader_word(&h->heap_reader, list + off->list_head.field_offset, off->off_word, &mag) ||
        !reader_word(&h->heap_reader, list + off->list_count.field_offset, off->off_word, &count)) {
        heap_problem(h, "the depot of %s cannot be read", cache->cache_name);
        return;
    }
    uint64_t left = count + MAGAZINES_SLACK;
    addr_t mark = 0; /* one passed, the first after each power of 2: met again in a circle */
    for (uint64_t n = 0; mag != 0 && mag != mark && n < left; n++) {
        if ((n & (n + 1)) == 0)
            mark = mag;
        subtract_magazine(h, mag, cache->cache_name, &mag);
    }
    if (mag != 0)
        heap_problem(h, "the depot of %s does not end", cache->cache_name);
}

/* A node of a sealed cache's reserve leads to a free object, or has none. */
static void
read_reserve(struct heap *h, const struct heap_cache *cache)
{
    const struct offsets *off = &h->heap_offsets;
    uint64_t size = off->res_node.field_size;
    uint64_t reserve, nodes, bad = 0;

    if (off->cache_reserve.field_size == 0 || size == 0)
        return;
    if (!reader_word(&h->heap_reader, cache->cache_addr + off->cache_reserve.field_offset,
                     off->off_word, &reserve)) {
        heap_problem(h, "the reserve of %s cannot be read", cache->cache_name);
        return;
    }
    if (reserve == 0)
        return;
    if (!reader_word(&h->heap_reader, reserve + off->res_nodes.field_offset,
                     off->res_nodes.field_size, &nodes) ||
        nodes > h->heap_blocks) {
        heap_problem(h, "the reserve of %s at 0x%llx is damaged", cache->cache_name,
                     (unsigned long long)reserve);
        return;
    }
    for (uint64_t i = 0; i < nodes; i++) {
        addr_t node = reserve + off->res_node.field_offset + i * size;
        uint64_t obj;
        if (!reader_word(&h->heap_reader, node + off->node_obj.field_offset, off->off_word, &obj) ||
            (obj != 0 && !subtract(h, obj)))
            bad++;
    }
    if (bad > 0)
        heap_problem(h, "%llu objects in the reserve of %s lie in no slab", (unsigned long long)bad,
                     cache->cache_name);
}

/* Bins of every cache: bin -> index of the cache + 1, 0 none. */
struct bin_table {
    uint32_t *bin_caches;
    size_t bin_count;
};

static bool
make_bin_table(const struct heap *h, struct bin_table *table)
{
    *table = (struct bin_table){.bin_count = 1};
    for (size_t i = 0; i < h->heap_cache_count; i++) {
        uint32_t bin = h->heap_caches[i].cache_bin;
        if (bin < BINS_MAX && bin >= table->bin_count)
            table->bin_count = (size_t)bin + 1;
    }
    table->bin_caches = calloc(table->bin_count, sizeof(*table->bin_caches));
    for (size_t i = 0; table->bin_caches != NULL && i < h->heap_cache_count; i++) {
        uint32_t bin = h->heap_caches[i].cache_bin;
        if (bin > 0 && bin < BINS_MAX)
            table->bin_caches[bin] = (uint32_t)i + 1;
    }
    return table->bin_caches != NULL;
}

/*
 * Rounds of a bin's loaded magazine.  A thread may be stopped between two
 * steps of an exchange: then the window and the magazine do not belong
 * together, and what the magazine itself says counts.
 */
static uint64_t
subtract_loaded(struct heap *h, uint64_t cur, addr_t loaded, const char *where)
{
    const struct offsets *off = &h->heap_offsets;
    addr_t first = loaded + off->mag_round.field_offset;
    struct record rec = reader_record(&h->heap_reader, loaded, off->size_magazine);
    uint64_t size = record_get(&rec, 0, off->mag_size);
    addr_t next;

    if (cur >= first && cur <= first + size * off->off_word)
        return subtract_rounds(h, first, (cur - first) / off->off_word, where);
    return subtract_magazine(h, loaded, where, &next);
}

/* The thread's bins are copied, since reading rounds moves the reader on. */
static void
read_bins(struct heap *h, struct heap_thread *thread, const struct record *bins, uint64_t count,
          const struct bin_table *table)
{
    const struct offsets *off = &h->heap_offsets;

    for (uint64_t i = 1; i < count; i++) {
        uint64_t at = i * off->size_tbin;
        uint32_t allocs = (uint32_t)record_get(bins, at, off->bin_granted) -
                          (uint32_t)record_get(bins, at, off->bin_credit);
        addr_t loaded = record_get(bins, at, off->bin_loaded);
        addr_t previous = record_get(bins, at, off->bin_previous);
        addr_t next;
        uint32_t number = i < table->bin_count ? table->bin_caches[i] : 0;
        struct heap_cache *cache = number != 0 ? &h->heap_caches[number - 1] : NULL;
        const char *where = cache != NULL ? cache->cache_name : "a thread";

        if (cache != NULL)
            cache->cache_allocs += allocs;
        thread->thread_allocs += allocs;
        uint64_t rounds = 0;
        if (loaded != 0) {
            rounds = subtract_loaded(h, record_get(bins, at, off->bin_cur), loaded, where);
            ranges_add(&h->heap_loaded, loaded, loaded + 1);
        }
        /* In an exchange both may name one magazine. */
        if (previous != 0 && previous != loaded)
            rounds += subtract_magazine(h, previous, where, &next);
        thread->thread_cached += rounds;
        thread->thread_cached_bytes += cache != NULL ? rounds * cache->cache_bufsize : 0;
    }
}

static void
read_thread(struct heap *h, addr_t addr, const struct record *head, const struct bin_table *table)
{
    const struct offsets *off = &h->heap_offsets;
    uint64_t count = record_get(head, 0, off->tc_bins);
    struct heap_thread *threads =
        realloc(h->heap_threads, (h->heap_thread_count + 1) * sizeof(*threads));

    if (threads == NULL)
        return;
    h->heap_threads = threads;
    struct heap_thread *thread = &threads[h->heap_thread_count++];
    *thread = (struct heap_thread){.thread_id = (uint32_t)record_get(head, 0, off->tc_thread)};
    if (count > BINS_MAX) {
        heap_problem(h, "the cache of thread %u is damaged", thread->thread_id);
        return;
    }
    size_t size = (size_t)(count * off->size_tbin);
    const void *bins = reader_get(&h->heap_reader, addr + off->tc_bin.field_offset, size);
    unsigned char *copy = bins != NULL ? malloc(size + 1) : NULL;
    if (copy == NULL) {
        heap_problem(h, "the cache of thread %u cannot be read", thread->thread_id);
    } else {
        memcpy(copy, bins, size);
        struct record rec = {copy, size, addr};
        read_bins(h, thread, &rec, count, table);
    }
    free(copy);
}

void
heap_read_magazines(struct heap *h)
{
    const struct offsets *off = &h->heap_offsets;
    struct bin_table table;

    if (!make_bin_table(h, &table)) {
        heap_problem(h, "no memory for the table of bins");
        return;
    }
    for (size_t i = 0; i < h->heap_cache_count; i++) {
        read_depot(h, &h->heap_caches[i]);
        read_reserve(h, &h->heap_caches[i]);
    }
    struct list_walk w =
        list_begin(h, off->at_umem_tcaches, off->tc_link, THREADS_MAX, "thread caches");
    while (list_next(h, &w, off->size_tcache))
        read_thread(h, w.walk_addr, &w.walk_record, &table);
    ranges_sort(&h->heap_loaded);
    free(table.bin_caches);
}

/*
 * Whether a round can be one of a magazine in somebody's hands: a block of the
 * same cache as those before, whose record, where there is one, does not say
 * that the program has it.  A stale magazine keeps rounds that were handed out.
 */
static bool
is_round(struct heap *h, addr_t addr, uint32_t *cache)
{
    const struct offsets *off = &h->heap_offsets;
    struct block b;
    uint64_t state;

    if (!heap_find(h, addr, &b) || heap_block_addr(h, b) != addr)
        return false;
    const struct region *region = &h->heap_regions[b.block_region];
    if (region->region_kind != REGION_SLAB ||
        (*cache != NO_CACHE && region->region_cache != *cache))
        return false;
    *cache = region->region_cache;
    uint32_t sidecar = h->heap_caches[*cache].cache_sidecar;
    if (region->region_record == 0 ||
        sidecar < off->bc_state.field_offset + off->bc_state.field_size)
        return true;
    return reader_word(&h->heap_reader,
                       region->region_record + (uint64_t)b.block_index * sidecar +
                           off->bc_state.field_offset,
                       off->bc_state.field_size, &state) &&
           state != off->const_UMEM_BUFFER_ALLOCATED;
}

bool
heap_subtract_magazine(struct heap *h, addr_t mag, addr_t *next)
{
    const struct offsets *off = &h->heap_offsets;
    unsigned word = off->off_word;
    struct record head = reader_record(&h->heap_reader, mag, off->size_magazine);
    uint64_t rounds = record_get(&head, 0, off->mag_rounds);
    addr_t first = mag + off->mag_round.field_offset;
    uint32_t cache = NO_CACHE;
    uint64_t addr;

    *next = record_get(&head, 0, off->mag_next);
    if (head.rec_data == NULL || rounds == 0 || rounds > record_get(&head, 0, off->mag_size) ||
        rounds > ROUNDS_MAX)
        return false;
    for (uint64_t i = 0; i < rounds; i++) /* all of them, or it is no magazine */
        if (!reader_word(&h->heap_reader, first + i * word, word, &addr) ||
            !is_round(h, addr, &cache))
            return false;
    size_t twice = h->heap_twice.count;
    for (uint64_t i = 0; i < rounds; i++)
        if (reader_word(&h->heap_reader, first + i * word, word, &addr))
            subtract(h, addr);
    h->heap_twice.count = twice; /* a pointer to a magazine that is elsewhere by now says nothing */
    return true;
}
