/* SPDX-License-Identifier: MIT */
/*
 * fault.c - fault injection: makes about one allocation in umem_mtbf fail
 * (umem_setmtbf() and the option mtbf= set it), or exactly one (fail=).
 *
 * For the former a cheap generator a thread, so that injection neither shares
 * a cache line nor repeats one thread's pattern in another.  For the latter one
 * count of the whole process, since that is what a test repeats.
 */
#include "debug/debug.h"
#include "debug/log.h"
#include "os/os.h"

_Atomic uint32_t umem_mtbf;

static UMEM_TLS uint32_t fault_random;
static _Atomic uint64_t fault_count; /* allocations so far, under opt_fail */

static bool
is_chosen(uint32_t chosen)
{
    if (atomic_fetch_add_explicit(&fault_count, 1, memory_order_relaxed) + 1 != chosen)
        return false;
    umem_message(false, "fail=%u: this allocation fails", chosen);
    return true;
}

uint64_t
umem_fault_count(void)
{
    return atomic_load_explicit(&fault_count, memory_order_relaxed);
}

bool
umem_fault_inject_slow(uint32_t mtbf)
{
    if (umem_options.opt_fail != 0 && is_chosen(umem_options.opt_fail))
        return true;
    if (mtbf <= 1)
        return mtbf == 1;
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
