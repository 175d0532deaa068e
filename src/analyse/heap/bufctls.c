/* SPDX-License-Identifier: MIT */
/*
 * bufctls.c - from a block to its record in the target, and back.
 *
 * Back: records of a slab lie in a row beside it, so the rows, sorted by their
 * address, lead from a record to its slab and place.
 */
#include "heap/heap.h"

#include <stdlib.h>

#include "heap/memory.h"

struct row {
    addr_t row_start;
    addr_t row_end;
    uint64_t row_stride;
    uint32_t row_region;
};

struct bufctl_table {
    struct row *tab_rows; /* by start */
    size_t tab_count;
    size_t tab_room;
};

/* The first record of a region, and how far one is from the next; 0 where there are none. */
static addr_t
first_record(const struct heap *h, const struct region *region, uint64_t *stride)
{
    const struct offsets *off = &h->heap_offsets;

    *stride = off->size_umem_bufctl;
    if (region->region_record == 0)
        return 0;
    switch (region->region_kind) {
    case REGION_SLAB:
        *stride = h->heap_caches[region->region_cache].cache_sidecar;
        return region->region_record;
    case REGION_LARGE:
        return region->region_record + off->large_bufctl.field_offset;
    case REGION_FIREWALL:
        return region->region_record;
    default:
        return 0;
    }
}

addr_t
heap_bufctl(const struct heap *h, struct block b, bool *audited)
{
    const struct region *region = &h->heap_regions[b.block_region];
    uint64_t stride;
    addr_t first = first_record(h, region, &stride);

    if (audited != NULL)
        *audited = first != 0 && stride >= h->heap_offsets.size_umem_bufctl;
    return first == 0 || stride == 0 ? 0 : first + b.block_index * stride;
}

static int
compare_rows(const void *a, const void *b)
{
    const struct row *x = a;
    const struct row *y = b;
    return (x->row_start > y->row_start) - (x->row_start < y->row_start);
}

struct bufctl_table *
bufctl_table_create(const struct heap *h)
{
    struct bufctl_table *table = calloc(1, sizeof(*table));

    for (uint32_t i = 0; table != NULL && i < h->heap_region_count; i++) {
        const struct region *region = &h->heap_regions[i];
        uint64_t stride;
        addr_t first = first_record(h, region, &stride);
        if (first == 0 || stride == 0)
            continue;
        if (!memory_grow(&table->tab_rows, &table->tab_room, table->tab_count,
                         sizeof(*table->tab_rows))) {
            bufctl_table_destroy(table);
            return NULL;
        }
        table->tab_rows[table->tab_count++] =
            (struct row){first, first + region->region_blocks * stride, stride, i};
    }
    if (table != NULL && table->tab_count > 0)
        qsort(table->tab_rows, table->tab_count, sizeof(*table->tab_rows), compare_rows);
    return table;
}

void
bufctl_table_destroy(struct bufctl_table *table)
{
    if (table != NULL)
        free(table->tab_rows);
    free(table);
}

bool
bufctl_table_find(const struct bufctl_table *table, addr_t addr, struct block *b)
{
    size_t lo = 0;
    size_t hi = table->tab_count;

    while (lo < hi) { /* the first row that ends behind addr */
        size_t mid = lo + (hi - lo) / 2;
        if (table->tab_rows[mid].row_end <= addr)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == table->tab_count || addr < table->tab_rows[lo].row_start)
        return false;
    const struct row *row = &table->tab_rows[lo];
    b->block_region = row->row_region;
    b->block_index = (uint32_t)((addr - row->row_start) / row->row_stride);
    return true;
}
