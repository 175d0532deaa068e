/* SPDX-License-Identifier: MIT */
/*
 * users.c - see users.h.
 */
#include "look/users.h"

#include <string.h>

static bool
is_wanted(const struct users_options *options, const char *cache)
{
    for (size_t i = 0; i < options->usr_cache_count; i++)
        if (strcmp(options->usr_caches[i], cache) == 0)
            return true;
    return options->usr_cache_count == 0;
}

/* Blocks of one size are all of one cache; of others each says. */
static bool
is_one(struct heap *h, struct block b, const struct users_options *options)
{
    struct block_info info;
    if (options->usr_cache_count == 0 || h->heap_regions[b.block_region].region_uneven == NULL)
        return true;
    heap_block_info(h, b, &info);
    return is_wanted(options, info.blk_cache);
}

static void
add_region(struct heap *h, uint32_t index, const struct users_options *options,
           struct group_table *table)
{
    const struct region *region = &h->heap_regions[index];
    uint64_t words = ((uint64_t)region->region_blocks + 63) / 64;

    for (uint64_t w = 0; w < words; w++)
        for (uint64_t set = h->heap_live[region->region_first / 64 + w]; set != 0; set &= set - 1) {
            struct block b = {index, (uint32_t)(w * 64) + (uint32_t)__builtin_ctzll(set)};
            if (is_one(h, b, options) && !heap_block_in_transit(h, b))
                groups_add(table, b, LEAK_DIRECT);
        }
}

int
users_find(struct heap *h, const struct users_options *options, struct leaks *users)
{
    const struct leak_options groups = {.opt_addresses = options->usr_addresses,
                                        .opt_after = options->usr_after};
    struct group_table *table = groups_create(h, &groups);
    struct block_info info;

    *users = (struct leaks){0};
    if (table == NULL)
        return -1;
    for (uint32_t i = 0; i < h->heap_region_count; i++) {
        if (h->heap_regions[i].region_kind == REGION_MAPPING)
            continue;
        heap_block_info(h, (struct block){i, 0}, &info);
        if (h->heap_regions[i].region_uneven != NULL || is_wanted(options, info.blk_cache))
            add_region(h, i, options, table);
    }
    size_t problems = h->heap_problem_count;
    groups_finish(table, users);
    return h->heap_problem_count == problems ? 0 : -1;
}

bool
users_is_small(const struct leak_group *group)
{
    return group->grp_bytes < USERS_SMALL_BYTES && group->grp_count < USERS_SMALL_COUNT;
}
