/* SPDX-License-Identifier: MIT */
/*
 * tcache.h - the per-thread layer: for each cache a bin with a loaded and a
 * previous magazine.  docs/frontends.md says why not per CPU.
 *
 * 1. The window.  Alloc takes *--bin_cur while bin_cur > bin_base, free puts
 *    *bin_cur++ while bin_cur < bin_limit.  A closed window sends both to the
 *    slow path: so begin threads without a cache (they point at a static,
 *    all-closed one), caches under debugging, and bin 0, which belongs to
 *    nobody.
 *
 * 2. Marks.  Before it looks at the window, an alloc takes one off bin_credit,
 *    a free adds one to bin_frees.  While the owner is between two operations
 *    the marks therefore account for the window (tcache_is_quiet()), and while
 *    it is within one they do not.  That is how another thread may take back
 *    the magazines of a bin that has not been used for long: it closes the
 *    window, lets membarrier() order that before or after whatever the owner
 *    is at, and looks at the marks (sweep.c).  The owner pays two plain
 *    additions, no lock and no atomic operation.
 *
 * 3. Credit.  Where bin_credit is spent, alloc comes to the slow path although
 *    the window has rounds: a visit, on which memory that nobody needs is given
 *    back (cache/reap.c).  Credit is what the bin may be expected to allocate
 *    in some ten milliseconds, so a busy bin makes a visit every few thousand
 *    allocations, and an idle program's next allocation makes one.
 *
 * Lock: tc_lock of each thread cache (UMEM_RANK_TCACHE) for all that the fast
 * path does not do; others may hold it to take magazines.  umem_tcaches_lock
 * (UMEM_RANK_THREADS) for the list, for replacing a thread cache by a larger
 * one, and for which depot a bin belongs to.
 */
#ifndef UMEM_TCACHE_H
#define UMEM_TCACHE_H

#include "base/base.h"
#include "magazine/depot.h"
#include "os/lock.h"

/* One cache line: an operation touches no other of the thread's. */
struct tbin {
    _Alignas(UMEM_CACHE_LINE) void **bin_cur; /* next free slot of the loaded magazine */
    void **bin_base;                          /* its first slot; closed: see below */
    void **bin_limit;                         /* past its last slot */
    int32_t bin_credit;                       /* allocations until the next visit */
    uint32_t bin_frees;                       /* see tcache_is_quiet() */
    struct magazine *bin_loaded;
    struct magazine *bin_previous; /* wholly full or wholly empty (mag_rounds is valid) */
    uint32_t bin_granted;   /* bin_credit at the last visit: allocations are the difference */
    uint32_t bin_seen;      /* marks as the last sweep found them */
    uint32_t bin_visit_ms;  /* when the last visit was, modulo 2^32 */
    uint16_t bin_size : 12; /* capacity that its magazines should have; 0: not used yet */
    uint16_t bin_full : 4;  /* how often the window ran out on the side of free, in a row */
    uint8_t bin_exchanges;  /* of magazines, at this size */
    uint8_t bin_batch;      /* rounds that were last taken from slabs at once */
};

enum tcache_state {
    TCACHE_UNSET, /* the static one, of threads before their first allocation and past their end */
    TCACHE_LIVE
};

struct tcache {
    uint32_t tc_bins; /* bins it has, that umem_cache_alloc() may use */
    uint32_t tc_state;
    struct umem_list tc_link; /* on umem_tcaches */
    struct umem_lock tc_lock;
    uint32_t tc_thread;     /* kernel id */
    uint32_t tc_swept;      /* the last round of sweeps that it was part of */
    bool tc_exit_seen;      /* the thread's exit will flush it */
    _Atomic bool tc_exempt; /* alloc finds its windows open though they are diverted */
    size_t tc_size;         /* bytes of this record */
    int64_t tc_sample;      /* allocations until one is sampled: sample.c; under tc_lock */
    uint64_t tc_random;     /* what that is drawn from */
    struct tbin tc_bin[];
};

/*
 * Bins of the static thread cache, and of a thread's first: enough for
 * bin 0 and every size class.
 */
#define TCACHE_STATIC_BINS 88
/*
 * Bins there can be: the table of their depots takes 8 bytes each.  Caches
 * past that many do without a per-thread layer.
 */
#define TCACHE_MAX_BINS 4096
_Static_assert(TCACHE_MAX_BINS <= UINT16_MAX, "cache_slow_bin");

/*
 * A closed window: no bin_cur exceeds this base, none is below that limit.  Not
 * NULL for a base, since the owner may have read a bin_cur of before.
 */
#define TCACHE_BASE_CLOSED ((void **)UINTPTR_MAX)
#define TCACHE_LIMIT_CLOSED ((void **)0)

extern UMEM_TLS struct tcache *tcache_self;
extern struct umem_list umem_tcaches;
extern struct umem_lock umem_tcaches_lock;
/* Depot of each bin, NULL where unused; under umem_tcaches_lock but for reads by bin owners. */
extern struct depot *tcache_depot[TCACHE_MAX_BINS];

/* --- tcache.c: thread caches --- */

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

/* Empties the bin in every thread cache into its depot.  No thread may be using it just now. */
void tcache_bin_flush(unsigned bin);

/* Gives all that this thread caches, in every bin, to the depots; closes the windows. */
void tcache_flush_self(void);

/* Once, by the thread that sets up: thread exit from now on empties its cache. */
void tcache_init(void);

void tcache_fork_prepare(void);
void tcache_fork_parent(void);
/* Takes over what the threads that the child does not have had cached. */
void tcache_fork_child(void);

/*
 * --- divert.c: operations that go elsewhere ---
 *
 * A diverted bin has one side of its windows, or both, closed in all threads,
 * so that alloc or free comes to the slow path, which may serve it otherwise;
 * what the slow path takes from the bin, or puts there, it does as ever.  Only
 * the exempt threads have the side of alloc open all the same.
 *
 * Whatever happens after tcache_divert() has returned (in the sense of
 * happens-before) finds the sides closed.  A thread that knows nothing of the
 * call may make some operations more: its processor sees the closed side
 * within microseconds.
 */
#define TCACHE_ALLOC_SIDE 1u
#define TCACHE_FREE_SIDE 2u
/* sides: those that are to be closed from now on; 0 opens the windows again. */
void tcache_divert(unsigned bin, unsigned sides);

/* Threads that can be named below. */
#define TCACHE_CHOSEN_MAX 64
/*
 * Exempts all threads but those n, by kernel id, now and when they begin; n = 0
 * exempts none.  n is at most TCACHE_CHOSEN_MAX.
 */
void tcache_choose_threads(const uint32_t *ids, unsigned n);
/* Whether this thread is exempt. */
bool tcache_is_exempt(void);
/* Sets tc_exempt of a new thread cache; the list's lock is held. */
void tcache_choose(struct tcache *tc);
/* Opens the window on the loaded magazine as far as the bin is not diverted; locked. */
void tcache_open(const struct tcache *tc, struct tbin *b);

/* --- The fast path --- */

/* How far a bin lies behind bin 0, in bytes. */
#define TCACHE_BIN_AT(bin) ((bin) * sizeof(struct tbin))

/* A bin of this thread, which must have it, by TCACHE_BIN_AT(). */
static inline struct tbin *
tcache_bin_at(size_t at)
{
    char *tc = (char *)tcache_self + at;

    /* Left to itself gcc takes the sum apart and adds it up again for each field. */
    __asm__("" : "+r"(tc));
    return ((struct tcache *)(void *)tc)->tc_bin;
}

static inline struct tbin *
tcache_bin(unsigned bin)
{
    return tcache_bin_at(TCACHE_BIN_AT(bin));
}

/* The mark of an alloc.  False: no credit is left. */
static inline bool
tcache_begin_alloc(struct tbin *bin)
{
#if defined(__x86_64__) || defined(__i386__)
    bool spent;
    /* One instruction, and no compiler moves what follows before it. */
    __asm__ volatile("subl $1, %1" : "=@ccs"(spent), "+m"(bin->bin_credit) : : "memory");
    return !spent;
#else
    int32_t credit = __atomic_load_n(&bin->bin_credit, __ATOMIC_RELAXED) - 1;
    __atomic_store_n(&bin->bin_credit, credit, __ATOMIC_RELAXED);
    atomic_signal_fence(memory_order_seq_cst);
    return credit >= 0;
#endif
}

/* Takes the mark back: the slow path begins anew. */
static inline void
tcache_undo_alloc(struct tbin *bin)
{
    __atomic_store_n(&bin->bin_credit, __atomic_load_n(&bin->bin_credit, __ATOMIC_RELAXED) + 1,
                     __ATOMIC_RELAXED);
}

/* The mark of a free. */
static inline void
tcache_begin_free(struct tbin *bin)
{
#if defined(__x86_64__) || defined(__i386__)
    __asm__ volatile("addl $1, %0" : "+m"(bin->bin_frees) : : "memory", "cc");
#else
    __atomic_store_n(&bin->bin_frees, bin->bin_frees + 1, __ATOMIC_RELAXED);
    atomic_signal_fence(memory_order_seq_cst);
#endif
}

static inline void
tcache_undo_free(struct tbin *bin)
{
    __atomic_store_n(&bin->bin_frees, __atomic_load_n(&bin->bin_frees, __ATOMIC_RELAXED) - 1,
                     __ATOMIC_RELAXED);
}

/*
 * Fetches an object's first line while the caller is still on its way to write
 * there.  Compilers' baseline for x86-64 lacks the instruction that fetches it
 * for writing (without, each miss costs 0.5 ns more); processors that do not
 * know it, 64-bit ones of before 2005 apart, take it for a no-op.
 */
static inline void
tcache_prefetch(void *obj)
{
#if defined(__x86_64__)
    __asm__ volatile("prefetchw %0" : : "m"(*(char *)obj));
#else
    __builtin_prefetch(obj, 1);
#endif
}

/* Takes a round of the window.  False: for the slow path. */
static inline bool
tcache_pop(struct tbin *bin, void **obj)
{
    if (UMEM_LIKELY(tcache_begin_alloc(bin))) {
        void **cur = __atomic_load_n(&bin->bin_cur, __ATOMIC_RELAXED);
        if (UMEM_LIKELY(cur > __atomic_load_n(&bin->bin_base, __ATOMIC_RELAXED))) {
            *obj = cur[-1];
            tcache_prefetch(cur[-1]);
            /* Release: who sees the round gone may reuse its slot. */
            __atomic_store_n(&bin->bin_cur, cur - 1, __ATOMIC_RELEASE);
            return true;
        }
    }
    tcache_undo_alloc(bin);
    return false;
}

/* Puts an object into the window.  False: for the slow path. */
static inline bool
tcache_push(struct tbin *bin, void *obj)
{
    tcache_begin_free(bin);
    void **cur = __atomic_load_n(&bin->bin_cur, __ATOMIC_RELAXED);
    if (UMEM_LIKELY(cur < __atomic_load_n(&bin->bin_limit, __ATOMIC_RELAXED))) {
        *cur = obj;
        /* Release: who sees the round, a sweep or the child of a fork, finds the object. */
        __atomic_store_n(&bin->bin_cur, cur + 1, __ATOMIC_RELEASE);
        return true;
    }
    tcache_undo_free(bin);
    return false;
}

/* --- tcache_bin.c: what the window cannot serve; tc is this thread's own --- */

/*
 * A round from the bin's magazines or its depot, or NULL where they have none.
 * now_ms is the time of day in any consistent milliseconds.
 */
void *tcache_take(struct tcache *tc, unsigned bin, uint32_t now_ms);
/*
 * Puts an object into the bin's magazines.  False: there is no memory for one,
 * or objects so large are not kept by a bin that frees so few.
 * *surplus: a full magazine that the depot has no room for, or NULL; the
 * caller empties it and gives it back by depot_put().
 */
bool tcache_put(struct tcache *tc, unsigned bin, void *obj, uint32_t now_ms,
                struct magazine **surplus);
/* Takes up to n raw objects from somewhere; returns how many, 0 with errno. */
typedef unsigned tcache_source_t(void *arg, void **out, unsigned n);
/*
 * Fills the bin of a thread for which tcache_take() had nothing, and takes a
 * round of that.  NULL: one object at a time is enough here, or source had
 * none.  The objects go straight into a magazine: a pointer to each, left on
 * some stack, would keep a leak finder from finding it later.
 */
void *tcache_fill(struct tcache *tc, unsigned bin, tcache_source_t *source, void *arg);

/* Whether the owner is between two operations on the bin; the window may be closed. */
static inline bool
tcache_is_quiet(const struct tbin *bin)
{
    if (bin->bin_loaded == NULL)
        return true;
    void **cur = __atomic_load_n(&bin->bin_cur, __ATOMIC_ACQUIRE);
    uint32_t allocs =
        bin->bin_granted - (uint32_t)__atomic_load_n(&bin->bin_credit, __ATOMIC_RELAXED);
    return (uint32_t)(cur - bin->bin_loaded->mag_round) ==
           __atomic_load_n(&bin->bin_frees, __ATOMIC_RELAXED) - allocs;
}

/*
 * Gives both magazines of a bin that its owner is not at to the depot; locked.
 * The marks are left alone, since they are the owner's, who may begin anything.
 */
void tcache_flush_bin(struct tcache *tc, unsigned bin);
/* The same for good: of a thread, or a bin, that is no more. */
void tcache_retire_bin(struct tcache *tc, unsigned bin);
/*
 * Rounds of a bin in all thread caches: a snapshot that others' operations may
 * have outdated, for statistics.
 */
size_t tcache_bin_rounds(unsigned bin);

/* --- sample.c: one allocation in so many is drawn --- */

/* One in how many; 0: none.  Set once, before there is any thread cache. */
extern uint32_t tcache_sample_every;
/* Whether an allocation from the bin, or from elsewhere (tc may be NULL), is the one. */
bool tcache_sample_due(struct tcache *tc, unsigned bin, uint32_t now_ms);
bool tcache_sample_other(struct tcache *tc);
/* A new thread cache. */
void tcache_sample_init(struct tcache *tc);
/* A visit: what the bin has allocated is counted, the credit cut.  Locked. */
uint64_t tcache_sample_credit(struct tcache *tc, uint32_t allocs, uint64_t credit);
/* Counts this allocation; whether it is the one.  Locked. */
bool tcache_sample_take(struct tcache *tc);

/* --- sweep.c: magazines of bins that lie idle --- */

/*
 * Gives the depots the magazines of bins that were not used since the sweep
 * before, whoever's they are, in max thread caches from where the last call
 * stopped.  True: there are more.
 */
bool tcache_sweep(unsigned max);

#endif
