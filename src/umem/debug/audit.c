/* SPDX-License-Identifier: MIT */
/*
 * audit.c - records transactions: who, when, from where.
 *
 * Everything here is as cheap as it goes, for it runs on every allocation and
 * every free: the thread's id and the library's bounds are cached, the clock
 * needs no system call, the stack is interned without a lock once it is known.
 *
 * A thread's walks are remembered for its next ones (os_unwind_trail()), and at
 * the node of each stack its id in the stack depot: a stack that was met before
 * is neither walked by rules, nor hashed, nor looked up.
 *
 * A trail is some 77 KiB at first and up to 2.2 MiB where a thread comes by many
 * stacks; threads share a few: by their ids, mostly one has one for itself.
 * Who finds it in use (by another thread, or by this one, which a signal
 * interrupted in a walk) walks without.
 */
#include "debug/audit.h"

#include <errno.h>
#include <string.h>

#include "debug/debug.h"
#include "debug/log.h"
#include "debug/stacks.h"
#include "os/lock.h"
#include "os/meta.h"
#include "os/os.h"
#include "os/symbolise.h"
#include "os/unwind.h"

/* Bounds of our own text; own_end is 1 where there are none, 0 before anybody asked. */
static _Atomic uintptr_t own_start;
static _Atomic uintptr_t own_end;

/* More than the threads that allocate at a time, mostly; some 8 KiB of each are touched. */
#define SLOTS 128
struct slot {
    _Alignas(UMEM_CACHE_LINE) _Atomic uint32_t slot_busy;
    struct os_trail *slot_trail;
};

static struct slot slots[SLOTS];

static inline void
trail_leave(struct slot *slot)
{
    atomic_store_explicit(&slot->slot_busy, 0, memory_order_release);
}

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

/* How many of the innermost frames are in our own text. */
static inline uint32_t
own_frames(const uintptr_t *frames, uint32_t depth)
{
    if (UMEM_UNLIKELY(atomic_load_explicit(&own_end, memory_order_acquire) == 0))
        find_own_text();
    uintptr_t start = atomic_load_explicit(&own_start, memory_order_relaxed);
    uintptr_t size = atomic_load_explicit(&own_end, memory_order_relaxed) - start;
    uint32_t own = 0;

    while (own < depth && frames[own] - start < size)
        own++;
    return own;
}

uint32_t
umem_audit_stack(uintptr_t *frames, uint32_t max)
{
    uint32_t depth = os_unwind(frames, max + UMEM_OWN_FRAMES_MAX, 0);
    uint32_t own = own_frames(frames, depth);

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

static struct slot *
slot_of(uint32_t thread)
{
    return &slots[thread % SLOTS];
}

static UMEM_COLD struct os_trail *
trail_make(struct slot *slot)
{
    int error = errno;

    slot->slot_trail = umem_meta_alloc(sizeof(*slot->slot_trail));
    if (slot->slot_trail == NULL)
        trail_leave(slot);
    errno = error;
    return slot->slot_trail;
}

/* A thread's trail, for it alone until trail_leave(); NULL: in use, or no memory. */
static inline struct os_trail *
trail_enter(struct slot *slot)
{
    if (os_thread_is_alone()) {
        if (atomic_load_explicit(&slot->slot_busy, memory_order_relaxed) != 0)
            return NULL;
        atomic_store_explicit(&slot->slot_busy, 1, memory_order_relaxed);
        atomic_signal_fence(memory_order_acquire);
    } else if (atomic_exchange_explicit(&slot->slot_busy, 1, memory_order_acquire) != 0) {
        return NULL;
    }
    return UMEM_LIKELY(slot->slot_trail != NULL) ? slot->slot_trail : trail_make(slot);
}

/* umem_stacks_intern(), keeping errno, which waiting for a lock may change. */
static uint32_t
intern(const uintptr_t *frames, uint32_t depth)
{
    int error = errno;
    uint32_t stack = umem_stacks_intern(frames, depth);

    errno = error;
    return stack;
}

/* The id of a node's stack; 0: it has no frames but our own, or there is no memory. */
static UMEM_NOINLINE uint32_t
intern_node(const struct os_trail *trail, uint32_t node, uint32_t max)
{
    uintptr_t frames[UMEM_AUDIT_FRAMES_MAX + UMEM_OWN_FRAMES_MAX];
    uint32_t depth = os_trail_frames(trail, node, frames);
    uint32_t own = own_frames(frames, depth);

    return intern(frames + own, (uint32_t)umem_min(depth - own, max));
}

/* The id of the calling thread's stack as its trail has it; 0: it has not. */
static inline uint32_t
trail_stack(struct os_trail *trail, uint32_t max, const void *frame)
{
    uint32_t n = os_unwind_trail(trail, max + UMEM_OWN_FRAMES_MAX, frame);

    if (UMEM_UNLIKELY(n == 0))
        return 0;
    uint32_t *stack = &trail->trail_node[n].node_note;
    if (UMEM_UNLIKELY(*stack == 0))
        *stack = intern_node(trail, n, max);
    return *stack;
}

static UMEM_NOINLINE uint32_t
walk_stack(uint32_t max)
{
    uintptr_t frames[UMEM_AUDIT_FRAMES_MAX + UMEM_OWN_FRAMES_MAX];

    return intern(frames, umem_audit_stack(frames, max));
}

struct umem_transaction
umem_audit(const void *frame)
{
    uint64_t time = os_clock_coarse_ns();
    uint32_t max = __atomic_load_n(&umem_options.opt_audit_frames, __ATOMIC_RELAXED);
    uint32_t thread = umem_thread_self();
    uint32_t stack = 0;

    if (UMEM_LIKELY(max > 0)) {
        struct slot *slot = slot_of(thread);
        struct os_trail *trail = trail_enter(slot);
        if (UMEM_LIKELY(trail != NULL)) {
            stack = trail_stack(trail, max, frame);
            trail_leave(slot);
        }
        if (UMEM_UNLIKELY(stack == 0))
            stack = walk_stack(max);
    }
    return (struct umem_transaction){.txn_stack = stack,
                                     .txn_when = umem_transaction_when(thread, time)};
}

void
umem_trails_fork_child(void)
{
    for (size_t i = 0; i < SLOTS; i++)
        if (atomic_load_explicit(&slots[i].slot_busy, memory_order_relaxed) != 0) {
            /* Another thread of the parent was in the middle of it: whole or not, who knows. */
            slots[i].slot_trail = NULL;
            trail_leave(&slots[i]);
        }
}
