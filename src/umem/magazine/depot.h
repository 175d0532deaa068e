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

#define MAGAZINE_ROUNDS_MAX 254 /* 2 KiB: exchanges then cost under 0.2 ns a round */

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
    size_t list_reap;  /* magazines that an update found unused for a whole interval */
};

struct depot {
    struct umem_lock depot_lock;
    uint32_t depot_mag_size;     /* capacity of new magazines; grows with contention */
    uint32_t depot_mag_size_max; /* bound of it, from the object's size */
    uint32_t depot_contention;   /* failed trylocks since the last update */
    struct magazine_list depot_full;
    struct magazine_list depot_empty;
    size_t depot_rounds;           /* objects in the full list */
    uint64_t depot_retired_allocs; /* of bins that are gone: see tbin.bin_allocs */
    uint32_t depot_created;        /* magazines made at the current size */
};

/* object_size decides how many rounds a magazine may have. */
void depot_init(struct depot *depot, size_t object_size);
/*
 * Exchanges *mag, an empty magazine or NULL, for one with rounds.  False:
 * there is none, and *mag is as it was.  *mag changes under the lock, so that
 * a fork finds every magazine in one place.
 */
bool depot_get_full(struct depot *depot, struct magazine **mag);
/*
 * Exchanges *mag, a full magazine or NULL, for an empty one of any size from
 * the list, or a new one of the current size.  False with errno: no memory.
 */
bool depot_get_empty(struct depot *depot, struct magazine **mag);
/* Gives a magazine back whatever its rounds. */
void depot_put(struct depot *depot, struct magazine *mag);
/*
 * Working set: what lay unused since the last update becomes reapable; with
 * contention above its threshold the magazine size takes a step up.
 */
void depot_update(struct depot *depot);
/* Adds to depot_retired_allocs. */
void depot_retire(struct depot *depot, uint64_t allocs);
/* Makes everything in it reapable at once. */
void depot_zero_working_set(struct depot *depot);
/* Detaches up to max reapable magazines, full ones first, as a chain. */
struct magazine *depot_take_reapable(struct depot *depot, size_t max);
/* Detaches everything. */
struct magazine *depot_take_all(struct depot *depot);
bool depot_verify(struct depot *depot);

struct magazine *magazine_create(uint32_t size);
void magazine_destroy(struct magazine *mag);

#endif
