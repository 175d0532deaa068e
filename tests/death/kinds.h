/* SPDX-License-Identifier: MIT */
/*
 * kinds.h - blocks of every kind that a program may have, made and dropped by
 * name: for the programs of this folder that commit one misuse with each.
 *
 * "notouch" and "nohash" are objects into which the library writes nothing
 * (UMC_NOTOUCH, UMC_NOHASH); those of "arena" lie in memory of the program's.
 */
#ifndef KINDS_H
#define KINDS_H

#include "object.h"

#include <malloc.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/vmem.h>

#define ARENA_SIZE ((size_t)128 << 20)
#define ARENA_QUANTUM 4096

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

static inline vmem_t *
own_arena(void)
{
    void *memory =
        mmap(NULL, ARENA_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return vmem_create("anvil_arena", memory, ARENA_SIZE, ARENA_QUANTUM, NULL, NULL, NULL, 0,
                       VM_NOSLEEP);
}

static inline umem_cache_t *
cache_of_kind(const char *kind)
{
    int flags = is(kind, "notouch") ? UMC_NOTOUCH : is(kind, "nohash") ? UMC_NOHASH : 0;

    size = 40;
    if (is(kind, "constructed"))
        return umem_cache_create("anvil_cache", size, 0, construct, destruct, NULL, NULL, NULL, 0);
    return umem_cache_create("anvil_cache", size, 0, NULL, NULL, NULL, NULL,
                             is(kind, "arena") ? own_arena() : NULL, flags);
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
