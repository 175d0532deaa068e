/* SPDX-License-Identifier: MIT */
/*
 * leaks.c - the leak finder's steps in their order; see leaks.h.
 */
#include "leaks/leaks.h"

#include <stdlib.h>
#include <string.h>

#include "leaks/mark.h"
#include "leaks/roots.h"

/* A mapping that the library's variables lead to is the library's. */
static bool
mark_own(void *arg, addr_t at, addr_t value)
{
    struct marker *m = arg;
    struct block b;
    (void)at;
    if (heap_find(m->m_heap, value, &b) &&
        m->m_heap->heap_regions[b.block_region].region_kind == REGION_MAPPING)
        bit_clear(m->m_unreached, heap_block_number(m->m_heap, b));
    return true;
}

/* Calls fn for each block whose bit is set. */
static void
for_bits(struct heap *h, uint64_t *bits, void (*fn)(struct heap *, struct block, void *), void *arg)
{
    for (uint32_t r = 0; r < h->heap_region_count; r++) {
        const struct region *region = &h->heap_regions[r];
        uint64_t words = ((uint64_t)region->region_blocks + 63) / 64;
        for (uint64_t w = 0; w < words; w++)
            for (uint64_t set = bits[region->region_first / 64 + w]; set != 0; set &= set - 1)
                fn(h, (struct block){r, (uint32_t)(w * 64) + (uint32_t)__builtin_ctzll(set)}, arg);
    }
}

struct sweep {
    uint64_t *bits;
    const struct leak_options *options;
    struct leaks *leaks;
    struct group_table *table;
};

/* Takes off what is no leak although nothing reaches it. */
static void
sweep_block(struct heap *h, struct block b, void *arg)
{
    struct sweep *sweep = arg;
    const struct region *region = &h->heap_regions[b.block_region];
    bool mapping = region->region_kind == REGION_MAPPING && !sweep->options->opt_mappings;

    if (mapping) {
        sweep->leaks->lks_mappings++;
        sweep->leaks->lks_mapping_bytes += region->region_chunk;
    }
    if (mapping || heap_block_in_transit(h, b))
        bit_clear(sweep->bits, heap_block_number(h, b));
}

static void
add_possible(struct heap *h, struct block b, void *arg)
{
    struct sweep *sweep = arg;
    const struct region *region = &h->heap_regions[b.block_region];
    struct suppressions *s = sweep->options->opt_suppressions;
    if (region->region_kind != REGION_MAPPING && (s == NULL || !suppressions_take(s, h, b)))
        groups_add(sweep->table, b, LEAK_POSSIBLE);
}

/* Blocks that inner pointers reach and pointers to a start do not. */
static int
find_possible(struct heap *h, const struct roots *roots, const uint64_t *unreached,
              struct sweep *sweep)
{
    struct marker strict;
    if (marker_init(&strict, h, true) != 0)
        return -1;
    marker_run(&strict, roots);
    for (uint64_t w = 0; w < h->heap_blocks / 64; w++)
        strict.m_unreached[w] &= ~unreached[w];
    for_bits(h, strict.m_unreached, add_possible, sweep);
    int result = strict.m_failed ? -1 : 0;
    marker_fini(&strict);
    return result;
}

static int
sort_leaks(struct heap *h, const struct roots *roots, struct marker *m,
           const struct leak_options *options, struct leaks *leaks)
{
    uint64_t words = h->heap_blocks / 64;
    uint64_t *leaked = calloc(words + 1, sizeof(*leaked));
    struct group_table *table = groups_create(h, options);
    struct sweep sweep = {leaked, options, leaks, table};
    int result = -1;

    if (leaked != NULL && table != NULL) {
        for (uint64_t w = 0; w < words; w++)
            leaked[w] = m->m_unreached[w];
        for_bits(h, leaked, sweep_block, &sweep);
        struct suppressions *s = options->opt_suppressions;
        result = s != NULL && s->count > 0 ? suppressions_apply(s, h, leaked) : 0;
        if (result == 0)
            result = graph_sort(h, leaked, !heap_is_complete(h), table);
        if (result == 0 && options->opt_possible)
            result = find_possible(h, roots, m->m_unreached, &sweep);
    }
    if (table != NULL)
        groups_finish(table, leaks);
    free(leaked);
    return result;
}

int
leaks_find(struct heap *h, const struct leak_options *options, struct leaks *leaks)
{
    struct roots roots;
    struct marker m;
    int result = -1;

    *leaks = (struct leaks){.lks_suppressions = options->opt_suppressions};
    heap_add_segments(h);
    if (heap_seal(h) != 0)
        goto out;
    roots_find(h, &roots);
    if (!roots.failed && heap_seal(h) == 0 && marker_init(&m, h, false) == 0) {
        m.m_progress = options->opt_progress;
        m.m_progress_arg = options->opt_progress_arg;
        marker_run(&m, &roots);
        roots_scan_library(h, mark_own, &m);
        leaks->lks_scanned = m.m_scanned;
        if (!m.m_failed)
            result = sort_leaks(h, &roots, &m, options, leaks);
        marker_fini(&m);
    }
    roots_fini(&roots);
    heap_count(h);
out:
    if (result != 0)
        heap_problem(h, "there is not enough memory to look for leaks");
    return result;
}

void
leaks_fini(struct leaks *leaks)
{
    for (size_t i = 0; i < leaks->lks_group_count; i++)
        free(leaks->lks_groups[i].grp_addresses);
    free(leaks->lks_groups);
    *leaks = (struct leaks){0};
}
