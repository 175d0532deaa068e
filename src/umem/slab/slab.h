/* SPDX-License-Identifier: MIT */
/*
 * slab.h - slabs: spans of an arena cut into chunks of one size.
 *
 * A pool is what one cache owns here: geometry, lists of slabs, a lock.  A
 * slab's record lies outside the slab (in the metadata pool) with a bitmap of
 * free chunks, so that nothing is ever written into a free object, a freed
 * chunk is recognised by its bit, and a leak finder reads what is allocated
 * from the bitmap alone.  Behind the bitmap an optional sidecar of fixed size
 * a chunk belongs to the debug layer.
 *
 * Slabs of the heap (arena quantum = granule) are found by the page map;
 * slabs of any other arena by the pool's hash.
 *
 * Lock: slab_lock of each pool (UMEM_RANK_SLAB), dropped while a slab is
 * created or destroyed, since that calls into vmem.
 */
#ifndef UMEM_SLAB_H
#define UMEM_SLAB_H

#include <sys/vmem.h>

#include "base/base.h"
#include "os/lock.h"

/* Of a sidecar: what lies in it, two in a cache line, crosses none. */
#define SLAB_SIDECAR_ALIGN (UMEM_CACHE_LINE / 2)

/* Record of one slab. */
struct slab {
    struct umem_list slab_link; /* on one of its pool's lists */
    struct slab_pool *slab_pool;
    char *slab_base;        /* first chunk: span + lead + colour */
    char *slab_span;        /* what the arena gave: pool_slab_size bytes */
    uint32_t slab_chunks;   /* chunks in it */
    uint32_t slab_free;     /* chunks that are free here */
    uint32_t slab_hint;     /* no free bit in bitmap words below this one */
    uint32_t slab_words;    /* words of the bitmap */
    struct slab *slab_hash; /* next slab in its bucket of the pool's hash */
    char *slab_sidecar;     /* pool_sidecar bytes a chunk, or NULL */
    uint8_t slab_calm;      /* enum slab_calm */
    bool slab_purging;      /* its free pages go: on pool_full, whatever it has free */
    uint64_t slab_bitmap[]; /* bit set: chunk is free */
};

/* What purging knows of a slab (purge.c). */
enum slab_calm {
    SLAB_CHANGED, /* something was taken or freed since a pass of purging looked */
    SLAB_CALM,    /* nothing was */
    SLAB_PURGED   /* nor since its free pages went */
};

struct slab_pool {
    struct umem_lock pool_lock;
    uint32_t pool_chunks;     /* chunks a slab */
    size_t pool_chunk_size;   /* distance of two objects */
    size_t pool_slab_size;    /* span of one slab, a multiple of the arena's quantum */
    size_t pool_align;        /* of every object */
    size_t pool_lead;         /* bytes of a slab before its first chunk, for the layer above */
    uint64_t pool_reciprocal; /* ceil(2^32 / chunk_size): see slab_chunk_index() */
    vmem_t *pool_arena;
    size_t pool_color_max;         /* slack of a slab, rounded down to the alignment */
    size_t pool_color_next;        /* colour of the next slab */
    uint32_t pool_color_step;      /* distance of two colours */
    uint32_t pool_sidecar;         /* sidecar bytes a chunk */
    uint16_t pool_bin;             /* thread-cache bin written into page map words */
    bool pool_mapped;              /* slabs are in the page map */
    struct umem_list pool_partial; /* some chunks free */
    struct umem_list pool_full;    /* none free, or not to be taken just now */
    struct umem_list pool_empty;   /* all free */
    struct slab **pool_hash;       /* pool_hash_size buckets, for slabs not in the page map */
    size_t pool_hash_size;         /* a power of two */
    struct umem_list *pool_purge;  /* the slab that a pass of purging comes to next, or NULL */
    struct slab *pool_purging;     /* whose slab_purging is set, or NULL */
    uint32_t pool_hash_shift;      /* a slab is at most 2^shift bytes: it touches 2 such blocks */
    /* Statistics, under pool_lock. */
    size_t pool_slabs;       /* slabs now */
    size_t pool_slabs_empty; /* of them on pool_empty */
    size_t pool_allocated;   /* chunks handed out to the layer above */
    uint64_t pool_creates;
    uint64_t pool_destroys;
    uint64_t pool_fails; /* allocations that found no memory */
};

enum slab_status {
    SLAB_OK,
    SLAB_NOT_OURS,    /* address in no slab of this pool */
    SLAB_NOT_A_CHUNK, /* inside a slab, not the start of a chunk */
    SLAB_ALREADY_FREE /* the chunk's bit says free */
};

struct slab_geometry {
    vmem_t *geo_arena;     /* where slabs come from */
    size_t geo_quantum;    /* the arena's */
    bool geo_mapped;       /* the arena is the heap: slabs go into the page map */
    size_t geo_chunk_size; /* a multiple of geo_align */
    size_t geo_align;      /* at most the quantum */
    size_t geo_lead;       /* bytes kept before the first chunk, a multiple of geo_align */
    size_t geo_slab_min;   /* no slab smaller than this; 0: as the chunk size wants it */
    uint32_t geo_sidecar;  /* bytes a chunk */
    unsigned geo_bin;      /* for the page map */
};

/* Sets a pool up over zeroed memory.  -1 with EINVAL where no slab can hold a chunk. */
int slab_pool_init(struct slab_pool *pool, const struct slab_geometry *geometry);
/* Releases every slab.  The caller has seen that nothing is allocated. */
void slab_pool_fini(struct slab_pool *pool);

/*
 * Takes up to n chunks (n >= 1) into out, from as few slabs as can be, at
 * most one of them new.  Returns how many, 0 with errno where none.
 */
unsigned slab_alloc(struct slab_pool *pool, void **out, unsigned n);
/*
 * Gives chunks back.  Returns the number taken back: less than n where
 * objs[result] is no allocated chunk of this pool, *status then says why.
 */
unsigned slab_free(struct slab_pool *pool, void *const *objs, unsigned n, enum slab_status *status);

/* The slab that holds addr, or NULL; takes pool_lock for pools outside the page map. */
struct slab *slab_find(struct slab_pool *pool, const void *addr);
/* The same with the lock held. */
struct slab *slab_find_locked(struct slab_pool *pool, const void *addr);
/* Whether addr is the start of an allocated chunk of slab. */
enum slab_status slab_check(const struct slab *slab, const void *addr);

/*
 * A new slab with all chunks free, on no list and not counted: the caller
 * holds no lock, and adds or destroys it.  NULL with errno.
 */
struct slab *slab_create(struct slab_pool *pool);
void slab_destroy(struct slab_pool *pool, struct slab *slab);
/*
 * Told of each slab that was made and each that is about to be destroyed,
 * without the pool's lock; NULL: nobody.  Set before the first slab is made.
 */
extern void (*slab_watcher)(const struct slab *slab, bool made);

/* The pool's hash; the lock is held.  slab_hash_insert: false where there is no memory. */
bool slab_hash_insert(struct slab_pool *pool, struct slab *slab);
void slab_hash_remove(struct slab_pool *pool, struct slab *slab);

/* Destroys empty slabs, keeping at most keep of them.  Returns bytes given back. */
size_t slab_pool_reap(struct slab_pool *pool, size_t keep);
/* Bytes of the sidecars of all slabs, in all pools. */
size_t slab_sidecar_bytes(void);

/* --- purge.c: free pages of slabs that are in use --- */

/*
 * Goes on with a pass over the slabs: the pages of those in which nothing was
 * taken or freed since the pass before (all: of any) go back to the system, as
 * far as no chunk on them is in use.  For pools of the heap without a sidecar,
 * whose free chunks hold nothing.  *budget counts down, a slab looked at 1, one
 * purged more.  True: the pass is over, and the next call begins another.  One
 * thread at a time.
 */
bool slab_pool_purge(struct slab_pool *pool, bool all, size_t *budget);
/* In the child of a fork, the lock held: of a slab that another thread was purging. */
void slab_pool_fork_child(struct slab_pool *pool);
/* Takes a slab off its list, and out of a pass's way; the lock is held. */
void slab_unlink(struct slab_pool *pool, struct slab *slab);

/* Whether every invariant of the pool and its slabs holds. */
bool slab_pool_verify(struct slab_pool *pool);
/* Calls fn for each slab, with the lock held. */
void slab_pool_visit(struct slab_pool *pool, void (*fn)(void *arg, struct slab *slab), void *arg);
/* Calls fn for each allocated chunk, without the lock: for a quiet pool. */
void slab_pool_walk(struct slab_pool *pool, void (*fn)(void *arg, struct slab *slab, void *obj),
                    void *arg);

/* Index of the chunk that addr, within slab, falls in. */
static inline uint32_t
slab_chunk_index(const struct slab *slab, const void *addr)
{
    size_t offset = (size_t)((const char *)addr - slab->slab_base);
    size_t chunk_size = slab->slab_pool->pool_chunk_size;
    /*
     * Exact for offset < 2^32 and chunk_size < 2^32 after one correction: the
     * reciprocal is rounded up, so the product overshoots by at most one.
     */
    if (UMEM_UNLIKELY((uint64_t)(offset | chunk_size) >> 32 != 0))
        return (uint32_t)(offset / chunk_size);
    uint32_t index = (uint32_t)((offset * slab->slab_pool->pool_reciprocal) >> 32);
    return (uint64_t)index * chunk_size > offset ? index - 1 : index;
}

static inline void *
slab_chunk(const struct slab *slab, uint32_t index)
{
    return slab->slab_base + (size_t)index * slab->slab_pool->pool_chunk_size;
}

/* Whether addr is the start of a chunk, and of which. */
static inline bool
slab_is_chunk(const struct slab *slab, const void *addr, uint32_t *index)
{
    if ((const char *)addr < slab->slab_base)
        return false;
    *index = slab_chunk_index(slab, addr);
    return *index < slab->slab_chunks && slab_chunk(slab, *index) == addr;
}

static inline void *
slab_sidecar(const struct slab *slab, uint32_t index)
{
    return slab->slab_sidecar + (size_t)index * slab->slab_pool->pool_sidecar;
}

#endif
