/* SPDX-License-Identifier: MIT */
/*
 * heap.h - the model of the target's heap: caches, arenas, threads, and every
 * block with its number.
 *
 * Read from the engine's own structures through offsets.h: caches, their
 * pools, their slabs' bitmaps; what lies in magazines, in the depot's or a
 * thread's, is then subtracted.  What remains set in heap_live is in the
 * hands of the program.
 *
 * Compact: a block is a number, and what is known of it is a bit.  A region is
 * a row of blocks of one size (a slab, an oversize block, a mapping); regions
 * are sorted by address and found by an index of granules.  Blocks of a region
 * are numbered from region_first on, a multiple of 64, so that bitmaps are
 * taken over word by word.
 *
 * Nothing that is found in the target is trusted: lists are bounded, sizes are
 * checked, and what does not make sense is a problem (heap_problem) that makes
 * the answer partial.
 */
#ifndef ANALYSE_HEAP_HEAP_H
#define ANALYSE_HEAP_HEAP_H

#include "heap/offsets.h"
#include "heap/reader.h"
#include "target/target.h"

#define HEAP_NAME_SIZE 64
#define NO_CACHE UINT32_MAX

enum region_kind {
    REGION_SLAB,     /* blocks of a cache */
    REGION_LARGE,    /* one oversize block */
    REGION_FIREWALL, /* one block between inaccessible pages */
    REGION_SEGMENT,  /* a vmem_alloc()ed segment of an arena that no cache uses */
    REGION_MAPPING,  /* an anonymous mapping of the program's own */
    REGION_CHUNKS    /* blocks of another malloc, of all sizes: region_uneven */
};

/* Where the blocks of a row begin that are not of one size.  uneven.c makes it. */
struct uneven {
    uint32_t *une_starts; /* of each block and of the row's end, in UNEVEN_UNIT from the base on */
    uint32_t *une_pages;  /* for each page from the base on the first block that starts in it
                             or behind it, and one more */
    uint32_t une_tail;    /* bytes at each block's end that are not its own */
};
/* What blocks are aligned to: 8 bytes on 32-bit machines.  A row is 32 GiB at most. */
#define UNEVEN_UNIT_SHIFT 3
#define UNEVEN_PAGE_SHIFT 12

struct region {
    addr_t region_base;         /* of the first block */
    addr_t region_end;          /* of the last one */
    uint64_t region_chunk;      /* distance of two blocks; of an uneven row its length */
    uint64_t region_scan;       /* bytes of each that may hold the program's data */
    uint64_t region_first;      /* number of the first block */
    uint64_t region_reciprocal; /* ceil(2^32 / chunk), 0: divide */
    addr_t region_record; /* slab: its sidecar, 0 none; large: its record; firewall: its bufctl */
    uint32_t region_blocks;
    uint32_t region_cache; /* index in heap_caches, or NO_CACHE */
    enum region_kind region_kind;
    const struct uneven *region_uneven; /* or NULL: blocks of one size */
};

struct heap_cache {
    addr_t cache_addr;
    char cache_name[HEAP_NAME_SIZE];
    uint32_t cache_bin;
    uint32_t cache_flags;
    uint32_t cache_cflags;
    uint32_t cache_sidecar; /* bytes a block, 0: nothing recorded */
    uint64_t cache_bufsize;
    uint64_t cache_bufspace;
    uint64_t cache_chunk;
    uint64_t cache_slab_size;
    uint64_t cache_slab_count;
    uint64_t cache_slabs_found;
    bool cache_constructed; /* has a destructor: free objects keep what their constructor got */
    /* Counted, not taken from the target's statistics. */
    uint64_t cache_total;  /* blocks in all slabs */
    uint64_t cache_inuse;  /* in the hands of the program */
    uint64_t cache_cached; /* in magazines and in quarantine */
    uint64_t cache_allocs;
    uint64_t cache_fails;
};

struct heap_arena {
    addr_t arena_addr;
    addr_t arena_source; /* 0: none */
    char arena_name[HEAP_NAME_SIZE];
    uint64_t arena_inuse;
    uint64_t arena_total;
    uint64_t arena_imported;
    uint64_t arena_allocs;
    uint64_t arena_fails;
};

struct heap_thread { /* one that has a thread cache */
    uint32_t thread_id;
    uint64_t thread_allocs; /* by its fast path */
    uint64_t thread_cached; /* blocks in its magazines */
    uint64_t thread_cached_bytes;
};

struct range {
    addr_t range_start;
    addr_t range_end;
};

struct ranges { /* sorted and disjoint after ranges_sort() */
    struct range *list;
    size_t count;
    size_t room;
};

struct granule_index;

#define HEAP_PROBLEMS_MAX 16
#define HEAP_PROBLEM_SIZE 160

enum heap_allocator { HEAP_UMEM, HEAP_GLIBC };

struct heap {
    struct target *heap_target;
    enum heap_allocator heap_allocator;
    struct offsets heap_offsets;
    struct reader heap_reader;

    struct heap_cache *heap_caches;
    size_t heap_cache_count;
    struct heap_arena *heap_arenas;
    size_t heap_arena_count;
    struct heap_thread *heap_threads;
    size_t heap_thread_count;

    struct region *heap_regions;
    size_t heap_region_count;
    size_t heap_region_room;
    uint64_t *heap_live;     /* a bit a block */
    uint64_t heap_blocks;    /* numbers given, a multiple of 64 */
    uint64_t heap_live_room; /* words */
    struct granule_index *heap_index;
    size_t heap_indexed; /* regions that there were when it was made */
    size_t heap_huge;    /* those of which it has the first granule and the last one only */
    addr_t heap_lowest;  /* of any region */
    addr_t heap_highest;

    struct ranges heap_spans;       /* address space of the heap arena */
    struct ranges heap_own;         /* the engine's own memory, heap spans left out */
    struct ranges heap_loaded;      /* magazines loaded by a thread: the address of each */
    struct ranges heap_arena_spans; /* of every arena: heap_add_segments() */
    struct ranges heap_untold;      /* damaged: what blocks are there cannot be told */
    struct uneven **heap_unevens;   /* those of regions */
    size_t heap_uneven_count;
    size_t heap_uneven_room;
    /*
     * Free objects in magazines that keep what their constructor allocated for
     * them: not sorted.  They hold that, though nobody holds them.
     */
    struct ranges heap_constructed;

    /* Objects that were met in a magazine and were free already: not sorted. */
    struct ranges heap_twice;

    uint64_t heap_live_buffers;
    uint64_t heap_live_bytes;
    uint64_t heap_newest; /* time of the newest transaction, 0 not looked for yet: heap_now() */

    char heap_problems[HEAP_PROBLEMS_MAX][HEAP_PROBLEM_SIZE];
    size_t heap_problem_count; /* may exceed the rows kept */
};

/* A block of the heap. */
struct block {
    uint32_t block_region;
    uint32_t block_index;
};

/* --- copy.c --- */

/*
 * Copies a live process and lets it run on, where there is memory to do so;
 * else, and for a core, does nothing.  Before heap_open().
 */
void heap_copy_target(struct target *t);
/* Whether there is memory for a copy of it; false for a core. */
bool heap_copy_fits(const struct target *t);

enum heap_read { HEAP_OK, HEAP_NONE, HEAP_FAILED };

/*
 * Reads the heap.  HEAP_NONE: the target has a library that has not been used
 * yet (state and options are known, there is nothing else).  HEAP_FAILED: one
 * line in why.
 */
enum heap_read heap_open(struct heap *h, struct target *t, char *why, size_t size);
void heap_close(struct heap *h);

/* Whether there is a cache of this name, "umem_oversize" included. */
bool heap_has_cache(const struct heap *h, const char *name);
#define HEAP_OVERSIZE_NAME "umem_oversize" /* of blocks that have no cache */
/* Complete: neither the target nor the heap's structures lacked anything. */
bool heap_is_complete(const struct heap *h);
/* Notes why the answer is partial. */
void heap_problem(struct heap *h, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* --- model.c --- */

/*
 * Adds a row of blocks, all of them live.  The index must be made anew by
 * heap_seal().  NULL: no memory, or the geometry makes no sense.
 */
struct region *heap_add_region(struct heap *h, const struct region *geometry);
/* uneven.c: the same for a row of blocks that begin at starts (and end), ascending. */
struct region *heap_add_uneven(struct heap *h, const addr_t *starts, size_t count, addr_t end,
                               uint32_t tail);
void uneven_free(struct uneven *uneven);
/* Sorts the regions, drops those that overlap others, makes the index; where any were added. */
int heap_seal(struct heap *h);
/* Counts what is live, by cache and in sum, without mappings. */
void heap_count(struct heap *h);

bool ranges_add(struct ranges *r, addr_t start, addr_t end);
/* Sorts and merges. */
void ranges_sort(struct ranges *r);
/* Index of the range that holds addr, or of the first behind it; r->count past the end. */
size_t ranges_find(const struct ranges *r, addr_t addr);
void ranges_fini(struct ranges *r);

#define GRANULE_SHIFT 16     /* 64 KiB: what the heap hands out */
#define GRANULE_LEAF_BITS 14 /* granules of a leaf: 1 GiB */
struct granule_leaf {
    struct granule_leaf *next; /* of those that there are: most of an index's are not */
    uint32_t region[1 << GRANULE_LEAF_BITS]; /* for each granule a region's number + 1, 0 none */
};
struct granule_index {
    struct granule_leaf *leaves;
    addr_t first;                /* of leaves: that of the lowest region */
    struct granule_leaf *leaf[]; /* addresses beyond the highest, of damaged heaps, share them */
};
#define GRANULE_LEAF_SHIFT (GRANULE_SHIFT + GRANULE_LEAF_BITS)
#define GRANULE_LEAF_MASK (((addr_t)1 << GRANULE_LEAF_BITS) - 1)
#define GRANULE_LEAVES_MAX ((size_t)1 << 18) /* 48 bits of address */

static inline size_t
granule_leaf(const struct granule_index *index, addr_t addr)
{
    return (size_t)((addr >> GRANULE_LEAF_SHIFT) - index->first) & (GRANULE_LEAVES_MAX - 1);
}

static inline uint64_t
heap_block_number(const struct heap *h, struct block b)
{
    return h->heap_regions[b.block_region].region_first + b.block_index;
}

static inline bool
bit_get(const uint64_t *bits, uint64_t n)
{
    return bits[n / 64] >> n % 64 & 1;
}

static inline void
bit_set(uint64_t *bits, uint64_t n)
{
    bits[n / 64] |= (uint64_t)1 << n % 64;
}

static inline void
bit_clear(uint64_t *bits, uint64_t n)
{
    bits[n / 64] &= ~((uint64_t)1 << n % 64);
}

/* Where blocks are of different sizes: the last one that starts at or before the offset. */
static inline uint32_t
uneven_index_of(const struct uneven *uneven, uint64_t offset)
{
    const uint32_t *pages = &uneven->une_pages[offset >> UNEVEN_PAGE_SHIFT];
    uint32_t low = pages[0]; /* the one sought is before this, or after it on the same page */
    uint32_t high = pages[1];
    uint64_t unit = offset >> UNEVEN_UNIT_SHIFT;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (uneven->une_starts[middle] <= unit)
            low = middle + 1;
        else
            high = middle;
    }
    return low - 1; /* the first block starts at 0 */
}

static inline uint32_t
region_index_of(const struct region *region, addr_t addr)
{
    uint64_t offset = addr - region->region_base;
    if (region->region_uneven != NULL)
        return uneven_index_of(region->region_uneven, offset);
    if (region->region_reciprocal == 0)
        return (uint32_t)(offset / region->region_chunk);
    /* The reciprocal is rounded up: the product is at most one too large. */
    uint64_t i = offset * region->region_reciprocal >> 32;
    return (uint32_t)(i * region->region_chunk > offset ? i - 1 : i);
}

static inline addr_t
heap_block_addr(const struct heap *h, struct block b)
{
    const struct region *region = &h->heap_regions[b.block_region];
    const struct uneven *uneven = region->region_uneven;
    if (uneven != NULL)
        return region->region_base +
               ((uint64_t)uneven->une_starts[b.block_index] << UNEVEN_UNIT_SHIFT);
    return region->region_base + b.block_index * region->region_chunk;
}

/* Bytes of a block that may hold the program's data. */
static inline uint64_t
heap_block_scan(const struct heap *h, struct block b)
{
    const struct region *region = &h->heap_regions[b.block_region];
    const struct uneven *uneven = region->region_uneven;
    if (uneven == NULL)
        return region->region_scan;
    const uint32_t *start = &uneven->une_starts[b.block_index];
    return ((uint64_t)(start[1] - start[0]) << UNEVEN_UNIT_SHIFT) - uneven->une_tail;
}

/* Bytes from a block's start to the next one's, which may be debugging's in part. */
static inline uint64_t
heap_block_extent(const struct heap *h, struct block b)
{
    const struct region *region = &h->heap_regions[b.block_region];
    return region->region_uneven != NULL ? heap_block_scan(h, b) : region->region_chunk;
}

/* The number + 1 of the huge region that addr lies in; 0: in none. */
uint32_t heap_find_huge(const struct heap *h, addr_t addr);

/* The block that addr points into, live or not. */
static inline bool
heap_find(const struct heap *h, addr_t addr, struct block *b)
{
    if (addr - h->heap_lowest >= h->heap_highest - h->heap_lowest)
        return false;
    const struct granule_leaf *leaf = h->heap_index->leaf[granule_leaf(h->heap_index, addr)];
    uint32_t number = leaf != NULL ? leaf->region[addr >> GRANULE_SHIFT & GRANULE_LEAF_MASK] : 0;
    if (number == 0 && h->heap_huge > 0)
        number = heap_find_huge(h, addr);
    if (number == 0)
        return false;
    const struct region *region = &h->heap_regions[number - 1];
    const struct region *last = h->heap_regions + h->heap_region_count;
    while (addr >= region->region_end)
        if (++region == last)
            return false;
    if (addr < region->region_base)
        return false;
    b->block_region = (uint32_t)(region - h->heap_regions);
    b->block_index = region_index_of(region, addr);
    return b->block_index < region->region_blocks;
}

static inline bool
heap_is_live(const struct heap *h, struct block b)
{
    return bit_get(h->heap_live, heap_block_number(h, b));
}

/* --- blocks.c: what is recorded of a block --- */

#define BLOCK_UNKNOWN UINT64_MAX

struct block_info {
    addr_t blk_addr;
    uint64_t blk_size;      /* of the buffer */
    uint64_t blk_requested; /* by the program; BLOCK_UNKNOWN */
    const char *blk_cache;
    bool blk_live;
    bool blk_audited;   /* the following is valid */
    uint32_t blk_stack; /* 0: none */
    uint32_t blk_thread;
    uint64_t blk_time;
    uint32_t blk_prev_stack; /* of the transaction before */
    uint32_t blk_prev_thread;
    uint64_t blk_prev_time;
};

void heap_block_info(struct heap *h, struct block b, struct block_info *info);
/*
 * Whether the record of a block that counts as live says that the program does
 * not have it: it was on its way between program and slab just then.
 */
bool heap_block_in_transit(struct heap *h, struct block b);
/*
 * Return addresses of a recorded stack, innermost first; returns how many.
 * Where a signal struck, its pc + 1, as target_unwind() has it.
 */
size_t heap_stack(struct heap *h, uint32_t id, addr_t *frames, size_t max);
/*
 * What the contents log has of a buffer when it was freed last: *kept bytes, of
 * which at most max go into bytes; returns how many did, 0 where there is none.
 */
size_t heap_freed_contents(struct heap *h, addr_t buffer, void *bytes, size_t max, uint64_t *kept);
#define HEAP_STACK_MAX 256 /* frames: the library records 255 at most */

/*
 * Now on the target's clock in ns.  A core has no clock: there it is the time
 * of the newest transaction that any buffer remembers.
 */
uint64_t heap_now(struct heap *h);

/* The time of so many ns ago on that clock, 1 at least. */
uint64_t heap_after(struct heap *h, uint64_t age);

/* --- bufctls.c: records of blocks by their own address --- */

/*
 * The address of what is recorded of a block, 0 where nothing is; audited (may
 * be NULL): it has transactions.
 */
addr_t heap_bufctl(const struct heap *h, struct block b, bool *audited);

struct bufctl_table;
/* NULL: no memory.  Holds as long as the heap's regions do. */
struct bufctl_table *bufctl_table_create(const struct heap *h);
void bufctl_table_destroy(struct bufctl_table *table);
/* The block whose record addr points into. */
bool bufctl_table_find(const struct bufctl_table *table, addr_t addr, struct block *b);

/* --- records.c: the engine's own structures, one by one --- */

/* Called for each, until it returns false.  The record holds until something else is read. */
typedef bool heap_record_fn(void *arg, const struct record *rec);

enum slab_lists { SLABS_PARTIAL = 1, SLABS_FULL = 2, SLABS_EMPTY = 4, SLABS_ALL = 7 };
void heap_each_slab(struct heap *h, const struct heap_cache *cache, unsigned lists,
                    heap_record_fn *fn, void *arg);
/* Segments of an arena by address, spans before what lies in them. */
void heap_each_segment(struct heap *h, addr_t arena, heap_record_fn *fn, void *arg);
/* Threads' caches. */
void heap_each_tcache(struct heap *h, heap_record_fn *fn, void *arg);

enum segment_type { SEGMENT_UNKNOWN, SEGMENT_ALLOC, SEGMENT_FREE, SEGMENT_SPAN };

struct segment_info {
    addr_t seg_start;
    addr_t seg_end;
    enum segment_type seg_type;
    bool seg_import; /* a span that came from the arena's source */
};

/* Reads the segment at addr.  False: it cannot be read, or is none. */
bool heap_segment(struct heap *h, addr_t addr, struct segment_info *info);

/* --- state.c --- */

struct heap_state {
    bool st_ready;
    bool st_audit;
    bool st_guards;
    bool st_contents;
    bool st_magazines;
    unsigned st_sample; /* one allocation in so many goes behind a firewall; 0: none */
    bool st_firewall;
    bool st_firewall_below;
    uint64_t st_firewall_bytes; /* of the smallest blocks behind it */
    unsigned st_audit_frames;
    unsigned st_reap_interval_s;
    uint64_t st_contents_bytes;
    uint64_t st_heap_bytes; /* mapped for blocks */
    uint64_t st_heap_spans;
    uint64_t st_own_bytes; /* mapped for the library's records */
};

bool heap_read_state(struct heap *h, struct heap_state *state);
/* The text of the message ring, whole lines, oldest first; to be freed.  NULL: unreadable. */
char *heap_read_messages(struct heap *h);

/* --- events.c: the logs of UMEM_LOGGING --- */

enum event_log { LOG_TRANSACTION, LOG_FAIL, LOG_SLAB, LOG_COUNT };
enum event_kind {
    EVENT_UNKNOWN,
    EVENT_ALLOC,
    EVENT_FREE,
    EVENT_RESIZE,
    EVENT_FAIL,
    EVENT_SLAB_MADE,
    EVENT_SLAB_DESTROYED
};

struct event {
    enum event_kind event_kind;
    uint64_t event_time;  /* ns on the target's clock, to a tick of some milliseconds */
    uint64_t event_place; /* in the ring from its oldest slot on: orders one thread's of a tick */
    uint64_t event_addr;  /* of the buffer or slab; of a failure, its errno */
    addr_t event_cache;   /* 0: oversize */
    uint64_t event_size;
    uint32_t event_stack;
    uint32_t event_thread;
    addr_t event_record; /* where it lies in the target */
};

struct event_list {
    struct event *list; /* newest first */
    size_t count;
};

/* Bytes that the target was told to keep, 0: the log is off. */
uint64_t heap_log_size(struct heap *h, enum event_log log);
/* What it holds, nothing where it is off; to be finished. */
void heap_read_log(struct heap *h, enum event_log log, struct event_list *list);
void event_list_fini(struct event_list *list);
/* ns from an event to now, which for a core is the newest of what happened. */
uint64_t heap_event_age(struct heap *h, const struct event *event);
/* The name of a cache by its address, as events have it. */
const char *heap_cache_name(const struct heap *h, addr_t cache);

/* --- arenas.c --- */

/* Reads every arena; fills heap_spans. */
void heap_read_arenas(struct heap *h);
/*
 * Adds REGION_SEGMENT for what arenas have allocated and no slab or large
 * block lies in; fills heap_arena_spans.
 */
void heap_add_segments(struct heap *h);

#endif
