/* SPDX-License-Identifier: MIT */
/*
 * verify.h - whether a heap is sound, seen from outside: what debugging wrote
 * into and round every buffer, the records of buffers, slabs and magazines.
 *
 * Of a buffer under guards everything is looked at that the library itself
 * checks when the buffer changes hands (fill, slack, tags, record), so damage is
 * found of which the program has not heard yet.  Of one without, only that the
 * lists of free buffers agree with each other.
 *
 * A process is stopped anywhere: a buffer that is changing hands just then is
 * passed over, and so are the lists of a cache whose lock is held.
 */
#ifndef ANALYSE_LOOK_VERIFY_H
#define ANALYSE_LOOK_VERIFY_H

#include "heap/heap.h"

enum verify_kind {
    VERIFY_MODIFIED,  /* a free buffer's fill */
    VERIFY_REDZONE,   /* behind an allocated one */
    VERIFY_UNDERRUN,  /* before one */
    VERIFY_BUFTAG,    /* the tag between two, by neither of them as it seems */
    VERIFY_BUFCTL,    /* the record of a buffer */
    VERIFY_DUPLICATE, /* a buffer that is free twice over */
    VERIFY_SLAB,      /* the record of a slab, or a list of them */
    VERIFY_HEAP,      /* a structure that could not be followed: see heap_problems */
    VERIFY_KINDS
};

/* How much can be known of a cache's buffers. */
enum verify_depth { VERIFY_LISTS, VERIFY_RECORDS, VERIFY_GUARDS };

#define VERIFY_MESSAGE_SIZE 200

struct verify_problem {
    enum verify_kind prb_kind;
    addr_t prb_addr;    /* of the buffer, else of the record; 0: of none */
    uint32_t prb_cache; /* index in heap_caches, or NO_CACHE */
    bool prb_has_block; /* the next is valid */
    struct block prb_block;
    bool prb_has_bytes; /* so are these: what was found at an offset of the buffer */
    int64_t prb_offset;
    uint64_t prb_expected;
    uint64_t prb_found;
    char prb_message[VERIFY_MESSAGE_SIZE]; /* one line */
};

struct verify_cache {
    uint64_t vc_buffers; /* looked at */
    uint64_t vc_corrupt; /* buffers with a problem */
    uint64_t vc_damaged; /* problems of the cache's own structures */
    enum verify_depth vc_depth;
    bool vc_busy; /* a lock was held: its lists were not compared */
};

struct verification {
    struct verify_problem *ver_problems; /* the first VERIFY_KEPT_MAX */
    size_t ver_kept;
    size_t ver_room;
    uint64_t ver_count;
    struct verify_cache *ver_caches; /* as heap_caches, and one more: oversize blocks */
    size_t ver_cache_count;          /* of heap_caches */
    struct verify_problem ver_spare; /* where those that are not kept are written */
    bool ver_failed;                 /* no memory */
};
/* A wrecked heap has as many problems as buffers; nobody reads more than these. */
#define VERIFY_KEPT_MAX 65536

/*
 * Looks at the cache of this name, or at all.  -1: there is none, or no memory
 * (ver_failed).  To be finished in any case.
 */
int verify_heap(struct heap *h, const char *cache, struct verification *v);
void verify_fini(struct verification *v);
/* "redzone", as JSON has it. */
const char *verify_kind_name(enum verify_kind kind);

/* --- shared by the files of verify --- */

/* Notes a problem; fmt is its line.  cache may be NO_CACHE. */
struct verify_problem *verify_note(struct verification *v, enum verify_kind kind, uint32_t cache,
                                   addr_t addr, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
/* The row of a cache, or of oversize blocks for NO_CACHE. */
struct verify_cache *verify_row(struct verification *v, uint32_t cache);
/* verify_buffers.c: the buffers of one region, whose cache has records. */
void verify_region(struct verification *v, struct heap *h, uint32_t region);
/* Blocks behind a firewall; only: of one cache, NO_CACHE oversize ones, or VERIFY_ALL. */
void verify_firewalls(struct verification *v, struct heap *h, uint32_t only);
#define VERIFY_ALL (UINT32_MAX - 1)
/* verify_lists.c: slabs and magazines. */
void verify_lists(struct verification *v, struct heap *h, uint32_t only);
/* verify_glibc.c: chunks of glibc's own heap. */
void verify_chunks(struct verification *v, struct heap *h, uint32_t only);

#endif
