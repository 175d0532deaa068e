/* SPDX-License-Identifier: MIT */
/*
 * choose.c - which debugging a cache is under: what the options ask for, and
 * with random a choice of the cache's own besides.
 *
 * The choice follows from the seed and the cache's name alone, so that a run
 * can be repeated whichever thread creates which cache first.  No state.
 */
#include "debug/debug.h"

/* FNV-1a: offset basis and prime of 64 bits (Fowler, Noll, Vo). */
#define FNV_BASIS UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME UINT64_C(0x100000001b3)

static uint64_t
hash_of_name(const char *name)
{
    uint64_t hash = FNV_BASIS;

    for (; *name != '\0'; name++)
        hash = (hash ^ (unsigned char)*name) * FNV_PRIME;
    return hash;
}

uint32_t
umem_debug_flags(const char *cache_name)
{
    uint32_t flags = umem_options.opt_flags;

    if (umem_options.opt_random)
        flags |= (uint32_t)umem_hash64(umem_options.opt_random_seed ^ hash_of_name(cache_name));
    return flags & UMF_DEBUG;
}
