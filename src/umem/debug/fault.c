/* SPDX-License-Identifier: MIT */
/*
 * fault.c - fault injection: makes about one allocation in umem_mtbf fail
 * (umem_setmtbf() and the option mtbf= set it).
 *
 * A cheap generator a thread, so that injection neither shares a cache line
 * nor repeats one thread's pattern in another.
 */
#include "debug/debug.h"
#include "debug/log.h"
#include "os/os.h"

_Atomic uint32_t umem_mtbf;

static UMEM_TLS uint32_t fault_random;

bool
umem_fault_inject_slow(uint32_t mtbf)
{
    if (mtbf == 1)
        return true;
    uint32_t x = fault_random;
    if (x == 0)
        x = (uint32_t)umem_hash64(os_clock_ns() ^ (uint64_t)umem_thread_self() << 32) | 1;
    /* xorshift32 (Marsaglia, 2003): period 2^32 - 1, never 0. */
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    fault_random = x;
    /* The high bits of a product pick one of mtbf evenly, without a division. */
    return ((uint64_t)x * mtbf) >> 32 == 0;
}
