/* SPDX-License-Identifier: MIT */
/*
 * transit.c - magazines in nobody's list, and stacks that their own library keeps.
 *
 * A thread that was stopped while it exchanged magazines, or emptied some, has
 * one in its hands: only a register or its stack knows it.  Its rounds are
 * free, though neither bin nor depot nor slab says so.
 *
 * Looked for where a thread is inside the library, and close to its stack
 * pointer only; what is found must look like a magazine in every word.
 *
 * Stacks that a thread freed wait in a pile of libstackalloc's, as good as in a
 * magazine.
 */
#include "heap/engine.h"
#include "heap/stack_table.h"

/* The library's slow paths need less stack than this. */
#define STACK_WINDOW 2048
/* A chain of magazines that a reap took is followed this far. */
#define CHAIN_MAX 4096
#define RED_ZONE 128

struct window {
    struct heap *h;
    unsigned char bytes[STACK_WINDOW + RED_ZONE];
    struct record rec;
};

static bool
in_library(const struct heap *h, addr_t addr)
{
    return addr >= h->heap_offsets.off_module_start && addr < h->heap_offsets.off_module_end;
}

static bool
in_ranges(const struct ranges *r, addr_t addr)
{
    size_t i = ranges_find(r, addr);
    return i < r->count && addr >= r->list[i].range_start;
}

static void
consider(struct heap *h, addr_t value)
{
    addr_t next = value;
    for (unsigned n = 0; n < CHAIN_MAX && next != 0; n++) {
        addr_t mag = next;
        /* A magazine that is loaded does not know its rounds: its bin does. */
        if (!in_ranges(&h->heap_own, mag) || in_ranges(&h->heap_loaded, mag) ||
            !heap_subtract_magazine(h, mag, &next))
            return;
    }
}

static bool
is_inside(const struct window *w, const struct thread *thr)
{
    unsigned word = w->h->heap_offsets.off_word;
    if (in_library(w->h, thr->thr_pc))
        return true;
    for (size_t i = 0; i + word <= w->rec.rec_size; i += word)
        if (in_library(w->h, record_get(&w->rec, i, (struct field){0, word})))
            return true;
    return false;
}

void
heap_read_transit(struct heap *h)
{
    const struct thread *threads;
    size_t n = target_threads(h->heap_target, &threads);
    unsigned word = h->heap_offsets.off_word;
    struct window w = {.h = h};

    for (size_t i = 0; i < n; i++) {
        const struct thread *thr = &threads[i];
        if (!thr->thr_stopped || thr->thr_sp < RED_ZONE)
            continue;
        addr_t low = (thr->thr_sp - RED_ZONE) & ~(addr_t)(word - 1);
        size_t got = target_read(h->heap_target, low, w.bytes, sizeof(w.bytes));
        w.rec = (struct record){w.bytes, got, low};
        if (!is_inside(&w, thr))
            continue;
        for (size_t k = 0; k < thr->thr_nregs; k++)
            consider(h, thr->thr_regs[k]);
        for (size_t k = 0; k + word <= w.rec.rec_size; k += word)
            consider(h, record_get(&w.rec, k, (struct field){0, word}));
    }
}

/* Whether a stack begins in the range. */
static bool
has_stack(const struct stack_table *table, const struct range *range)
{
    size_t low = 0, high = table->tab_count;

    while (low < high) { /* the first one not below the range */
        size_t middle = low + (high - low) / 2;
        if (table->tab_rows[middle].row_base < range->range_start)
            low = middle + 1;
        else
            high = middle;
    }
    return low < table->tab_count && table->tab_rows[low].row_base < range->range_end;
}

void
heap_read_cached_stacks(struct heap *h)
{
    struct stack_table table;
    struct ranges *constructed = &h->heap_constructed;
    struct block b;
    size_t kept = 0;
    char why[HEAP_PROBLEM_SIZE];

    if (!stack_table_read(h->heap_target, &table, why, sizeof(why)))
        return; /* mostly: the library is not there */
    /* What their last user left in them is nothing that their constructor made. */
    for (size_t i = 0; i < constructed->count; i++)
        if (!has_stack(&table, &constructed->list[i]))
            constructed->list[kept++] = constructed->list[i];
    constructed->count = kept;
    for (size_t i = 0; i < table.tab_count; i++) {
        const struct stack_row *row = &table.tab_rows[i];
        if (row->row_used || !heap_find(h, row->row_base, &b) || !heap_is_live(h, b))
            continue;
        bit_clear(h->heap_live, heap_block_number(h, b));
        uint32_t cache = h->heap_regions[b.block_region].region_cache;
        if (cache != NO_CACHE)
            h->heap_caches[cache].cache_cached++;
    }
    stack_table_fini(&table);
}
