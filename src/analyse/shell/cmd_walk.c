/* SPDX-License-Identifier: MIT */
/*
 * cmd_walk.c - ::walk: the addresses of structures, by the name of a walker or
 * of a cache.
 */
#include "shell/shell.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* "::walk umem_alloc_32" is "ADDR::walk umem" with that cache's address. */
static bool
find_by_name(struct shell *sh, const char *name, struct walk *walk)
{
    walk->walk_walker = walker_find(name);
    if (walk->walk_walker != NULL)
        return true;
    for (size_t i = 0; sh->sh_has_heap && i < sh->sh_heap.heap_cache_count; i++) {
        const struct heap_cache *cache = &sh->sh_heap.heap_caches[i];
        if (strcmp(cache->cache_name, name) != 0)
            continue;
        if (walk->walk_has_addr)
            return shell_error(sh, "walk: %s is a cache by itself: it takes no address", name);
        walk->walk_walker = walker_find("umem");
        walk->walk_has_addr = true;
        walk->walk_addr = cache->cache_addr;
        return true;
    }
    return shell_error(sh, "walk: no walker %s; ::walkers lists them", name);
}

static bool
tell(struct shell *sh, const struct call *call, const char *variable, addr_t addr)
{
    if (variable != NULL && !shell_set(sh, variable, addr))
        return false;
    if (call_feeds(call))
        return shell_say_address(sh, addr);
    printf("0x%" PRIx64 "\n", addr);
    return true;
}

static bool
dcmd_walk(struct shell *sh, const struct call *call)
{
    struct addresses found = {0};
    struct walk walk = {.walk_has_addr = call_has_address(call), .walk_addr = call->call_addr};
    int rest;

    if (!dcmd_options(sh, call, NULL, 2, &rest))
        return false;
    if (rest == call->call_argc)
        return shell_error(sh, "walk: needs the name of a walker; ::walkers lists them");
    const char *variable = rest + 1 < call->call_argc ? call->call_argv[rest + 1] : NULL;
    bool ok = find_by_name(sh, call->call_argv[rest], &walk) && shell_walk(sh, &walk, &found);
    for (size_t i = 0; ok && i < found.count; i++)
        ok = tell(sh, call, variable, found.list[i]);
    addresses_fini(&found);
    return ok;
}

const struct dcmd dcmds_walk[] = {
    {"walk", "name [variable]", "find structures and say their addresses",
     "  Names are those that ::walkers lists, and the names of caches. Some walkers start from\n"
     "  the address of a cache, an arena, a bufctl or a thread. The variable is given the value\n"
     "  of each address; after the walk it has the last one.\n",
     "::walk umem_alloc_48\n::walk umem_cache | ::walk umem_slab\n::walk vmem last; <last::vmem",
     dcmd_walk, DCMD_FEEDS},
    {0}};
