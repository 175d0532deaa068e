/* SPDX-License-Identifier: MIT */
/*
 * cache.h - the cache: a depot over a slab pool, with constructors, debugging
 * and statistics; the size classes; first-use set-up.
 *
 * The structure is private to this layer and to debug beside it.  Lower layers
 * see only the pool and the depot embedded in it.
 */
#ifndef UMEM_CACHE_H
#define UMEM_CACHE_H

#include <umem.h>

#include "base/base.h"
#include "debug/bufctl.h"
#include "magazine/depot.h"
#include "magazine/tcache.h"
#include "slab/slab.h"

#define UMEM_CACHE_NAME_SIZE 32

struct umem_cache {
    /* Read by the fast path. */
    uint32_t cache_bin;    /* 0: no per-thread caching */
    uint32_t cache_flags;  /* UMF_* */
    uint32_t cache_cflags; /* UMC_* */
    uint32_t cache_pad;
    umem_constructor_t *cache_ctor;
    umem_destructor_t *cache_dtor;
    umem_reclaim_t *cache_reclaim;
    void *cache_private;
    size_t cache_bufsize;  /* as the creator asked */
    size_t cache_bufspace; /* bytes before the buftag: bufsize rounded up */
    struct depot cache_depot;
    struct slab_pool cache_slabs;
    struct umem_list cache_link; /* on umem_caches */
    char cache_name[UMEM_CACHE_NAME_SIZE];
    /* Statistics beside the bins' own; atomics, relaxed. */
    _Atomic uint64_t cache_slow_allocs;    /* not counted by any bin */
    _Atomic uint64_t cache_retired_allocs; /* bins of threads that are gone */
    _Atomic uint64_t cache_fails;
};

extern struct umem_list umem_caches; /* every cache, in order of creation */
extern struct umem_lock umem_caches_lock;

/* Oversize and widely aligned blocks: one record a block. */
struct umem_large {
    struct umem_list large_link; /* on umem_larges */
    char *large_base;            /* what the program got */
    size_t large_size;           /* what the program asked for */
    char *large_span;            /* what the arena gave */
    size_t large_span_size;
    struct umem_bufctl large_bufctl;
};
extern struct umem_list umem_larges;
extern struct umem_lock umem_larges_lock;

/* State of the whole engine; the analyser starts here. */
enum umem_state { UMEM_STATE_NEW, UMEM_STATE_STARTING, UMEM_STATE_READY };

/* Sets everything up on first use.  Cheap once ready. */
bool umem_ready_slow(void);
extern _Atomic uint32_t umem_state;
static inline bool
umem_ready(void)
{
    return UMEM_LIKELY(atomic_load_explicit(&umem_state, memory_order_acquire) ==
                       UMEM_STATE_READY) ||
           umem_ready_slow();
}

/* --- Size classes (cache/sizes.c) --- */

#define UMEM_MAX_CLASS_SIZE ((size_t)131072) /* above: the oversize arena */
#define UMEM_CLASS_COUNT 49
#define UMEM_SMALL_MAX 1024 /* classes to here are looked up by one table */

struct umem_class {
    uint32_t class_size;
    uint32_t class_align; /* greatest power of two that divides it, at most a page */
};
extern const struct umem_class umem_classes[UMEM_CLASS_COUNT];
/* (size + 15) / 16 -> class that is 16-aligned: what malloc uses. */
extern const uint8_t umem_class_of_small[UMEM_SMALL_MAX / 16 + 1];
/* Their caches, umem_alloc_8 to umem_alloc_131072; bin of class c is c + 1. */
extern struct umem_cache umem_class_cache[UMEM_CLASS_COUNT];

/* Class for 1 <= size <= UMEM_MAX_CLASS_SIZE, 16-aligned. */
static inline unsigned
umem_class_of(size_t size)
{
    if (UMEM_LIKELY(size <= UMEM_SMALL_MAX))
        return umem_class_of_small[(size + 15) >> 4];
    /* Four classes a doubling: 2^k + j * 2^(k-2); 1024 is class 20. */
    unsigned shift = umem_log2(size - 1) - 2;
    return 20 + (shift - 8) * 4 + (unsigned)((size - 1) >> shift) - 3;
}

/* --- Allocation (cache/alloc.c): the slow paths under malloc and umem_alloc --- */

/*
 * The alloc path behind the fast one: magazines, slab, constructor, debugging.
 * requested is what the program asked for (recorded under debugging).
 */
void *umem_cache_alloc_slow(struct umem_cache *cp, size_t requested, int flags);
void umem_cache_free_slow(struct umem_cache *cp, void *buf);

static inline void *
umem_cache_alloc_fast(struct umem_cache *cp, unsigned bin, size_t requested, int flags)
{
    struct tbin *b = &tcache_self->tc_bin[bin];
    void **cur = b->bin_cur;
    if (UMEM_LIKELY(cur != b->bin_base)) {
        void *obj = *--cur;
        b->bin_cur = cur;
        b->bin_allocs++;
        return obj;
    }
    return umem_cache_alloc_slow(cp, requested, flags);
}

/* Any size: class or oversize.  NULL with errno.  Size 0 counts as 1. */
void *umem_alloc_sized(size_t size, int flags);
/* align is a power of two; no check is made of it. */
void *umem_alloc_aligned(size_t size, size_t align, int flags);
/* What a free of an address that no fast bin takes comes to: any block of ours, or a report. */
void umem_free_slow(void *buf, uint64_t pagemap_word);
/* The same where the caller stated a size: checked under debugging. */
void umem_free_sized(void *buf, size_t size);

/* Bytes of buf that its owner may use; 0 where buf is not a block of ours. */
size_t umem_usable_size(const void *buf);

/* Oversize blocks (cache/large.c). */
void *umem_large_alloc(size_t size, size_t align, int flags);
void umem_large_free(struct umem_large *large, const void *buf);
/* Resizes in place.  False: the caller allocates, copies, frees. */
bool umem_large_resize(struct umem_large *large, size_t size);

#endif
