/* SPDX-License-Identifier: MIT */
/*
 * tcache.h - the per-thread layer: for each cache a bin with a loaded and a
 * previous magazine.
 *
 * The hot half of a bin is a window on the loaded magazine: alloc takes
 * *--bin_cur while bin_cur != bin_base, free puts *bin_cur++ while bin_cur !=
 * bin_limit.  A closed window (all three equal) sends both to the slow path:
 * so begin threads without a cache (they point at a static, all-closed one),
 * caches under debugging, and bin 0, which belongs to nobody.
 *
 * Only the owner touches bins, without lock or atomic operation; others may
 * read a stopped owner's, and take the magazines of an owner that is gone.
 * Wherever an owner stops, as for a fork, its bins tell where every magazine
 * and every round of them is: see exchange_loaded_and_previous().  Lock:
 * umem_tcaches_lock (UMEM_RANK_THREADS) for the list, for replacing a thread
 * cache by a larger one, and for closing windows.
 */
#ifndef UMEM_TCACHE_H
#define UMEM_TCACHE_H

#include "base/base.h"
#include "magazine/depot.h"
#include "os/lock.h"

struct tbin {
    void **bin_cur;      /* next free slot of the loaded magazine */
    void **bin_base;     /* its first slot */
    void **bin_limit;    /* past its last slot */
    uint64_t bin_allocs; /* objects handed out by this bin's fast path */
};

/* What the fast path does not need. */
struct tbin_cold {
    struct magazine *cold_loaded;
    struct magazine *cold_previous; /* wholly full or wholly empty (mag_rounds is valid) */
};

enum tcache_state {
    TCACHE_UNSET, /* the static one of a thread that has not allocated yet */
    TCACHE_LIVE,
    TCACHE_EXITED /* the static one of a thread past its destructors: nothing is cached */
};

struct tcache {
    uint32_t tc_bins; /* bins it has */
    uint32_t tc_state;
    struct umem_list tc_link; /* on umem_tcaches */
    uint32_t tc_thread;       /* kernel id */
    bool tc_exit_seen;        /* the thread's exit will flush it */
    struct tbin_cold *tc_cold;
    size_t tc_size; /* bytes of this record */
    struct tbin tc_bin[];
};

/* Bins of the two static thread caches: enough for bin 0 and every size class. */
#define TCACHE_STATIC_BINS 64
/*
 * Bins there can be: the table of their depots takes 8 bytes each.  Caches
 * past that many do without a per-thread layer.
 */
#define TCACHE_MAX_BINS 4096

extern UMEM_TLS struct tcache *tcache_self;
extern struct umem_list umem_tcaches;
extern struct umem_lock umem_tcaches_lock;

/*
 * This thread's own cache, made if need be, with more than bin bins; NULL
 * where there is no memory or the thread is past its destructors.
 */
struct tcache *tcache_get(unsigned bin);
static inline bool
tcache_is_live(const struct tcache *tc)
{
    return tc->tc_state == TCACHE_LIVE;
}

/* Assigns bin (0: any that is unused) to a depot.  Returns it, 0 where all are taken. */
unsigned tcache_bin_create(unsigned bin, struct depot *depot);
/*
 * Empties the bin in every thread cache into its depot and gives its number
 * back.  No thread may use the bin any more.
 */
void tcache_bin_destroy(unsigned bin);

/* Slow path of alloc: true once the bin's window has a round to take. */
bool tcache_refill(struct tcache *tc, unsigned bin);
/* Slow path of free: true once the bin's window has room for a round. */
bool tcache_make_room(struct tcache *tc, unsigned bin);

/* Takes a round from, puts one into, a bin whose window allows it. */
static inline void *
tcache_pop(struct tbin *bin)
{
    void **cur = bin->bin_cur - 1;
    void *obj = *cur;
    bin->bin_cur = cur;
    return obj;
}

static inline void
tcache_push(struct tbin *bin, void *obj)
{
    void **cur = bin->bin_cur;
    *cur = obj;
    atomic_signal_fence(memory_order_release); /* a fork in between finds it out, not torn */
    bin->bin_cur = cur + 1;
}

/*
 * Rounds of a bin in all thread caches: a snapshot that others' operations may
 * have outdated, for statistics.
 */
size_t tcache_bin_rounds(unsigned bin);

/* Gives all that this thread caches, in every bin, to the depots; closes the windows. */
void tcache_flush_self(void);

/* Once, by the thread that sets up: thread exit from now on empties its cache. */
void tcache_init(void);

void tcache_fork_prepare(void);
void tcache_fork_parent(void);
/* Takes over what the threads that the child does not have had cached. */
void tcache_fork_child(void);

#endif
