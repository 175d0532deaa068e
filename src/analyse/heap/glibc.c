/* SPDX-License-Identifier: MIT */
/*
 * glibc.c - see glibc.h: finds the arenas, and walks their chunks.
 *
 * The chunks of a row follow one another from its start to the arena's top.
 * One whose size makes no sense ends the walk; where a chain of sensible ones
 * goes on further up, so does the walk, and what lies between is heap_untold:
 * blocks cannot be told there, and what it points to is held.
 */
#include "heap/glibc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "heap/engine.h"
#include "heap/memory.h"

#define BINS 127
/* Bins that point to themselves, at least: mostly all but a few are empty. */
#define EMPTY_BINS_MIN 40
#define ARENAS_MAX 100000
#define ARENA_THREADS_MAX 10000000 /* more than a system can have */
#define HEAPS_MAX 1000000
#define ARENA_NONCONTIGUOUS 2
/* Heaps of other arenas than the main one are aligned to their largest size. */
#define HEAP_MAX(word) ((addr_t)((word) == 8 ? 64 << 20 : 1 << 20))
/* The header of such a heap: 4 words to 2.34, 6 from 2.35 on. */
#define HEAP_HEADER_MAX(word) (8 * (word))
/* Chunks of a chain that make sense, before it is taken up again after damage. */
#define CHAIN_MIN 8
/*
 * A row is cut into regions of so many blocks and bytes at most: the table of where blocks start
 * takes thrice as much while it is made.
 */
#define ROW_BLOCKS_MAX ((size_t)1 << 16)
#define ROW_BYTES_MAX ((addr_t)1 << 34)
#define PAGE ((addr_t)4096)
/* What ends a heap that another one has followed: two headers, and a chunk too small. */
#define FENCE_MAX(word) (8 * (uint64_t)(word))

/* --- Classes of sizes --- */

#define EXACT_CLASSES 64
#define EXACT_USABLE_MAX 1032 /* of 64 classes, 16 bytes apart: what a thread caches */
#define RANGE_SHIFT_MIN 11    /* the first range ends at 2 KiB */
#define RANGE_CLASSES 37      /* to 2^47 */
#define CLASSES (EXACT_CLASSES + RANGE_CLASSES)

uint32_t
glibc_class(uint64_t usable)
{
    if (usable <= EXACT_USABLE_MAX)
        return usable < GLIBC_ALIGN ? 0
                                    : (uint32_t)((usable + GLIBC_ALIGN / 2 - 1) / GLIBC_ALIGN - 1);
    uint32_t range = 0;
    while (range < RANGE_CLASSES - 1 && usable > (uint64_t)1 << (RANGE_SHIFT_MIN + range))
        range++;
    return EXACT_CLASSES + range;
}

static bool
make_classes(struct heap *h, unsigned word)
{
    h->heap_caches = memory_zeroed(CLASSES, sizeof(*h->heap_caches));
    if (h->heap_caches == NULL)
        return false;
    h->heap_cache_count = CLASSES;
    for (unsigned i = 0; i < CLASSES; i++) {
        struct heap_cache *cache = &h->heap_caches[i];
        if (i < EXACT_CLASSES) {
            cache->cache_bufsize = GLIBC_CHUNK_MIN(word) + (uint64_t)i * GLIBC_ALIGN - word;
            snprintf(cache->cache_name, sizeof(cache->cache_name), "malloc_%u",
                     (unsigned)cache->cache_bufsize);
            continue;
        }
        unsigned shift = RANGE_SHIFT_MIN + i - EXACT_CLASSES;
        const char *unit = shift < 20 ? "k" : shift < 30 ? "m" : "g";
        snprintf(cache->cache_name, sizeof(cache->cache_name), "malloc_to_%u%s", 1U << shift % 10,
                 unit);
    }
    return true;
}

void
glibc_count_cached(struct heap *h)
{
    for (size_t i = 0; i < h->heap_cache_count; i++) {
        struct heap_cache *cache = &h->heap_caches[i];
        cache->cache_total = cache->cache_cached;
        cache->cache_slab_size = 1; /* memory is the product: counted in bytes */
        cache->cache_slab_count =
            cache->cache_cached * (cache->cache_bufsize + h->heap_offsets.off_word);
    }
}

void
glibc_count(struct heap *h, uint32_t region)
{
    for (uint32_t i = 0; i < h->heap_regions[region].region_blocks; i++) {
        struct block b = {region, i};
        if (!heap_is_live(h, b))
            continue;
        uint64_t usable = heap_block_scan(h, b);
        struct heap_cache *cache = &h->heap_caches[glibc_class(usable)];
        cache->cache_inuse++;
        cache->cache_total++;
        cache->cache_slab_count += usable + h->heap_offsets.off_word;
        h->heap_live_bytes += usable;
    }
}

/* --- The arenas --- */

static struct arena_layout
layout_of(unsigned word)
{
    struct arena_layout l = {.ar_flags = 4, .ar_fast_bins = word == 8 ? 16 : 12};
    l.ar_fast_count = word == 8 ? 10 : 11;
    l.ar_top = l.ar_fast_bins + l.ar_fast_count * word;
    l.ar_bins = l.ar_top + 2 * word; /* behind last_remainder */
    l.ar_next = l.ar_bins + 2 * BINS * word + 16 /* binmap */;
    l.ar_system_mem = l.ar_next + 3 * word; /* behind next_free, attached_threads */
    l.ar_size = l.ar_system_mem + 2 * word;
    return l;
}

static bool
read_word(struct glibc *g, addr_t addr, uint64_t *value)
{
    return reader_word(&g->g_heap->heap_reader, addr, g->g_word, value);
}

/*
 * What follows the bins, by which one of 127 alike is told from the next: a
 * pointer to another arena, a count of threads, the memory now and at most.
 */
static bool
has_sane_tail(struct glibc *g, const struct record *arena)
{
    const struct field word = {0, g->g_word};
    uint64_t next = record_get(arena, g->g_layout.ar_next, word);
    uint64_t threads = record_get(arena, g->g_layout.ar_next + 2 * (uint64_t)g->g_word, word);
    uint64_t memory = record_get(arena, g->g_layout.ar_system_mem, word);
    uint64_t most = record_get(arena, g->g_layout.ar_system_mem + (uint64_t)g->g_word, word);
    const struct mapping *map = target_mapping_of(g->g_heap->heap_target, next);
    return map != NULL && (map->map_flags & MAPPING_WRITE) != 0 && threads <= ARENA_THREADS_MAX &&
           memory <= most;
}

/* Whether a struct malloc_state lies at addr. */
static bool
looks_like_arena(struct glibc *g, addr_t addr)
{
    const struct field word = {0, g->g_word};
    struct record rec = reader_record(&g->g_heap->heap_reader, addr, g->g_layout.ar_size);
    unsigned empty = 0;

    if (rec.rec_data == NULL || record_get(&rec, g->g_layout.ar_top, word) == 0 ||
        !has_sane_tail(g, &rec))
        return false;
    for (unsigned i = 0; i < BINS; i++) {
        uint64_t at = g->g_layout.ar_bins + 2 * (uint64_t)i * g->g_word;
        addr_t self = addr + at - 2 * (addr_t)g->g_word;
        uint64_t first = record_get(&rec, at, word);
        uint64_t last = record_get(&rec, at + g->g_word, word);
        if (first == 0 || last == 0 || (first == self) != (last == self))
            return false;
        empty += first == self;
    }
    return empty >= EMPTY_BINS_MIN;
}

/* The first word of data, read at addr, that is a bin's pointer to itself; size: there is none. */
static size_t
find_self(const struct glibc *g, const unsigned char *data, size_t size, addr_t addr)
{
    size_t i = 0;
    while (i < size && word_get(data + i, g->g_word) != addr + i - 2 * (addr_t)g->g_word)
        i += g->g_word;
    return i;
}

/* An arena in [start, end), or 0: looks for a bin that points to itself, and what is round it. */
static addr_t
search_arena(struct glibc *g, addr_t start, addr_t end)
{
    const unsigned word = g->g_word;
    const void *data;
    size_t got;
    for (addr_t at = start;
         (data = reader_next(&g->g_heap->heap_reader, &at, end, word, &got)) != NULL;) {
        size_t self = find_self(g, data, got, at);
        at += self;
        if (self == got)
            continue;
        for (unsigned i = 0; i < BINS; i++) {
            addr_t arena = at - g->g_layout.ar_bins - 2 * (addr_t)i * word;
            if (arena >= start && looks_like_arena(g, arena))
                return arena;
        }
        at += word;
    }
    return 0;
}

static bool
is_libc(const struct module *mod)
{
    const char *slash = strrchr(mod->mod_path, '/');
    const char *name = slash != NULL ? slash + 1 : mod->mod_path;
    return strncmp(name, "libc.so", 7) == 0 || strncmp(name, "libc-2", 6) == 0;
}

/* The main arena in the data of libc, or, of a static program, of any module. */
static addr_t
find_main_arena(struct glibc *g)
{
    struct target *t = g->g_heap->heap_target;
    const struct module *modules;
    const struct mapping *maps;
    size_t module_count = target_modules(t, &modules);
    size_t map_count = target_mappings(t, &maps);

    for (int any = 0; any < 2; any++)
        for (size_t i = 0; i < module_count; i++) {
            const struct module *mod = &modules[i];
            addr_t end = (mod->mod_end + PAGE - 1) & ~(PAGE - 1);
            for (size_t k = 0; is_libc(mod) != any && k < map_count; k++) {
                const struct mapping *map = &maps[k];
                if ((map->map_flags & MAPPING_WRITE) == 0 || map->map_start < mod->mod_start ||
                    map->map_start >= end)
                    continue;
                addr_t found =
                    search_arena(g, map->map_start, map->map_end < end ? map->map_end : end);
                if (found != 0)
                    return found;
            }
        }
    return 0;
}

static bool
list_arenas(struct glibc *g, addr_t main_arena)
{
    addr_t arena = main_arena;
    do {
        if (!memory_grow(&g->g_arenas, &g->g_arena_room, g->g_arena_count, sizeof(addr_t)))
            return false;
        g->g_arenas[g->g_arena_count++] = arena;
        uint64_t next;
        if (!read_word(g, arena + g->g_layout.ar_next, &next) || g->g_arena_count > ARENAS_MAX ||
            (next != main_arena && !looks_like_arena(g, next))) {
            heap_problem(g->g_heap, "the list of arenas is damaged behind 0x%llx",
                         (unsigned long long)arena);
            return true;
        }
        arena = next;
    } while (arena != main_arena);
    return true;
}

/* --- Chunks --- */

/* The size of the chunk at addr, which must end by end; 0: it makes no sense. */
static uint64_t
chunk_size(struct glibc *g, addr_t addr, addr_t end, uint64_t *flags)
{
    uint64_t word;
    if (!read_word(g, addr + g->g_word, &word))
        return 0;
    uint64_t size = word & ~GLIBC_SIZE_BITS;
    *flags = word & GLIBC_SIZE_BITS;
    if (size < GLIBC_CHUNK_MIN(g->g_word) || size % GLIBC_ALIGN != 0 || size > end - addr ||
        *flags & GLIBC_MMAPPED)
        return 0;
    return size;
}

/* Whether chunks that make sense follow one another from addr on. */
static bool
is_chain(struct glibc *g, addr_t addr, addr_t end)
{
    uint64_t flags;
    uint64_t before = 0;
    for (unsigned i = 0; i < CHAIN_MIN && addr != end; i++) {
        uint64_t size = chunk_size(g, addr, end, &flags);
        uint64_t previous;
        if (size == 0 || (before != 0 && (flags & GLIBC_PREV_INUSE) == 0 &&
                          (!read_word(g, addr, &previous) || previous != before)))
            return false;
        before = size;
        addr += size;
    }
    return true;
}

/* Makes a region of the chunks noted; end: where the next one would be. */
static void
flush_row(struct glibc *g, addr_t end)
{
    struct heap *h = g->g_heap;
    if (g->g_start_count > 0) {
        addr_t last = end + 2 * (addr_t)g->g_word; /* the last block has one word of it */
        const struct region *region =
            heap_add_uneven(h, g->g_starts, g->g_start_count, last, g->g_word);
        for (size_t i = 0; region != NULL && i < g->g_free_count; i++)
            bit_clear(h->heap_live, region->region_first + g->g_free[i]);
        g->g_failed = g->g_failed || region == NULL;
    }
    g->g_start_count = g->g_free_count = 0;
}

/* Notes the chunk at addr; in_use: whether the one before it is. */
static void
note_chunk(struct glibc *g, addr_t addr, bool before_in_use)
{
    if (g->g_start_count > 0 && !before_in_use) {
        if (!memory_grow(&g->g_free, &g->g_free_room, g->g_free_count, sizeof(*g->g_free))) {
            g->g_failed = true;
            return;
        }
        g->g_free[g->g_free_count++] = g->g_start_count - 1;
    }
    if (g->g_start_count >= ROW_BLOCKS_MAX ||
        (g->g_start_count > 0 && addr - g->g_starts[0] > ROW_BYTES_MAX))
        flush_row(g, addr);
    if (!memory_grow(&g->g_starts, &g->g_start_room, g->g_start_count, sizeof(addr_t))) {
        g->g_failed = true;
        return;
    }
    g->g_starts[g->g_start_count++] = addr + 2 * (addr_t)g->g_word;
}

/* From a chunk that makes no sense on to where a chain goes on, or to the end. */
static addr_t
skip_damage(struct glibc *g, addr_t addr, addr_t end)
{
    struct heap *h = g->g_heap;
    addr_t next = addr + GLIBC_ALIGN;
    while (next < end && !is_chain(g, next, end))
        next += GLIBC_ALIGN;
    if (next > end)
        next = end;
    ranges_add(&h->heap_untold, addr, next);
    heap_problem(h, "%llu bytes of the heap at 0x%llx are damaged: blocks there cannot be told",
                 (unsigned long long)(next - addr), (unsigned long long)addr);
    return next;
}

/* The chunks of [start, end), end being the top chunk, or the end of a heap. */
static void
walk_chunks(struct glibc *g, addr_t start, addr_t end)
{
    addr_t addr = start;
    uint64_t flags = 0;

    while (addr < end && !g->g_failed) {
        uint64_t size = chunk_size(g, addr, end, &flags);
        if (size == 0 && end - addr <= FENCE_MAX(g->g_word))
            break;
        if (size == 0) { /* its header may be what the block before wrote over */
            flush_row(g, addr);
            addr = skip_damage(g, addr, end);
            continue;
        }
        note_chunk(g, addr, (flags & GLIBC_PREV_INUSE) != 0);
        g->g_used += size;
        addr += size;
    }
    /* What follows the last chunk tells whether that one is in use. */
    uint64_t after;
    if (g->g_start_count > 0 && read_word(g, addr + g->g_word, &after) &&
        (after & GLIBC_PREV_INUSE) == 0 &&
        memory_grow(&g->g_free, &g->g_free_room, g->g_free_count, sizeof(*g->g_free)))
        g->g_free[g->g_free_count++] = g->g_start_count - 1;
    flush_row(g, addr);
}

/* --- Where the chunks of an arena lie --- */

static addr_t
align_chunk(struct glibc *g, addr_t addr)
{
    addr_t header = 2 * (addr_t)g->g_word;
    return ((addr + header + GLIBC_ALIGN - 1) & ~(addr_t)(GLIBC_ALIGN - 1)) - header;
}

/* The main arena: memory of brk, in one piece unless somebody else calls it too. */
static void
walk_main(struct glibc *g, addr_t arena)
{
    struct heap *h = g->g_heap;
    uint64_t top;
    uint64_t system;
    uint64_t top_size;
    if (!read_word(g, arena + g->g_layout.ar_top, &top) ||
        !read_word(g, arena + g->g_layout.ar_system_mem, &system) || system == 0)
        return; /* nothing was allocated in it */
    const struct mapping *map = target_mapping_of(h->heap_target, top);
    if (map == NULL || !read_word(g, top + g->g_word, &top_size)) {
        heap_problem(h, "the top of the main arena leads to 0x%llx, which cannot be read",
                     (unsigned long long)top);
        return;
    }
    addr_t end = top + (top_size & ~GLIBC_SIZE_BITS);
    addr_t start = align_chunk(g, end - system);
    if (end > map->map_end || end < top || system > end || start < map->map_start ||
        !is_chain(g, start, top))
        start = align_chunk(g, map->map_start);
    if (end > map->map_end || end < top) {
        heap_problem(h, "the size of the main arena's top is damaged");
        end = map->map_end;
    }
    ranges_add(&h->heap_spans, start, end);
    walk_chunks(g, start, top);
}

/* Heaps of another arena: the one that its top lies in, and those before. */
static void
walk_arena(struct glibc *g, addr_t arena)
{
    struct heap *h = g->g_heap;
    addr_t mask = ~(HEAP_MAX(g->g_word) - 1);
    addr_t own = arena & mask;
    uint64_t top;
    uint64_t owner;
    uint64_t size;
    uint64_t before = 0;

    if (!read_word(g, arena + g->g_layout.ar_top, &top) || !read_word(g, own, &owner) ||
        owner != arena || arena - own > HEAP_HEADER_MAX(g->g_word)) {
        heap_problem(h, "the arena at 0x%llx is of an unknown kind", (unsigned long long)arena);
        return;
    }
    addr_t heap = top & mask;
    for (unsigned i = 0; heap != 0 && i < HEAPS_MAX; i++, heap = before) {
        if (!read_word(g, heap, &owner) || owner != arena ||
            !read_word(g, heap + g->g_word, &before) ||
            !read_word(g, heap + 2 * (addr_t)g->g_word, &size) || size > HEAP_MAX(g->g_word)) {
            heap_problem(h, "a heap of the arena at 0x%llx is damaged", (unsigned long long)arena);
            return;
        }
        addr_t first =
            align_chunk(g, heap == own ? arena + g->g_layout.ar_size : heap + (arena - own));
        ranges_add(&h->heap_spans, heap, heap + size);
        walk_chunks(g, first, heap == (top & mask) ? top : heap + size);
    }
}

/* --- Chunks that are mappings --- */

/* What lies before the header at the start of such a mapping, so that the block is aligned. */
static uint64_t
mapped_lead(const struct glibc *g)
{
    return -(2 * (uint64_t)g->g_word) & (GLIBC_ALIGN - 1);
}

/* The size of such a chunk with its mapping at addr, or 0.  The lead stands in the first word. */
static uint64_t
mapped_chunk(struct glibc *g, addr_t addr, addr_t end)
{
    const uint64_t lead = mapped_lead(g);
    uint64_t before;
    uint64_t word;
    if (!read_word(g, addr + lead, &before) || before != lead ||
        !read_word(g, addr + lead + g->g_word, &word) || (word & GLIBC_SIZE_BITS) != GLIBC_MMAPPED)
        return 0;
    uint64_t size = lead + (word & ~GLIBC_SIZE_BITS);
    return size >= PAGE && size % PAGE == 0 && size <= end - addr ? size : 0;
}

static void
walk_mapping(struct glibc *g, const struct mapping *map)
{
    for (addr_t at = map->map_start; at < map->map_end && !g->g_failed;) {
        uint64_t size = mapped_chunk(g, at, map->map_end);
        if (size == 0) { /* the kernel joins neighbours: others may follow */
            uint64_t word;
            at = read_word(g, at, &word) ? at + PAGE : reader_skip(&g->g_heap->heap_reader, at);
            continue;
        }
        addr_t start = at + mapped_lead(g) + 2 * (addr_t)g->g_word;
        if (heap_add_uneven(g->g_heap, &start, 1, at + size, 0) == NULL)
            g->g_failed = true;
        ranges_add(&g->g_mapped, at, at + size);
        at += size;
    }
}

static void
walk_mappings(struct glibc *g)
{
    struct heap *h = g->g_heap;
    const unsigned want = MAPPING_READ | MAPPING_WRITE | MAPPING_PRIVATE | MAPPING_ANONYMOUS;
    const struct mapping *maps;
    size_t n = target_mappings(h->heap_target, &maps);

    ranges_sort(&h->heap_spans);
    for (size_t i = 0; i < n; i++) {
        const char *name = maps[i].map_name;
        size_t k = ranges_find(&h->heap_spans, maps[i].map_start);
        bool arena = k < h->heap_spans.count && h->heap_spans.list[k].range_start < maps[i].map_end;
        if ((maps[i].map_flags & want) == want && !arena &&
            (name[0] == '\0' || strncmp(name, "[anon:", 6) == 0))
            walk_mapping(g, &maps[i]);
    }
    for (size_t i = 0; i < g->g_mapped.count; i++)
        ranges_add(&h->heap_spans, g->g_mapped.list[i].range_start, g->g_mapped.list[i].range_end);
    ranges_fini(&g->g_mapped);
    ranges_sort(&h->heap_spans);
}

/* --- The whole --- */

/* What umem stat shows of an arena. */
static void
note_arena(struct glibc *g, addr_t arena)
{
    struct heap *h = g->g_heap;
    struct heap_arena *row = &h->heap_arenas[h->heap_arena_count];
    uint64_t system = 0;
    (void)read_word(g, arena + g->g_layout.ar_system_mem, &system);
    *row = (struct heap_arena){.arena_addr = arena,
                               .arena_total = system,
                               .arena_imported = system,
                               .arena_inuse = g->g_used};
    if (h->heap_arena_count == 0)
        snprintf(row->arena_name, sizeof(row->arena_name), "main_arena");
    else
        snprintf(row->arena_name, sizeof(row->arena_name), "arena %zu", h->heap_arena_count);
    h->heap_arena_count++;
}

static bool
read_chunks(struct glibc *g)
{
    struct heap *h = g->g_heap;
    h->heap_arenas = memory_zeroed(g->g_arena_count, sizeof(*h->heap_arenas));
    if (h->heap_arenas == NULL || !make_classes(h, g->g_word))
        return false;
    for (size_t i = 0; i < g->g_arena_count; i++) {
        g->g_used = 0;
        if (i == 0)
            walk_main(g, g->g_arenas[i]);
        else
            walk_arena(g, g->g_arenas[i]);
        note_arena(g, g->g_arenas[i]);
        /* Its bins point to headers, which lie in the last word of the block before. */
        ranges_add(&h->heap_own, g->g_arenas[i], g->g_arenas[i] + g->g_layout.ar_size);
    }
    ranges_sort(&h->heap_own);
    walk_mappings(g);
    ranges_sort(&h->heap_untold);
    if (g->g_failed || heap_seal(h) != 0)
        return false;
    glibc_read_fast_bins(g);
    glibc_read_thread_caches(g);
    heap_count(h);
    return true;
}

enum heap_read
glibc_open(struct heap *h)
{
    struct glibc g = {.g_heap = h, .g_word = target_word(h->heap_target)};
    g.g_layout = layout_of(g.g_word);
    addr_t arena = find_main_arena(&g);
    if (arena == 0)
        return HEAP_NONE;
    h->heap_allocator = HEAP_GLIBC;
    h->heap_offsets = (struct offsets){.off_word = g.g_word};
    bool ok = list_arenas(&g, arena) && read_chunks(&g);
    free(g.g_arenas);
    free(g.g_starts);
    free(g.g_free);
    return ok ? HEAP_OK : HEAP_FAILED;
}
