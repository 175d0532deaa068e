/* SPDX-License-Identifier: MIT */
/*
 * support.h - bins over depots of their own, whose objects are never touched,
 * for the tests of the magazine layer.
 */
#ifndef TESTS_MAGAZINE_SUPPORT_H
#define TESTS_MAGAZINE_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "magazine/tcache.h"

enum { OBJECTS = 100000, OBJECT_SIZE = 64 };

/* Only their addresses count. */
static __attribute__((unused)) int objects[OBJECTS];

/* Milliseconds, as the slow paths are told them: a test lets them pass. */
static _Atomic uint32_t now_ms = 1000;

static inline void
drop(struct depot *depot)
{
    for (struct magazine *mag = depot_take_all(depot), *next; mag != NULL; mag = next) {
        next = mag->mag_next;
        magazine_destroy(depot, mag);
    }
}

/* The caller ends the bin. */
static inline unsigned
new_bin_of(struct depot *depot, size_t object_size, bool bounded)
{
    *depot = (struct depot){.depot_rounds = 0};
    depot_init(depot, object_size, bounded);
    unsigned bin = tcache_bin_create(0, depot);
    assert_true(bin >= TCACHE_STATIC_BINS);
    return bin;
}

static inline unsigned
new_bin(struct depot *depot)
{
    return new_bin_of(depot, OBJECT_SIZE, false);
}

static inline void
end(unsigned bin, struct depot *depot)
{
    tcache_bin_destroy(bin);
    assert_true(depot_verify(depot));
    drop(depot);
}

static inline struct tbin *
bin_of(unsigned bin)
{
    return &tcache_get(bin)->tc_bin[bin];
}

/* By the window or, where that fails, past it.  False: the bin would not have it. */
static inline bool
try_put(unsigned bin, void *obj, struct magazine **surplus)
{
    struct tcache *tc = tcache_get(bin);

    *surplus = NULL;
    return tcache_push(&tc->tc_bin[bin], obj) || tcache_put(tc, bin, obj, now_ms, surplus);
}

static inline void
put(unsigned bin, void *obj)
{
    struct magazine *surplus;

    if (!try_put(bin, obj, &surplus) || surplus != NULL)
        abort();
}

/* NULL where neither window nor depot has any. */
static inline void *
get(unsigned bin)
{
    struct tcache *tc = tcache_get(bin);
    void *obj;

    return tcache_pop(&tc->tc_bin[bin], &obj) ? obj : tcache_take(tc, bin, now_ms);
}

/* Allocations that were made of a bin by threads that make none now. */
static inline uint64_t
allocations(const struct depot *depot, unsigned bin)
{
    uint64_t allocs = depot->depot_retired_allocs;

    UMEM_LIST_FOR (node, &umem_tcaches) {
        const struct tcache *tc = UMEM_CONTAINER_OF(node, struct tcache, tc_link);
        if (bin < tc->tc_bins)
            allocs += tc->tc_bin[bin].bin_granted - (uint32_t)tc->tc_bin[bin].bin_credit;
    }
    return allocs;
}

/* Nothing that the owner read before can make this window look open. */
static inline bool
is_closed_for_good(const struct tbin *b)
{
    return b->bin_base == TCACHE_BASE_CLOSED && b->bin_limit == TCACHE_LIMIT_CLOSED;
}

#endif
