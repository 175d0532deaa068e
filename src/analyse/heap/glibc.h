/* SPDX-License-Identifier: MIT */
/*
 * glibc.h - the heap of glibc's own malloc, for targets without libumem.
 *
 * What is known of it here has been the same from glibc 2.31 to 2.41: struct
 * malloc_state and the heaps of its arenas, chunks with their size and the bit
 * that tells whether the one before is in use, fast bins, and per-thread
 * caches of 64 lists.  None of that is described in the target, and libc is
 * mostly stripped, so the main arena is looked for by its own shape: 127 bins
 * most of which point to themselves.  Everything found is checked.
 *
 * Chunks become the blocks of uneven regions.  There are no caches: blocks of
 * one size, and large ones by power of two, are told as if of one, so that what
 * is said of caches can be said of them.  Nothing is recorded of a block.
 */
#ifndef ANALYSE_HEAP_GLIBC_H
#define ANALYSE_HEAP_GLIBC_H

#include "heap/heap.h"

/* As heap_open(), for a heap without libumem; HEAP_NONE leaves h as it was. */
enum heap_read glibc_open(struct heap *h);
/* Index in heap_caches of blocks with so many usable bytes. */
uint32_t glibc_class(uint64_t usable);
/* For heap_count(): begins with what threads have cached; counts a region's live blocks in. */
void glibc_count_cached(struct heap *h);
void glibc_count(struct heap *h, uint32_t region);

/* --- shared by glibc.c and glibc_free.c --- */

/* The fields of struct malloc_state, by the size of a word. */
struct arena_layout {
    unsigned ar_flags;
    unsigned ar_fast_bins;
    unsigned ar_fast_count;
    unsigned ar_top;
    unsigned ar_bins;
    unsigned ar_next;
    unsigned ar_system_mem;
    unsigned ar_size;
};

struct glibc {
    struct heap *g_heap;
    unsigned g_word;
    struct arena_layout g_layout;
    addr_t *g_arenas; /* the main one first */
    size_t g_arena_count;
    size_t g_arena_room;
    addr_t *g_starts; /* of the row being walked */
    size_t g_start_count;
    size_t g_start_room;
    size_t *g_free; /* those of them that are not in use */
    size_t g_free_count;
    size_t g_free_room;
    struct ranges g_mapped; /* chunks that are mappings of their own */
    uint64_t g_used;        /* bytes of chunks in use, of the arena at hand */
    bool g_failed;          /* no memory */
};

#define GLIBC_SIZE_BITS ((uint64_t)7) /* of a chunk's size: not part of it */
#define GLIBC_PREV_INUSE 1
#define GLIBC_MMAPPED 2
#define GLIBC_NON_MAIN 4
#define GLIBC_ALIGN 16 /* of chunks, on 32-bit machines too since 2.26 */
#define GLIBC_CHUNK_MIN(word) ((uint64_t)4 * (word))

/* glibc_free.c: chunks in fast bins and in threads' caches are free, though they look in use. */
void glibc_read_fast_bins(struct glibc *g);
void glibc_read_thread_caches(struct glibc *g);

#endif
