/* SPDX-License-Identifier: MIT */
/*
 * users.h - who has the memory: all live blocks, grouped by cache and by the
 * stack that allocated them.
 */
#ifndef ANALYSE_LOOK_USERS_H
#define ANALYSE_LOOK_USERS_H

#include "leaks/leaks.h"

struct users_options {
    const char *const *usr_caches; /* names; NULL: all */
    size_t usr_cache_count;
    size_t usr_addresses; /* kept a group */
    uint64_t usr_after;   /* only blocks allocated since, ns on the target's clock; 0: all */
};

/*
 * Groups by bytes, in lks_groups, with the sums in lks_count and lks_bytes.
 * -1: no memory.  Finished by leaks_fini().
 */
int users_find(struct heap *h, const struct users_options *options, struct leaks *users);

/* A group so small that a list of users leaves it out unless it is asked for. */
bool users_is_small(const struct leak_group *group);
#define USERS_SMALL_BYTES 4096
#define USERS_SMALL_COUNT 100

#endif
