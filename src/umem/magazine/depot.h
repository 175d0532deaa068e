/* SPDX-License-Identifier: MIT */
/*
 * depot.h - magazines and the depot they are exchanged at, after Bonwick and
 * Adams, "Magazines and Vmem" (USENIX 2001).
 *
 * A magazine is an array of pointers to free, constructed objects.  A depot
 * (one a cache) keeps full and empty ones.  Magazines of different capacity
 * live side by side: each knows its own, so that resizing needs no purge.
 * Lock: depot_lock (UMEM_RANK_DEPOT), held for a few list operations only.
 */
#ifndef UMEM_DEPOT_H
#define UMEM_DEPOT_H

#include "base/base.h"
#include "os/lock.h"

#define MAGAZINE_ROUNDS_MAX 1022 /* 8 KiB: exchanges then cost under 0.1 ns a round */
/* Loaded and previous. */
#define MAGAZINES_A_BIN 2u

/*
 * --- Tuning: set before there is any depot ---
 *
 * Bytes of objects that a bin may hold, in both its magazines; SIZE_MAX: what
 * the sizes of magazines come to.
 */
extern size_t depot_bin_bytes_max;
/* Failed trylocks in an update interval above which the size that bins start with takes a step. */
#define DEPOT_CONTENTION_MAX 3u /* the original's: one or two may be chance */
extern uint32_t depot_contention_max;

struct magazine {
    struct magazine *mag_next; /* in a depot's list */
    uint32_t mag_size;         /* capacity, rounds */
    uint32_t mag_rounds;       /* rounds in it while in a depot; in a bin, see tcache.h */
    void *mag_round[];
};

struct magazine_list {
    struct magazine *list_head;
    size_t list_count; /* magazines */
    size_t list_min;   /* least count since the last depot_update(): the reapable part */
    size_t list_idle;  /* least count since the last depot_take_oldest() of idle ones */
};

struct depot {
    /* What an exchange writes fills one cache line, which two threads that meet here pass on. */
    _Alignas(UMEM_CACHE_LINE) struct umem_lock depot_lock;
    struct magazine_list depot_full;
    struct magazine_list depot_empty;
    size_t depot_rounds;             /* objects in the full list */
    size_t depot_rounds_max;         /* bound of it; SIZE_MAX: none */
    size_t depot_object_size;        /* bytes */
    _Atomic uint32_t depot_mag_size; /* capacity that a bin starts with; grows with contention */
    uint32_t depot_mag_size_max;     /* bound of a bin's, from the object's size */
    uint32_t depot_mag_size_sway;    /* bound where the bin sways */
    uint32_t depot_contention;       /* failed trylocks since the last update */
    bool depot_regretted;            /* the bound was, since the last update */
    /* Nothing is reaped from here or from bins, and there is no bound: see cache/reserve.c. */
    _Atomic bool depot_pinned;
    _Atomic uint8_t depot_diverted; /* sides of windows that stay closed: TCACHE_*_SIDE */
    size_t depot_rounds_min;        /* what the bound never falls below */
    size_t depot_sent_away; /* objects refused since the last update and not yet regretted */
    size_t depot_full_reap; /* magazines that an update found unused for a whole interval */
    size_t depot_empty_reap;
    _Atomic uint64_t depot_retired_allocs; /* not counted by any bin: see tbin.bin_granted */
};

/*
 * object_size decides how many rounds a magazine may have; bounded: objects
 * are cheap to make, so that not many of them need be kept.
 */
void depot_init(struct depot *depot, size_t object_size, bool bounded);
static inline bool
depot_is_pinned(const struct depot *depot)
{
    return atomic_load_explicit(&depot->depot_pinned, memory_order_relaxed);
}

/* Whether two magazines of one object each, the least that a bin works with, are not too much. */
static inline bool
depot_suits_bins(const struct depot *depot)
{
    return depot->depot_object_size <= depot_bin_bytes_max / MAGAZINES_A_BIN;
}

static inline bool
depot_is_bounded(const struct depot *depot)
{
    return depot->depot_rounds_min != SIZE_MAX && !depot_is_pinned(depot);
}

/*
 * Exchanges *mag, an empty magazine or NULL, for one with rounds.  False:
 * there is none, and *mag is as it was.
 */
bool depot_get_full(struct depot *depot, struct magazine **mag);
/*
 * Exchanges *mag, any magazine or NULL, for an empty one of size rounds at
 * least: from the list, or new.  Where the depot is at its bound, a full one
 * is left in *surplus, for the caller to empty and give back; else *surplus is
 * NULL.  False with errno: no memory, and *mag is as it was.
 */
bool depot_get_empty(struct depot *depot, struct magazine **mag, uint32_t size,
                     struct magazine **surplus);
/* Gives a magazine back whatever its rounds and the bound. */
void depot_put(struct depot *depot, struct magazine *mag);
/*
 * The capacity that follows size (0: the one to start with) for a bin that
 * exchanges often; size itself where there is none.  sways: its window runs out
 * on either side by turns, so that a larger magazine serves both.
 */
uint32_t depot_next_size(const struct depot *depot, uint32_t size, bool sways);
/*
 * Working set: what lay unused since the last update becomes reapable; the
 * bound falls; with contention above its threshold the size that bins start
 * with takes a step up.
 */
void depot_update(struct depot *depot);
/* Makes everything in it reapable at once. */
void depot_zero_working_set(struct depot *depot);
/* Detaches up to max reapable magazines, full ones first, as a chain; returns how many. */
size_t depot_take_reapable(struct depot *depot, size_t max, struct magazine **chain);
/*
 * Detaches full magazines but the keep objects that were put there last; idle:
 * only such as lay there since the last call with idle, which may be none.  As a
 * chain; returns the objects in it.
 */
size_t depot_take_oldest(struct depot *depot, size_t keep, bool idle, struct magazine **chain);
/* Detaches everything. */
struct magazine *depot_take_all(struct depot *depot);
bool depot_verify(struct depot *depot);

/* Of a depot's objects.  NULL with errno. */
struct magazine *magazine_create(const struct depot *depot, uint32_t size);
void magazine_destroy(const struct depot *depot, struct magazine *mag);

#endif
