/* SPDX-License-Identifier: MIT */
/*
 * groups.c - groups leaks by kind, cache and allocating stack.
 */
#include "leaks/leaks.h"

#include <stdlib.h>
#include <string.h>

#include "heap/memory.h"

#define BUCKETS 4096 /* groups are few: one a leaking call site */

struct group_node {
    struct group_node *next;
    struct leak_group group;
};

struct group_table {
    struct heap *h;
    const struct leak_options *options;
    size_t count;
    uint64_t hidden; /* blocks older than opt_after */
    bool failed;
    struct group_node *bucket[BUCKETS];
};

struct group_table *
groups_create(struct heap *h, const struct leak_options *options)
{
    struct group_table *table = calloc(1, sizeof(*table));
    if (table != NULL) {
        table->h = h;
        table->options = options;
    }
    return table;
}

/* Names of caches are compared by address: each cache has one copy. */
static struct leak_group *
find_group(struct group_table *table, enum leak_kind kind, const struct block_info *info)
{
    uint64_t key = (uint64_t)(uintptr_t)info->blk_cache ^ (uint64_t)info->blk_stack << 32 ^ kind;
    key *= 0x9e3779b97f4a7c15ULL; /* 2^64 / golden ratio: multiplicative hashing */
    struct group_node **bucket = &table->bucket[key >> 52];
    for (struct group_node *node = *bucket; node != NULL; node = node->next)
        if (node->group.grp_kind == kind && node->group.grp_cache == info->blk_cache &&
            node->group.grp_stack == info->blk_stack)
            return &node->group;
    struct group_node *node = calloc(1, sizeof(*node));
    if (node == NULL)
        return NULL;
    node->next = *bucket;
    *bucket = node;
    table->count++;
    node->group.grp_kind = kind;
    node->group.grp_cache = info->blk_cache;
    node->group.grp_stack = info->blk_stack;
    node->group.grp_requested_known = true;
    return &node->group;
}

static void
keep_address(struct group_table *table, struct leak_group *group, addr_t addr)
{
    if (group->grp_address_count >= table->options->opt_addresses ||
        !memory_grow(&group->grp_addresses, &group->grp_address_room, group->grp_address_count,
                     sizeof(*group->grp_addresses)))
        return;
    group->grp_addresses[group->grp_address_count++] = addr;
}

static void
count_in(struct leak_group *group, const struct block_info *info)
{
    bool first = group->grp_count == 0;
    group->grp_count++;
    group->grp_bytes += info->blk_size;
    if (info->blk_requested == BLOCK_UNKNOWN)
        group->grp_requested_known = false;
    else
        group->grp_requested += info->blk_requested;
    if (!info->blk_audited)
        return;
    group->grp_audited = true;
    if (first || info->blk_time < group->grp_oldest)
        group->grp_oldest = info->blk_time;
    if (info->blk_time > group->grp_newest)
        group->grp_newest = info->blk_time;
    if (first)
        group->grp_thread = info->blk_thread;
    else if (group->grp_thread != info->blk_thread)
        group->grp_threads_differ = true;
}

struct leak_group *
groups_add(struct group_table *table, struct block b, enum leak_kind kind)
{
    struct block_info info;
    heap_block_info(table->h, b, &info);
    if (table->options->opt_after != 0 &&
        (!info.blk_audited || info.blk_time < table->options->opt_after)) {
        table->hidden += kind != LEAK_POSSIBLE;
        return NULL;
    }
    struct leak_group *group = find_group(table, kind, &info);
    if (group == NULL) {
        table->failed = true;
        return NULL;
    }
    count_in(group, &info);
    keep_address(table, group, info.blk_addr);
    return group;
}

static int
compare_addresses(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* A total order, so that two runs over one core print the same. */
static int
compare_groups(const void *a, const void *b)
{
    const struct leak_group *x = a;
    const struct leak_group *y = b;
    if (x->grp_kind != y->grp_kind)
        return x->grp_kind < y->grp_kind ? -1 : 1;
    uint64_t xb = x->grp_bytes + x->grp_held_bytes;
    uint64_t yb = y->grp_bytes + y->grp_held_bytes;
    if (xb != yb)
        return xb > yb ? -1 : 1;
    if (x->grp_count != y->grp_count)
        return x->grp_count > y->grp_count ? -1 : 1;
    int names = strcmp(x->grp_cache, y->grp_cache);
    if (names != 0)
        return names;
    return (x->grp_stack > y->grp_stack) - (x->grp_stack < y->grp_stack);
}

static bool
is_wanted(const struct leak_options *options, const struct leak_group *group)
{
    return (options->opt_cache == NULL || strcmp(options->opt_cache, group->grp_cache) == 0) &&
           group->grp_bytes >= options->opt_min_bytes;
}

static void
take_group(const struct leak_options *options, struct leaks *leaks, struct leak_group *group)
{
    if (leaks->lks_groups == NULL || !is_wanted(options, group)) {
        leaks->lks_hidden += group->grp_kind == LEAK_POSSIBLE ? 0 : group->grp_count;
        free(group->grp_addresses);
        return;
    }
    if (group->grp_address_count > 1)
        qsort(group->grp_addresses, group->grp_address_count, sizeof(*group->grp_addresses),
              compare_addresses);
    leaks->lks_groups[leaks->lks_group_count++] = *group;
    leaks->lks_count += group->grp_count;
    leaks->lks_bytes += group->grp_bytes;
    leaks->lks_kind_count[group->grp_kind] += group->grp_count;
    leaks->lks_kind_bytes[group->grp_kind] += group->grp_bytes;
}

void
groups_finish(struct group_table *table, struct leaks *leaks)
{
    leaks->lks_groups = calloc(table->count + 1, sizeof(*leaks->lks_groups));
    leaks->lks_hidden += table->hidden;
    if (leaks->lks_groups == NULL || table->failed)
        heap_problem(table->h, "no memory for the groups of leaks");
    for (size_t i = 0; i < BUCKETS; i++) {
        struct group_node *next;
        for (struct group_node *node = table->bucket[i]; node != NULL; node = next) {
            next = node->next;
            take_group(table->options, leaks, &node->group);
            free(node);
        }
    }
    if (leaks->lks_groups != NULL)
        qsort(leaks->lks_groups, leaks->lks_group_count, sizeof(*leaks->lks_groups),
              compare_groups);
    free(table);
}
