/* SPDX-License-Identifier: MIT */
/*
 * walk_bufctls.c - walkers over bufctls: by cache, by what the buffer is, by
 * thread, and over the transaction log.
 */
#include "shell/bufctl.h"

#include <string.h>

struct choice {
    bool live;
    bool by_thread; /* else by cache */
    uint32_t cache; /* NO_CACHE: all */
    uint64_t thread;
};

static bool
full(struct shell *sh)
{
    return shell_error(sh, shell_interrupted ? "interrupted" : "no memory");
}

/* Adds the bufctl of a block where it is wanted. */
static bool
consider(struct shell *sh, struct block b, const struct choice *choice, struct addresses *out)
{
    struct heap *h = &sh->sh_heap;
    struct block_info info;
    bool audited;

    addr_t bufctl = heap_bufctl(h, b, &audited);
    if (bufctl == 0 || !audited || heap_is_live(h, b) != choice->live)
        return true;
    if (choice->by_thread) {
        heap_block_info(h, b, &info);
        if (!info.blk_audited || info.blk_thread != choice->thread)
            return true;
    }
    return addresses_add(out, bufctl) || full(sh);
}

static bool
walk_choice(struct shell *sh, const struct choice *choice, struct addresses *out)
{
    const struct heap *h = &sh->sh_heap;

    for (uint32_t r = 0; r < h->heap_region_count; r++) {
        const struct region *region = &h->heap_regions[r];
        if (choice->cache != NO_CACHE && region->region_cache != choice->cache)
            continue;
        for (uint32_t i = 0; i < region->region_blocks; i++)
            if (!consider(sh, (struct block){r, i}, choice, out))
                return false;
    }
    return true;
}

static bool
walk_of_cache(struct shell *sh, const struct walk *walk, bool live, struct addresses *out)
{
    struct choice choice = {.live = live, .cache = NO_CACHE};

    if (walk->walk_has_addr) {
        const struct heap_cache *cache = shell_cache(sh, walk->walk_addr);
        if (cache == NULL)
            return false;
        choice.cache = (uint32_t)(cache - sh->sh_heap.heap_caches);
    }
    return walk_choice(sh, &choice, out);
}

static bool
walk_bufctl(struct shell *sh, const struct walk *walk, struct addresses *out)
{
    return walk_of_cache(sh, walk, true, out);
}

static bool
walk_freectl(struct shell *sh, const struct walk *walk, struct addresses *out)
{
    return walk_of_cache(sh, walk, false, out);
}

static bool
walk_allocdby(struct shell *sh, const struct walk *walk, struct addresses *out)
{
    const struct choice choice = {true, true, NO_CACHE, walk->walk_addr};
    return walk_choice(sh, &choice, out);
}

static bool
walk_freedby(struct shell *sh, const struct walk *walk, struct addresses *out)
{
    const struct choice choice = {false, true, NO_CACHE, walk->walk_addr};
    return walk_choice(sh, &choice, out);
}

static bool
walk_umem_log(struct shell *sh, const struct walk *walk, struct addresses *out)
{
    const struct event_list *log = shell_transactions(sh);
    (void)walk;
    for (size_t i = 0; i < log->count; i++)
        if (!addresses_add(out, log->list[i].event_record))
            return full(sh);
    return true;
}

static bool
walk_bufctl_history(struct shell *sh, const struct walk *walk, struct addresses *out)
{
    const struct event_list *log;
    struct bufctl bc;

    if (!shell_bufctl(sh, walk->walk_addr, &bc))
        return false;
    if (!bc.bc_is_event && !addresses_add(out, bc.bc_addr))
        return full(sh);
    log = shell_transactions(sh);
    for (size_t i = 0; i < log->count; i++)
        if (log->list[i].event_addr == bc.bc_buffer &&
            !addresses_add(out, log->list[i].event_record))
            return full(sh);
    return true;
}

const struct walker walkers_bufctls[] = {
    {"bufctl", "bufctls of allocated buffers, of all caches or of the one at ADDR", WALK_EITHER,
     true, walk_bufctl},
    {"umem_hash", "bufctls of allocated buffers of the cache at ADDR (no hash: from its slabs)",
     WALK_FROM_ADDRESS, true, walk_bufctl},
    {"freectl", "bufctls of free buffers, of all caches or of the one at ADDR", WALK_EITHER, true,
     walk_freectl},
    {"bufctl_history", "the bufctl at ADDR, and what the transaction log has of its buffer",
     WALK_FROM_ADDRESS, true, walk_bufctl_history},
    {"umem_log", "records of the transaction log, newest first", WALK_ANYWHERE, true,
     walk_umem_log},
    {"allocdby", "bufctls of buffers that the thread ADDR allocated", WALK_FROM_ADDRESS, true,
     walk_allocdby},
    {"freedby", "bufctls of free buffers that the thread ADDR freed", WALK_FROM_ADDRESS, true,
     walk_freedby},
    {0}};
