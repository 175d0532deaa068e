/* SPDX-License-Identifier: MIT */
/*
 * verify.c - see verify.h: goes through the caches, and keeps what is found.
 */
#include "look/verify.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "heap/memory.h"

const char *
verify_kind_name(enum verify_kind kind)
{
    static const char *const names[VERIFY_KINDS] = {
        [VERIFY_MODIFIED] = "modified", [VERIFY_REDZONE] = "redzone",
        [VERIFY_UNDERRUN] = "underrun", [VERIFY_BUFTAG] = "buftag",
        [VERIFY_BUFCTL] = "bufctl",     [VERIFY_DUPLICATE] = "duplicate",
        [VERIFY_SLAB] = "slab",         [VERIFY_HEAP] = "heap"};
    return names[kind];
}

struct verify_cache *
verify_row(struct verification *v, uint32_t cache)
{
    return &v->ver_caches[cache == NO_CACHE ? v->ver_cache_count : cache];
}

static bool
is_of_buffer(enum verify_kind kind)
{
    return kind != VERIFY_SLAB && kind != VERIFY_HEAP;
}

struct verify_problem *
verify_note(struct verification *v, enum verify_kind kind, uint32_t cache, addr_t addr,
            const char *fmt, ...)
{
    struct verify_problem *prb = &v->ver_spare;
    va_list ap;

    if (v->ver_kept < VERIFY_KEPT_MAX) {
        if (memory_grow(&v->ver_problems, &v->ver_room, v->ver_kept, sizeof(*v->ver_problems)))
            prb = &v->ver_problems[v->ver_kept++];
        else
            v->ver_failed = true;
    }
    v->ver_count++;
    *prb = (struct verify_problem){.prb_kind = kind, .prb_addr = addr, .prb_cache = cache};
    va_start(ap, fmt);
    vsnprintf(prb->prb_message, sizeof(prb->prb_message), fmt, ap);
    va_end(ap);
    if (is_of_buffer(kind))
        verify_row(v, cache)->vc_corrupt++;
    else if (kind == VERIFY_SLAB)
        verify_row(v, cache)->vc_damaged++;
    return prb;
}

/* What heap_open() and the walks above could not follow, where all of the target is there. */
static void
note_heap(struct verification *v, const struct heap *h)
{
    size_t kept =
        h->heap_problem_count < HEAP_PROBLEMS_MAX ? h->heap_problem_count : HEAP_PROBLEMS_MAX;

    if (!target_is_complete(h->heap_target))
        return;
    for (size_t i = 0; i < kept; i++)
        verify_note(v, VERIFY_HEAP, NO_CACHE, 0, "%s", h->heap_problems[i]);
    v->ver_count += h->heap_problem_count - kept;
}

static enum verify_depth
depth_of(const struct heap *h, const struct heap_cache *cache)
{
    const struct offsets *off = &h->heap_offsets;

    if (off->const_UMEM_SIZE_PRIME != 0 &&
        (cache->cache_flags & (off->const_UMF_REDZONE | off->const_UMF_DEADBEEF)) != 0)
        return VERIFY_GUARDS;
    return cache->cache_sidecar != 0 ? VERIFY_RECORDS : VERIFY_LISTS;
}

static bool
is_wanted(const struct heap *h, const struct region *region, const char *name)
{
    if (name == NULL)
        return true;
    return strcmp(region->region_cache == NO_CACHE
                      ? HEAP_OVERSIZE_NAME
                      : h->heap_caches[region->region_cache].cache_name,
                  name) == 0;
}

static void
verify_blocks(struct verification *v, struct heap *h, const char *name, uint32_t only)
{
    for (size_t i = 0; i < h->heap_region_count; i++)
        if (is_wanted(h, &h->heap_regions[i], name))
            verify_region(v, h, (uint32_t)i);
    verify_firewalls(v, h, only);
    verify_lists(v, h, only);
}

int
verify_heap(struct heap *h, const char *name, struct verification *v)
{
    uint32_t only = VERIFY_ALL;

    *v = (struct verification){.ver_cache_count = h->heap_cache_count};
    v->ver_caches = memory_zeroed(h->heap_cache_count + 1, sizeof(*v->ver_caches));
    v->ver_failed = v->ver_caches == NULL;
    if (v->ver_failed)
        return -1;
    if (name != NULL && strcmp(name, HEAP_OVERSIZE_NAME) == 0)
        only = NO_CACHE;
    for (uint32_t i = 0; i < h->heap_cache_count; i++) {
        verify_row(v, i)->vc_depth = depth_of(h, &h->heap_caches[i]);
        if (name != NULL && strcmp(name, h->heap_caches[i].cache_name) == 0)
            only = i;
    }
    if (name != NULL && only == VERIFY_ALL)
        return -1;
    if (h->heap_allocator == HEAP_GLIBC)
        verify_chunks(v, h, only);
    else
        verify_blocks(v, h, name, only);
    if (name == NULL)
        note_heap(v, h);
    return v->ver_failed ? -1 : 0;
}

void
verify_fini(struct verification *v)
{
    free(v->ver_problems);
    free(v->ver_caches);
    *v = (struct verification){0};
}
