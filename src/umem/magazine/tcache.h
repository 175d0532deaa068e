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
 * read a stopped owner's (bin_cur moves by single stores, after the round is
 * written), and take the magazines of an owner that is gone.  Lock:
 * umem_tcaches_lock (UMEM_RANK_THREADS) for the list, and for replacing a
 * thread cache by a larger one.
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
    uint32_t tc_random;       /* state of this thread's generator */
    struct tbin_cold *tc_cold;
    size_t tc_size; /* bytes of this record */
    struct tbin tc_bin[];
};

/* Bins of the two static thread caches: enough for bin 0 and every size class. */
#define TCACHE_STATIC_BINS 64
/* Bins a pool_bin can name: see UMEM_PAGEMAP_BIN_SHIFT. */
#define TCACHE_MAX_BINS 65535

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

/* Slow path of alloc: true once the bin's window has a round to take. */
bool tcache_refill(struct tcache *tc, unsigned bin, struct depot *depot);
/* Slow path of free: true once the bin's window has room for a round. */
bool tcache_make_room(struct tcache *tc, unsigned bin, struct depot *depot);

/*
 * Detaches both magazines of a bin, rounds counted, as a chain of at most two,
 * and closes the window.  For the owner, or where no owner runs.
 */
struct magazine *tcache_detach(struct tcache *tc, unsigned bin);
/* Forgets a thread cache: off the list, its memory freed. */
void tcache_destroy(struct tcache *tc);

#endif
