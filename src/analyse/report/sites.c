/* SPDX-License-Identifier: MIT */
/*
 * sites.c - see sites.h.
 */
#include "report/sites.h"

#include "look/users.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* By stack and cache: names of caches are one copy each, so addresses order them. */
static int
compare_places(const void *a, const void *b)
{
    const struct site *x = a;
    const struct site *y = b;
    if (x->site_stack != y->site_stack)
        return x->site_stack < y->site_stack ? -1 : 1;
    return ((uintptr_t)x->site_cache > (uintptr_t)y->site_cache) -
           ((uintptr_t)x->site_cache < (uintptr_t)y->site_cache);
}

/* A total order, so that two runs over one core write the same. */
static int
compare_bytes(const void *a, const void *b)
{
    const struct site *x = a;
    const struct site *y = b;
    if (x->site_live.grp_bytes != y->site_live.grp_bytes)
        return x->site_live.grp_bytes > y->site_live.grp_bytes ? -1 : 1;
    int names = strcmp(x->site_cache, y->site_cache);
    if (names != 0)
        return names;
    return (x->site_stack > y->site_stack) - (x->site_stack < y->site_stack);
}

static void
count_leaks(struct sites *sites, const struct leaks *leaks)
{
    for (size_t i = 0; i < leaks->lks_group_count; i++) {
        const struct leak_group *group = &leaks->lks_groups[i];
        struct site key = {.site_stack = group->grp_stack, .site_cache = group->grp_cache};
        struct site *site =
            bsearch(&key, sites->list, sites->count, sizeof(*sites->list), compare_places);
        if (site == NULL)
            continue; /* a mapping, which is no buffer */
        site->site_leaked[group->grp_kind] += group->grp_count;
        site->site_leaked_bytes[group->grp_kind] += group->grp_bytes;
        sites->sts_leaked += group->grp_count;
        sites->sts_leaked_bytes += group->grp_bytes;
    }
}

bool
sites_read(struct heap *h, const struct leaks *leaks, struct sites *sites)
{
    const struct users_options all = {0};
    struct leaks live;
    *sites = (struct sites){0};
    if (users_find(h, &all, &live) != 0) {
        leaks_fini(&live);
        return false;
    }
    sites->list = calloc(live.lks_group_count + 1, sizeof(*sites->list));
    for (size_t i = 0; sites->list != NULL && i < live.lks_group_count; i++)
        sites->list[sites->count++] = (struct site){.site_stack = live.lks_groups[i].grp_stack,
                                                    .site_cache = live.lks_groups[i].grp_cache,
                                                    .site_live = live.lks_groups[i]};
    sites->sts_buffers = live.lks_count;
    sites->sts_bytes = live.lks_bytes;
    leaks_fini(&live);
    if (sites->list == NULL)
        return false;
    qsort(sites->list, sites->count, sizeof(*sites->list), compare_places);
    count_leaks(sites, leaks);
    qsort(sites->list, sites->count, sizeof(*sites->list), compare_bytes);
    return true;
}

void
sites_fini(struct sites *sites)
{
    free(sites->list);
    *sites = (struct sites){0};
}

uint64_t
site_leaked(const struct site *site)
{
    uint64_t sum = 0;
    for (size_t k = 0; k <= LEAK_POSSIBLE; k++)
        sum += site->site_leaked[k];
    return sum;
}

uint64_t
site_leaked_bytes(const struct site *site)
{
    uint64_t sum = 0;
    for (size_t k = 0; k <= LEAK_POSSIBLE; k++)
        sum += site->site_leaked_bytes[k];
    return sum;
}

void
site_frames(struct heap *h, struct symboliser *s, const struct site *site, site_frame_fn *fn,
            void *arg)
{
    addr_t frames[HEAP_STACK_MAX];
    size_t depth = heap_stack(h, site->site_stack, frames, HEAP_STACK_MAX);

    for (size_t i = 0; i < depth; i++) {
        const struct symbol *symbols;
        size_t n = symboliser_look_up(s, frames[i], true, &symbols);
        fn(arg, frames[i], symbols, n);
    }
    if (depth > 0)
        return;
    struct symbol unknown = {0};
    snprintf(unknown.sym_function, sizeof(unknown.sym_function), "%s", site->site_cache);
    fn(arg, 0, &unknown, 1);
    snprintf(unknown.sym_function, sizeof(unknown.sym_function), "%s", SITE_NO_STACK);
    fn(arg, 0, &unknown, 1);
}
