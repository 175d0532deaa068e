/* SPDX-License-Identifier: MIT */
/*
 * meta.c - the metadata pool: see meta.h.
 *
 * Small blocks, of a power of two up to 512 bytes, are cut from pieces front to
 * back and kept on a free list each.  Those up to META_BLOCK_MAX are runs of
 * units of a chunk: neighbours that are free become one (boundary tags, after
 * Knuth, "The Art of Computer Programming", 2.5, but apart in the chunk's
 * header), so that the records of one size serve the next.  A chunk's units
 * are used front to back and untouched before.  Larger blocks are rounded to a
 * power of two and have a mapping of their own, which is kept for reuse too;
 * where the system has no more, what is free of those goes back to it.
 */
#include "os/meta.h"

#include "os/lock.h"
#include "os/os.h"

#define META_BLOCK_SHIFT_MIN 4               /* 16 bytes: two pointers */
#define META_CHUNK_SIZE ((size_t)128 * 1024) /* modest: under mlockall() all of it is locked */
#define META_BLOCK_MAX ((size_t)32 * 1024)   /* a quarter of a chunk bounds what a cut wastes */
#define META_LISTS (sizeof(size_t) * 8)
#define META_UNIT_SHIFT 10
#define META_UNIT ((size_t)1 << META_UNIT_SHIFT)
#define META_UNITS (META_CHUNK_SIZE / META_UNIT)
#define META_SMALL_MAX (META_UNIT / 2)
#define META_PIECE ((size_t)4 * META_UNIT) /* of which small blocks are cut: a page */
/* The header of a chunk with one block, padded to keep 64-alignment. */
#define META_HEADER ((size_t)UMEM_CACHE_LINE)
#define LOOKS_MAX 8u /* at runs that may be too short: the work is bounded */
#define RUN_LISTS 7  /* by the logarithm of a run's units */

struct free_block {
    struct free_block *block_next;
};

/* A chunk of units, aligned to its size; the first unit is the header. */
struct unit_chunk {
    struct umem_meta_chunk uc_chunk;
    size_t uc_used;             /* units from here on were never used */
    uint8_t uc_run[META_UNITS]; /* of a free run's first and last unit: its length; else 0 */
};

_Static_assert(sizeof(struct unit_chunk) <= META_UNIT, "the header is the first unit");
_Static_assert(META_UNITS <= UINT8_MAX, "uc_run");
_Static_assert(META_UNITS >> RUN_LISTS == 1 || META_UNITS >> RUN_LISTS == 0, "a list for each");

static struct umem_lock meta_lock = UMEM_LOCK_INIT(UMEM_RANK_META);
static struct free_block *free_list[META_LISTS]; /* small blocks, and mappings */
static struct umem_list free_runs[RUN_LISTS];    /* heads; zero: not used yet */
static struct unit_chunk *newest;
static char *piece_cur, *piece_end; /* what is left of the newest piece */
static size_t mapped_bytes;
struct umem_meta_chunk *umem_meta_chunks;

static unsigned
list_of(size_t size)
{
    if (size <= (size_t)1 << META_BLOCK_SHIFT_MIN)
        return META_BLOCK_SHIFT_MIN;
    return umem_log2(size - 1) + 1;
}

/* Unmaps the chunk of a block that has one to itself; the lock is held. */
static void
unmap_block(void *block)
{
    struct umem_meta_chunk *chunk = (void *)((char *)block - META_HEADER), **at = &umem_meta_chunks;

    while (*at != chunk)
        at = &(*at)->chunk_next;
    *at = chunk->chunk_next;
    mapped_bytes -= chunk->chunk_size;
    (void)os_unmap(chunk, chunk->chunk_size);
}

/* The lock is held.  True: there is address space that there was not. */
static bool
give_back(void)
{
    bool any = false;

    for (unsigned list = list_of(META_BLOCK_MAX + 1); list < META_LISTS; list++)
        while (free_list[list] != NULL) {
            struct free_block *block = free_list[list];
            free_list[list] = block->block_next;
            unmap_block(block);
            any = true;
        }
    return any;
}

/* Maps a chunk with its header; the lock is held. */
static void *
map_chunk(size_t size, size_t align)
{
    struct umem_meta_chunk *chunk = os_map(size, align);

    if (chunk == NULL && give_back())
        chunk = os_map(size, align);
    if (chunk == NULL)
        return NULL;
    os_name(chunk, size, "umem_meta");
    chunk->chunk_size = size;
    chunk->chunk_next = umem_meta_chunks;
    umem_meta_chunks = chunk;
    mapped_bytes += size;
    return chunk;
}

static struct unit_chunk *
chunk_of(const void *unit)
{
    return (struct unit_chunk *)umem_align_down((uintptr_t)unit, META_CHUNK_SIZE);
}

static size_t
unit_index(const void *unit)
{
    return ((uintptr_t)unit & (META_CHUNK_SIZE - 1)) >> META_UNIT_SHIFT;
}

static void *
unit_at(struct unit_chunk *uc, size_t index)
{
    return (char *)uc + (index << META_UNIT_SHIFT);
}

/* Marks units as a free run, or as none where run is 0. */
static void
tag_run(struct unit_chunk *uc, size_t first, size_t units, size_t run)
{
    uc->uc_run[first] = uc->uc_run[first + units - 1] = (uint8_t)run;
}

static void
add_run(struct unit_chunk *uc, size_t first, size_t units)
{
    tag_run(uc, first, units, units);
    umem_list_push_front(&free_runs[umem_log2(units)], unit_at(uc, first));
}

static void
remove_run(struct unit_chunk *uc, size_t first, size_t units)
{
    tag_run(uc, first, units, 0);
    umem_list_remove(unit_at(uc, first));
}

/* Units become free, and one run with their neighbours. */
static void
free_units(struct unit_chunk *uc, size_t first, size_t units)
{
    size_t before = uc->uc_run[first - 1]; /* the header's is 0 */
    size_t after = first + units < META_UNITS ? uc->uc_run[first + units] : 0;

    if (before != 0)
        remove_run(uc, first - before, before);
    if (after != 0)
        remove_run(uc, first + units, after);
    add_run(uc, first - before, before + units + after);
}

/* A run that is large enough, cut to size; NULL: none was found. */
static void *
take_run(size_t units)
{
    unsigned looks = 0;

    /* The first list has shorter ones too; of the others any will do. */
    for (unsigned list = umem_log2(units); list < RUN_LISTS; list++)
        UMEM_LIST_FOR (node, &free_runs[list]) {
            struct unit_chunk *uc = chunk_of(node);
            size_t first = unit_index(node), run = uc->uc_run[first];
            if (run >= units) {
                remove_run(uc, first, run);
                if (run > units)
                    add_run(uc, first + units, run - units);
                return node;
            }
            if (++looks == LOOKS_MAX)
                break;
        }
    return NULL;
}

/* Units that were never used: zeroed.  NULL with errno. */
static void *
fresh_units(size_t units)
{
    if (newest == NULL || META_UNITS - newest->uc_used < units) {
        struct unit_chunk *uc = map_chunk(META_CHUNK_SIZE, META_CHUNK_SIZE);
        if (uc == NULL)
            return NULL;
        if (newest == NULL)
            for (unsigned list = 0; list < RUN_LISTS; list++)
                umem_list_init(&free_runs[list]);
        else if (newest->uc_used < META_UNITS)
            free_units(newest, newest->uc_used, META_UNITS - newest->uc_used);
        uc->uc_used = 1;
        newest = uc;
    }
    newest->uc_used += units;
    return unit_at(newest, newest->uc_used - units);
}

/* *used: the block may have been used before. */
static void *
alloc_units(size_t size, bool *used)
{
    size_t units = umem_align_up(size, META_UNIT) >> META_UNIT_SHIFT;
    void *run = newest == NULL ? NULL : take_run(units);

    *used = run != NULL;
    return run != NULL ? run : fresh_units(units);
}

/* A new small block of 2^list bytes, zeroed; the lock is held. */
static void *
cut(unsigned list)
{
    size_t size = (size_t)1 << list;
    char *block = (char *)umem_align_up((uintptr_t)piece_cur, umem_min(size, UMEM_CACHE_LINE));
    bool used;

    if (piece_cur == NULL || block > piece_end || (size_t)(piece_end - block) < size) {
        block = alloc_units(META_PIECE, &used);
        if (block == NULL)
            return NULL;
        if (used)
            __builtin_memset(block, 0, META_PIECE);
        piece_end = block + META_PIECE;
    }
    piece_cur = block + size;
    return block;
}

static void *
map_block(size_t size)
{
    char *chunk = map_chunk(umem_align_up(size + META_HEADER, os_page_size()), os_page_size());

    return chunk == NULL ? NULL : chunk + META_HEADER;
}

static bool
is_units(size_t size)
{
    return size > META_SMALL_MAX && size <= META_BLOCK_MAX;
}

void *
umem_meta_alloc(size_t size)
{
    unsigned list = list_of(size);
    bool used = true;
    void *block;

    umem_lock_acquire(&meta_lock);
    if (is_units(size)) {
        block = alloc_units(size, &used);
    } else if (free_list[list] != NULL) {
        block = free_list[list];
        free_list[list] = free_list[list]->block_next;
    } else {
        used = false;
        block = size <= META_SMALL_MAX ? cut(list) : map_block((size_t)1 << list);
    }
    umem_lock_release(&meta_lock);

    if (block != NULL && used)
        __builtin_memset(block, 0, size);
    return block; /* or NULL with the system's errno */
}

void
umem_meta_free(void *ptr, size_t size)
{
    if (ptr == NULL)
        return;
    umem_lock_acquire(&meta_lock);
    if (is_units(size)) {
        free_units(chunk_of(ptr), unit_index(ptr), umem_align_up(size, META_UNIT) / META_UNIT);
    } else {
        struct free_block *block = ptr;
        block->block_next = free_list[list_of(size)];
        free_list[list_of(size)] = block;
    }
    umem_lock_release(&meta_lock);
}

UMEM_COLD bool
umem_meta_give_back(void)
{
    umem_lock_acquire(&meta_lock);
    bool any = give_back();
    umem_lock_release(&meta_lock);
    return any;
}

UMEM_COLD size_t
umem_meta_mapped(void)
{
    umem_lock_acquire(&meta_lock);
    size_t bytes = mapped_bytes;
    umem_lock_release(&meta_lock);
    return bytes;
}

void
umem_meta_fork_prepare(void)
{
    umem_lock_acquire_fork(&meta_lock);
}

void
umem_meta_fork_parent(void)
{
    umem_lock_release(&meta_lock);
}

void
umem_meta_fork_child(void)
{
    umem_lock_reset_child(&meta_lock);
}
