/* SPDX-License-Identifier: MIT */
/*
 * audit.c - records transactions: who, when, from where.
 *
 * Everything here is as cheap as it goes, for it runs on every allocation and
 * every free: the thread's id and the library's bounds are cached, the clock
 * needs no system call, the stack is interned without a lock once it is known.
 */
#include "debug/audit.h"

#include <string.h>

#include "debug/debug.h"
#include "debug/log.h"
#include "debug/stacks.h"
#include "os/os.h"
#include "os/symbolise.h"
#include "os/unwind.h"

/* Bounds of our own text; own_end is 1 where there are none, 0 before anybody asked. */
static _Atomic uintptr_t own_start;
static _Atomic uintptr_t own_end;

static UMEM_COLD void
find_own_text(void)
{
    uintptr_t start, end;

    if (!os_own_text(&start, &end)) {
        start = 0;
        end = 1;
    }
    /* Whoever comes here finds the same. */
    atomic_store_explicit(&own_start, start, memory_order_relaxed);
    atomic_store_explicit(&own_end, end, memory_order_release);
}

uint32_t
umem_audit_stack(uintptr_t *frames, uint32_t max)
{
    if (UMEM_UNLIKELY(atomic_load_explicit(&own_end, memory_order_acquire) == 0))
        find_own_text();
    uintptr_t start = atomic_load_explicit(&own_start, memory_order_relaxed);
    uintptr_t size = atomic_load_explicit(&own_end, memory_order_relaxed) - start;
    uint32_t depth = os_unwind(frames, max + UMEM_OWN_FRAMES_MAX, 0);
    uint32_t own = 0;

    while (own < depth && frames[own] - start < size)
        own++;
    depth = (uint32_t)umem_min(depth - own, max);
    if (own > 0)
        memmove(frames, frames + own, depth * sizeof(frames[0]));
    return depth;
}

UMEM_COLD void
umem_debug_signal_slow(void)
{
    uintptr_t frames[UMEM_AUDIT_FRAMES_MAX + UMEM_OWN_FRAMES_MAX];
    uint32_t depth = umem_audit_stack(frames, UMEM_AUDIT_FRAMES_MAX);

    for (uint32_t i = 0; i < depth; i++)
        if (os_unwind_is_signal(frames[i])) {
            umem_report(&(struct umem_error_info){.err_kind = UMERR_SIGNAL});
            return;
        }
}

void
umem_audit(struct umem_bufctl *bc)
{
    uintptr_t frames[UMEM_AUDIT_FRAMES_MAX + UMEM_OWN_FRAMES_MAX];
    uint32_t max = __atomic_load_n(&umem_options.opt_audit_frames, __ATOMIC_RELAXED);
    uint32_t depth = max > 0 ? umem_audit_stack(frames, max) : 0;

    bc->bc_prev = bc->bc_last;
    bc->bc_last.txn_stack = umem_stacks_intern(frames, depth);
    bc->bc_last.txn_thread = umem_thread_self();
    bc->bc_last.txn_time = os_clock_ns();
}
