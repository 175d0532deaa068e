/* SPDX-License-Identifier: MIT */
/*
 * top.c - see top.h.
 */
#include "look/top.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "heap/memory.h"
#include "look/usage.h"
#include "look/users.h"

static struct top_row
cache_row(const struct usage_row *use)
{
    struct top_row row = {.row_bufsize = use->use_bufsize,
                          .row_buffers = use->use_inuse,
                          .row_bytes = use->use_bufsize != 0 ? use->use_inuse * use->use_bufsize
                                                             : use->use_bytes,
                          .row_memory = use->use_bytes,
                          .row_allocs = use->use_allocs};
    snprintf(row.row_cache, sizeof(row.row_cache), "%s", use->use_name);
    return row;
}

static bool
take_caches(struct heap *h, struct top *top)
{
    struct top_table *table = &top->top_caches;

    table->top_rows = memory_zeroed(h->heap_cache_count + 1, sizeof(*table->top_rows));
    for (size_t i = 0; table->top_rows != NULL && i <= h->heap_cache_count; i++) {
        struct usage_row use =
            i < h->heap_cache_count ? usage_of_cache(&h->heap_caches[i]) : usage_of_oversize(h);
        if (usage_is_used(&use))
            table->top_rows[table->top_count++] = cache_row(&use);
    }
    return table->top_rows != NULL;
}

static bool
take_sites(struct heap *h, struct top *top)
{
    struct top_table *table = &top->top_sites;
    struct leaks users;

    if (users_find(h, &(struct users_options){0}, &users) != 0) {
        leaks_fini(&users);
        return false;
    }
    table->top_rows = memory_zeroed(users.lks_group_count + 1, sizeof(*table->top_rows));
    for (size_t i = 0; table->top_rows != NULL && i < users.lks_group_count; i++) {
        const struct leak_group *group = &users.lks_groups[i];
        if (group->grp_stack == 0)
            continue;
        struct top_row *row = &table->top_rows[table->top_count++];
        *row = (struct top_row){.row_stack = group->grp_stack,
                                .row_buffers = group->grp_count,
                                .row_bytes = group->grp_bytes};
        snprintf(row->row_cache, sizeof(row->row_cache), "%s", group->grp_cache);
    }
    leaks_fini(&users);
    return table->top_rows != NULL;
}

/* By what a row is of. */
static int
compare_keys(const void *a, const void *b)
{
    const struct top_row *x = a;
    const struct top_row *y = b;

    if (x->row_stack != y->row_stack)
        return x->row_stack < y->row_stack ? -1 : 1;
    return strcmp(x->row_cache, y->row_cache);
}

static int
most_first(const void *a, const void *b)
{
    const struct top_row *x = a;
    const struct top_row *y = b;

    if (x->row_bytes != y->row_bytes)
        return x->row_bytes > y->row_bytes ? -1 : 1;
    return compare_keys(a, b);
}

/* What changed since before, whose rows are copied to be sorted another way. */
static bool
compare_tables(const struct top_table *before, struct top_table *now)
{
    size_t size = before->top_count * sizeof(*before->top_rows);
    struct top_row *old = malloc(size + 1);

    if (old == NULL)
        return false;
    memcpy(old, before->top_rows, size);
    qsort(old, before->top_count, sizeof(*old), compare_keys);
    for (size_t i = 0; i < now->top_count; i++) {
        struct top_row *row = &now->top_rows[i];
        const struct top_row *was =
            bsearch(row, old, before->top_count, sizeof(*old), compare_keys);
        const struct top_row none = {.row_stack = 0};
        was = was != NULL ? was : &none;
        row->row_more_buffers = (int64_t)(row->row_buffers - was->row_buffers);
        row->row_more_bytes = (int64_t)(row->row_bytes - was->row_bytes);
        row->row_more_allocs = (int64_t)(row->row_allocs - was->row_allocs);
    }
    free(old);
    return true;
}

static void
sum_up(struct top *top)
{
    for (size_t i = 0; i < top->top_caches.top_count; i++) {
        const struct top_row *row = &top->top_caches.top_rows[i];
        top->top_sum.row_buffers += row->row_buffers;
        top->top_sum.row_bytes += row->row_bytes;
        top->top_sum.row_memory += row->row_memory;
        top->top_sum.row_allocs += row->row_allocs;
        top->top_sum.row_more_buffers += row->row_more_buffers;
        top->top_sum.row_more_bytes += row->row_more_bytes;
        top->top_sum.row_more_allocs += row->row_more_allocs;
    }
}

int
top_take(struct heap *h, const struct top *before, struct top *top)
{
    *top = (struct top){.top_time = target_now(h->heap_target)};
    if (!take_caches(h, top) || !take_sites(h, top))
        return -1;
    if (before != NULL && (!compare_tables(&before->top_caches, &top->top_caches) ||
                           !compare_tables(&before->top_sites, &top->top_sites)))
        return -1;
    sum_up(top);
    qsort(top->top_caches.top_rows, top->top_caches.top_count, sizeof(struct top_row), most_first);
    qsort(top->top_sites.top_rows, top->top_sites.top_count, sizeof(struct top_row), most_first);
    return 0;
}

void
top_fini(struct top *top)
{
    free(top->top_caches.top_rows);
    free(top->top_sites.top_rows);
    *top = (struct top){0};
}
