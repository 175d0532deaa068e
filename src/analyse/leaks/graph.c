/* SPDX-License-Identifier: MIT */
/*
 * graph.c - which leaked blocks hang on which.
 *
 * Three passes over the leaked blocks, each in order of address:
 *  1. note every block that another leaked block points to;
 *  2. the others are direct; what can be reached from one is indirect and
 *     hangs on it;
 *  3. what is left hangs on circles.  A depth-first walk writes the blocks
 *     down in the order in which it leaves them; the last one written and not
 *     yet reached lies in a circle that nothing else leads to, and is taken as
 *     direct.  (A block of an earlier component is always left later; the
 *     start of the walk, the lowest address, is the last of its own.)
 */
#include "leaks/leaks.h"
#include "leaks/mark.h"

#include <stdlib.h>
#include <string.h>

#include "heap/memory.h"

struct frame { /* of the walk of pass 3: where in the block it goes on */
    struct block frm_block;
    addr_t frm_next; /* the word to go on at */
};

struct walk;

struct graph {
    struct heap *h;
    const uint64_t *leaked;
    uint64_t *pointed; /* bits: another leaked block points here */
    uint64_t *seen;    /* bits: sorted, or reached by the walk */
    struct group_table *table;
    bool incomplete;
    bool failed;
    struct block *stack;
    size_t depth;
    size_t room;
    uint64_t self;     /* number of the block being scanned */
    struct walk *walk; /* during pass 3 */
};

/* The leaked block that a word leads to. */
static bool
leaked_block(const struct graph *g, addr_t value, struct block *b, uint64_t *number)
{
    if (!heap_find(g->h, value, b))
        return false;
    *number = heap_block_number(g->h, *b);
    return bit_get(g->leaked, *number);
}

static void
scan_block(struct graph *g, struct block b, scan_fn *fn)
{
    addr_t start = heap_block_addr(g->h, b);
    g->self = heap_block_number(g->h, b);
    scan_words(g->h, start, start + heap_block_scan(g->h, b), fn, g);
}

/* Calls fn for every leaked block, in order of address. */
static void
for_leaked(struct graph *g, void (*fn)(struct graph *, struct block, uint64_t))
{
    for (uint32_t r = 0; r < g->h->heap_region_count; r++) {
        const struct region *region = &g->h->heap_regions[r];
        uint64_t words = ((uint64_t)region->region_blocks + 63) / 64;
        for (uint64_t w = 0; w < words; w++) {
            uint64_t bits = g->leaked[region->region_first / 64 + w];
            for (; bits != 0; bits &= bits - 1) {
                uint32_t index = (uint32_t)(w * 64) + (uint32_t)__builtin_ctzll(bits);
                fn(g, (struct block){r, index}, region->region_first + index);
            }
        }
    }
}

static void
push(struct graph *g, struct block b)
{
    if (!memory_grow(&g->stack, &g->room, g->depth, sizeof(*g->stack))) {
        g->failed = true;
        return;
    }
    g->stack[g->depth++] = b;
}

static enum leak_kind
kind_of(const struct graph *g, enum leak_kind kind)
{
    return g->incomplete ? LEAK_POSSIBLE : kind;
}

/* --- Pass 1 --- */

static bool
note_pointer(void *arg, addr_t at, addr_t value)
{
    struct graph *g = arg;
    struct block b;
    uint64_t number;
    (void)at;
    if (leaked_block(g, value, &b, &number) && number != g->self)
        bit_set(g->pointed, number);
    return true;
}

static void
note_pointers(struct graph *g, struct block b, uint64_t number)
{
    (void)number;
    scan_block(g, b, note_pointer);
}

/* --- Pass 2 --- */

static bool
follow_pointer(void *arg, addr_t at, addr_t value)
{
    struct graph *g = arg;
    struct block b;
    uint64_t number;
    (void)at;
    if (leaked_block(g, value, &b, &number) && !bit_get(g->seen, number)) {
        bit_set(g->seen, number);
        push(g, b);
    }
    return true;
}

/* b is direct: counts it, and all that hangs on it. */
static void
take_direct(struct graph *g, struct block b, uint64_t number)
{
    bit_set(g->seen, number);
    struct leak_group *direct = groups_add(g->table, b, kind_of(g, LEAK_DIRECT));
    scan_block(g, b, follow_pointer);
    while (g->depth > 0) {
        struct block child = g->stack[--g->depth];
        scan_block(g, child, follow_pointer);
        groups_add(g->table, child, kind_of(g, LEAK_INDIRECT));
        if (direct == NULL)
            continue;
        struct block_info info;
        heap_block_info(g->h, child, &info);
        direct->grp_held_count++;
        direct->grp_held_bytes += info.blk_size;
    }
}

static void
take_unpointed(struct graph *g, struct block b, uint64_t number)
{
    if (!bit_get(g->pointed, number))
        take_direct(g, b, number);
}

/* --- Pass 3 --- */

struct walk {
    struct graph *g;
    uint64_t *entered; /* bits */
    struct frame *frames;
    size_t depth;
    size_t room;
    struct block *left; /* in the order in which blocks were left */
    size_t left_count;
    size_t left_room;
    struct block next; /* found by next_edge() */
    bool next_found;
    addr_t next_at; /* the word that led there */
};

static bool
walk_enter(struct walk *w, struct block b)
{
    if (!memory_grow(&w->frames, &w->room, w->depth, sizeof(*w->frames)))
        return false;
    bit_set(w->entered, heap_block_number(w->g->h, b));
    w->frames[w->depth++] = (struct frame){b, heap_block_addr(w->g->h, b)};
    return true;
}

static bool
walk_leave(struct walk *w)
{
    if (!memory_grow(&w->left, &w->left_room, w->left_count, sizeof(*w->left)))
        return false;
    w->left[w->left_count++] = w->frames[--w->depth].frm_block;
    return true;
}

static bool
find_edge(void *arg, addr_t at, addr_t value)
{
    struct walk *w = arg;
    struct block b;
    uint64_t number;
    if (!leaked_block(w->g, value, &b, &number) || bit_get(w->g->seen, number) ||
        bit_get(w->entered, number))
        return true;
    w->next = b;
    w->next_found = true;
    w->next_at = at;
    return false;
}

static bool
walk_from(struct walk *w, struct block b)
{
    struct heap *h = w->g->h;
    if (!walk_enter(w, b))
        return false;
    while (w->depth > 0) {
        struct frame *top = &w->frames[w->depth - 1];
        addr_t end = heap_block_addr(h, top->frm_block) + heap_block_scan(h, top->frm_block);
        w->next_found = false;
        scan_words(h, top->frm_next, end, find_edge, w);
        top->frm_next = w->next_at + h->heap_offsets.off_word;
        if (w->next_found ? !walk_enter(w, w->next) : !walk_leave(w))
            return false;
    }
    return true;
}

static void
walk_unseen(struct graph *g, struct block b, uint64_t number)
{
    struct walk *w = g->walk;
    if (!bit_get(g->seen, number) && !bit_get(w->entered, number) && !walk_from(w, b))
        g->failed = true;
}

static void
take_circles(struct graph *g)
{
    struct walk w = {.g = g, .entered = calloc(g->h->heap_blocks / 64 + 1, sizeof(uint64_t))};
    if (w.entered == NULL) {
        g->failed = true;
        return;
    }
    g->walk = &w;
    for_leaked(g, walk_unseen);
    while (w.left_count > 0) {
        struct block b = w.left[--w.left_count];
        uint64_t number = heap_block_number(g->h, b);
        if (!bit_get(g->seen, number))
            take_direct(g, b, number);
    }
    g->walk = NULL;
    free(w.entered);
    free(w.frames);
    free(w.left);
}

int
graph_sort(struct heap *h, const uint64_t *leaked, bool incomplete, struct group_table *table)
{
    size_t words = h->heap_blocks / 64 + 1;
    struct graph g = {.h = h, .leaked = leaked, .table = table, .incomplete = incomplete};

    g.pointed = calloc(words, sizeof(*g.pointed));
    g.seen = calloc(words, sizeof(*g.seen));
    if (g.pointed != NULL && g.seen != NULL) {
        for_leaked(&g, note_pointers);
        for_leaked(&g, take_unpointed);
        take_circles(&g);
    } else {
        g.failed = true;
    }
    free(g.pointed);
    free(g.seen);
    free(g.stack);
    return g.failed ? -1 : 0;
}
