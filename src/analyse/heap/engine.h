/* SPDX-License-Identifier: MIT */
/*
 * engine.h - shared by the files of this folder that walk the engine's own
 * structures: bounded lists.
 */
#ifndef ANALYSE_HEAP_ENGINE_H
#define ANALYSE_HEAP_ENGINE_H

#include "heap/heap.h"

/*
 * A walk along a circular list of the target.  Typical use:
 *
 *     struct list_walk w = list_begin(h, head, off->cache_link, limit, "caches");
 *     while (list_next(h, &w, off->size_umem_cache))
 *         ... w.walk_addr, w.walk_record ...
 *
 * The record holds until something else is read, the walk itself longer.  A
 * list that is longer than its limit, goes in a circle that misses its head, or
 * leads nowhere, ends as a problem.
 */
struct list_walk {
    addr_t walk_head;
    addr_t walk_next; /* link of the next record */
    struct field walk_link;
    uint64_t walk_left;
    uint64_t walk_steps;
    addr_t walk_mark; /* a record passed, the first after each power of 2: met again in a circle */
    const char *walk_what;
    addr_t walk_addr;
    struct record walk_record;
};

struct list_walk list_begin(struct heap *h, addr_t head, struct field link, uint64_t limit,
                            const char *what);
bool list_next(struct heap *h, struct list_walk *w, uint64_t record_size);

/* A name in the target, cut to printable characters. */
void copy_name(char *name, size_t size, const struct record *rec, struct field f);

/* engine.c's parts, in the order in which heap_open() calls them. */
void heap_read_caches(struct heap *h);
void heap_read_slabs(struct heap *h);
void heap_read_larges(struct heap *h);
void heap_read_firewalls(struct heap *h); /* firewall.c */
void heap_read_own(struct heap *h);
/* After heap_seal(): slabs that were on no list just then, by the page map.  True: some. */
bool heap_find_missing_slabs(struct heap *h);
void heap_read_magazines(struct heap *h);
/* Magazines that a thread has in its hands, on their way between depot and cache. */
void heap_read_transit(struct heap *h);
/* Freed stacks that libstackalloc keeps for itself. */
void heap_read_cached_stacks(struct heap *h);
/* Blocks whose record says that they are free: those in quarantine, or on their way. */
void heap_read_freed(struct heap *h);
/* Subtracts the rounds of a magazine whose mag_rounds counts, if it looks like one. */
bool heap_subtract_magazine(struct heap *h, addr_t mag, addr_t *next);

#endif
