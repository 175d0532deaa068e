/* SPDX-License-Identifier: MIT */
/*
 * kinds.h - blocks of every kind that a program may have, made and dropped by
 * name: for the programs of this folder that commit one misuse with each.
 *
 * "notouch" are objects into which the library writes nothing (UMC_NOTOUCH).
 */
#ifndef KINDS_H
#define KINDS_H

#include "object.h"

#include <malloc.h>
#include <stdbool.h>

static umem_cache_t *cache;  /* of the kinds that have one */
static void *volatile other; /* a block that stays */
static size_t size;          /* what make_block() asks for */

static inline int
construct(void *buf, void *private, int flags)
{
    (void)private;
    (void)flags;
    memset(buf, 'c', size);
    return 0;
}

static inline void
destruct(void *buf, void *private)
{
    (void)buf;
    (void)private;
}

static inline bool
is(const char *kind, const char *name)
{
    return strcmp(kind, name) == 0;
}

static inline umem_cache_t *
cache_of_kind(const char *kind)
{
    size = 40;
    if (is(kind, "constructed"))
        return umem_cache_create("anvil_cache", size, 0, construct, destruct, NULL, NULL, NULL, 0);
    return umem_cache_create("anvil_cache", size, 0, NULL, NULL, NULL, NULL, NULL,
                             is(kind, "notouch") ? UMC_NOTOUCH : 0);
}

KEEP char *
make_block(const char *kind)
{
    if (is(kind, "malloc"))
        return malloc(size = 48);
    if (is(kind, "slack"))
        return malloc(size = 41);
    if (is(kind, "calloc"))
        return calloc(size = 35, 1);
    if (is(kind, "realloc"))
        return realloc(malloc(20), size = 300);
    if (is(kind, "memalign"))
        return memalign(256, size = 100);
    if (is(kind, "pages")) {
        /* Another one beside it: without a quarantine its slab would else go with it. */
        other = memalign(4096, 4096);
        return memalign(4096, size = 4096);
    }
    if (is(kind, "wide"))
        return memalign(1 << 18, size = 5000);
    if (is(kind, "large"))
        return malloc(size = 200001);
    if (is(kind, "huge"))
        return malloc(size = 5000003);
    if (is(kind, "umem"))
        return umem_alloc(size = 75, UMEM_DEFAULT);
    if (cache == NULL)
        cache = cache_of_kind(kind);
    return umem_cache_alloc(cache, UMEM_DEFAULT);
}

KEEP void
drop_block(const char *kind, char *p)
{
    if (cache != NULL)
        umem_cache_free(cache, opaque(p));
    else if (is(kind, "umem"))
        umem_free(opaque(p), size);
    else
        free(opaque(p));
    __asm__ volatile("" : : : "memory");
}

#endif
