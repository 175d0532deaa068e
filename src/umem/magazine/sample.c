/* SPDX-License-Identifier: MIT */
/*
 * sample.c - draws about one allocation in N, whatever its size, at the cost of
 * a few more visits.
 *
 * Each thread counts down from a number drawn evenly from 1 to 2N - 1.  A visit
 * takes off what its bin has allocated since the last one, and grants no more
 * credit than is left; so the allocation that comes when nothing is left makes
 * a visit too, and is the one.  Which bin that is follows from how much each
 * allocates.  The fast paths know nothing of it.
 *
 * Threads that have no cache of their own, past their destructors or for want of
 * memory, take every Nth of what they allocate together.
 *
 * Lock: tc_lock of the thread cache.
 */
#include "magazine/tcache.h"
#include "os/os.h"

uint32_t tcache_sample_every;

/*
 * Draws the next number.  What bins had allocated beyond the last one, each on
 * the credit that it was granted when others had not counted theirs yet, is part
 * of it: so one in N it is in sum.
 */
static void
draw(struct tcache *tc)
{
    uint64_t x = tc->tc_random;

    /* xorshift64 (Marsaglia, 2003): period 2^64 - 1, never 0. */
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    tc->tc_random = x;
    /* The high bits of a product pick one of 2N - 1 evenly, without a division. */
    tc->tc_sample += (int64_t)(((x >> 32) * (2 * (uint64_t)tcache_sample_every - 1)) >> 32) + 1;
}

void
tcache_sample_init(struct tcache *tc)
{
    tc->tc_random = umem_hash64(os_clock_ns() ^ (uint64_t)tc->tc_thread << 32) | 1;
    tc->tc_sample = -1; /* as after a draw, so that the first of all may be the one */
    draw(tc);
}

uint64_t
tcache_sample_credit(struct tcache *tc, uint32_t allocs, uint64_t credit)
{
    tc->tc_sample -= allocs;
    return tc->tc_sample > 0 ? umem_min64(credit, (uint64_t)tc->tc_sample) : 0;
}

bool
tcache_sample_take(struct tcache *tc)
{
    bool due = --tc->tc_sample < 0;

    if (due)
        draw(tc);
    return due;
}

bool
tcache_sample_other(struct tcache *tc)
{
    static _Atomic uint32_t cacheless;

    if (UMEM_UNLIKELY(tc == NULL))
        return atomic_fetch_add_explicit(&cacheless, 1, memory_order_relaxed) %
                   tcache_sample_every ==
               tcache_sample_every - 1;
    umem_lock_acquire(&tc->tc_lock);
    bool due = tcache_sample_take(tc);
    umem_lock_release(&tc->tc_lock);
    return due;
}
