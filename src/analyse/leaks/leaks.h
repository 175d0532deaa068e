/* SPDX-License-Identifier: MIT */
/*
 * leaks.h - the leak finder: blocks that nothing reaches, sorted by what
 * hangs on what, grouped by the stack that allocated them.
 *
 * A leak is direct where no other leaked block points to it, else indirect; of
 * a circle that nothing outside points to, the block with the lowest address
 * is taken as direct.  Freeing the direct ones rightly frees the indirect ones
 * too, so the direct ones are what there is to fix.
 * Possible leaks: blocks held by pointers into their inside only (where asked
 * for), and every leak where parts of the target could not be read.
 */
#ifndef ANALYSE_LEAKS_LEAKS_H
#define ANALYSE_LEAKS_LEAKS_H

#include "heap/heap.h"
#include "leaks/suppress.h"

enum leak_kind { LEAK_DIRECT, LEAK_INDIRECT, LEAK_POSSIBLE };

struct leak_options {
    bool opt_possible;      /* report blocks held by inner pointers only */
    bool opt_mappings;      /* report unnamed mappings that nothing reaches */
    const char *opt_cache;  /* only this cache, or NULL */
    uint64_t opt_min_bytes; /* only groups of at least this */
    uint64_t opt_since;     /* ns: only blocks at most so old; 0: all.  Sets opt_after */
    uint64_t opt_after; /* only blocks that were allocated since, on the target's clock; 0: all */
    /* Called now and then with bytes scanned so far; may be NULL. */
    void (*opt_progress)(void *arg, uint64_t scanned);
    void *opt_progress_arg;
    size_t opt_addresses;                  /* addresses kept a group */
    struct suppressions *opt_suppressions; /* counts what it takes; may be NULL */
};

struct leak_group {
    enum leak_kind grp_kind;
    const char *grp_cache;
    uint32_t grp_stack; /* id, 0 unknown */
    uint64_t grp_count;
    uint64_t grp_bytes;
    uint64_t grp_requested; /* valid if grp_requested_known */
    bool grp_requested_known;
    bool grp_audited;
    uint64_t grp_oldest; /* times of allocation; valid if grp_audited */
    uint64_t grp_newest;
    uint32_t grp_thread; /* of the first one seen */
    bool grp_threads_differ;
    uint64_t grp_held_count; /* direct: indirect ones that hang on these */
    uint64_t grp_held_bytes;
    uint64_t *grp_addresses;
    size_t grp_address_count;
    size_t grp_address_room;
};

struct leaks {
    struct leak_group *lks_groups; /* direct, indirect, possible; by bytes within a kind */
    size_t lks_group_count;
    uint64_t lks_count;
    uint64_t lks_bytes;
    uint64_t lks_kind_count[LEAK_POSSIBLE + 1];
    uint64_t lks_kind_bytes[LEAK_POSSIBLE + 1];
    uint64_t lks_hidden;   /* leaked buffers that the options leave out */
    uint64_t lks_mappings; /* unnamed mappings that nothing reaches and were not asked for */
    uint64_t lks_mapping_bytes;
    uint64_t lks_scanned;                        /* bytes */
    const struct suppressions *lks_suppressions; /* as given, with what they took; or NULL */
};

/* Finds leaks in a heap just opened.  -1: no memory, after heap_problem(). */
int leaks_find(struct heap *h, const struct leak_options *options, struct leaks *leaks);
void leaks_fini(struct leaks *leaks);

/* --- groups.c --- */

struct group_table;
struct group_table *groups_create(struct heap *h, const struct leak_options *options);
/* Counts a block in; NULL: no memory, or the block is not wanted. */
struct leak_group *groups_add(struct group_table *table, struct block b, enum leak_kind kind);
/* Filters, sorts and sums up into leaks, and frees the table. */
void groups_finish(struct group_table *table, struct leaks *leaks);

/* --- graph.c --- */

/* Tells direct from indirect among the blocks whose bit in leaked is set. */
int graph_sort(struct heap *h, const uint64_t *leaked, bool incomplete, struct group_table *table);

#endif
