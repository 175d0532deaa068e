/* SPDX-License-Identifier: MIT */
/*
 * audit.c - records transactions: who, when, from where.
 *
 * Everything here is as cheap as it goes, for it runs on every allocation and
 * every free: the thread's id and the library's bounds are cached, the clock
 * needs no system call, the stack is interned without a lock once it is known.
 *
 * A thread's walk is remembered for its next one (os_unwind_trail()), and with
 * each frame the path from there outwards (paths.h) and its id in the stack
 * depot.  So a stack that differs from the last one in its inner frames is
 * known by those: the others are neither hashed nor looked up.  Where a stack
 * is deeper than what is kept of it, its end moves with each call, and the
 * frames are looked up in the depot.
 *
 * A trail is some 60 KiB, its paths 28 KiB at first and up to 0.9 MiB where a
 * thread comes by that many; threads share a few: by their ids, mostly one has one for itself.
 * Who finds it in use (by another thread, or by this one, which a signal
 * interrupted in a walk) walks without.
 */
#include "debug/audit.h"

#include <string.h>

#include "debug/debug.h"
#include "debug/log.h"
#include "debug/paths.h"
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
    uint32_t slot_max; /* frames of the stacks whose ids are in the trail */
    struct recall *slot_recall;
};
/* What is recalled of a thread's stacks. */
struct recall {
    struct os_trail recall_trail;
    struct umem_paths recall_paths;
};

/* A note in the trail: the path from its frame outwards, and the stack's id; 0 is not known. */
#define NOTE_PATH_SHIFT 32

static inline uint64_t
note_make(uint32_t path, uint32_t stack)
{
    return (uint64_t)path << NOTE_PATH_SHIFT | stack;
}

static inline uint32_t
note_path(uint64_t note)
{
    return (uint32_t)(note >> NOTE_PATH_SHIFT);
}

static inline uint32_t
note_stack(uint64_t note)
{
    return (uint32_t)note;
}

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

static UMEM_COLD struct recall *
make_recall(void)
{
    struct recall *recall = umem_meta_alloc(sizeof(*recall));

    if (recall == NULL || umem_paths_init(&recall->recall_paths))
        return recall;
    umem_meta_free(recall, sizeof(*recall));
    return NULL;
}

static void
forget(struct recall *recall)
{
    memset(recall->recall_trail.trail_note, 0, sizeof(recall->recall_trail.trail_note));
    umem_paths_forget(&recall->recall_paths);
}

/* What a thread recalls, for it alone until trail_leave(); NULL: in use, or no memory. */
static struct recall *
trail_enter(struct slot *slot, uint32_t max)
{
    if (os_thread_is_alone()) {
        if (atomic_load_explicit(&slot->slot_busy, memory_order_relaxed) != 0)
            return NULL;
        atomic_store_explicit(&slot->slot_busy, 1, memory_order_relaxed);
        atomic_signal_fence(memory_order_acquire);
    } else if (atomic_exchange_explicit(&slot->slot_busy, 1, memory_order_acquire) != 0) {
        return NULL;
    }
    if (UMEM_UNLIKELY(slot->slot_recall == NULL))
        slot->slot_recall = make_recall();
    struct recall *recall = slot->slot_recall;
    if (UMEM_UNLIKELY(slot->slot_max != max) && recall != NULL) {
        forget(recall);
        slot->slot_max = max;
    }
    if (UMEM_UNLIKELY(recall == NULL))
        trail_leave(slot);
    return recall;
}

/*
 * The path of a stack that is there as a whole, frames [at, end) of the trail:
 * from the first frame outwards that has one, each is a step.  0: all paths had
 * to be forgotten.
 */
static inline uint32_t
path_of(struct recall *recall, uint32_t at, uint32_t end)
{
    struct os_trail *trail = &recall->recall_trail;
    uint32_t i = at;
    uint32_t path = 0;

    for (; i < end && path == 0; i++)
        path = note_path(trail->trail_note[i]);
    i -= path != 0;
    while (i-- > at) {
        path = umem_paths_find(&recall->recall_paths, path, trail->trail_pc[i]);
        if (UMEM_UNLIKELY(path == 0)) {
            forget(recall);
            return 0;
        }
        trail->trail_note[i] = note_make(path, note_stack(trail->trail_note[i]));
    }
    return path;
}

/* The id of the calling thread's stack as its trail has it; 0: it has not. */
static inline uint32_t
trail_stack(struct recall *recall, uint32_t max, const void *frame)
{
    struct os_trail *trail = &recall->recall_trail;
    uint32_t depth = os_unwind_trail(trail, max + UMEM_OWN_FRAMES_MAX, frame);
    uint32_t own = own_frames(trail->trail_pc + trail->trail_lo, depth);
    uint32_t at = trail->trail_lo + own;
    uint32_t path = 0;

    if (own == depth)
        return 0;
    uint32_t stack = note_stack(trail->trail_note[at]);
    if (stack != 0)
        return stack;
    if (depth < max + UMEM_OWN_FRAMES_MAX)
        path = path_of(recall, at, trail->trail_lo + depth);
    uint32_t *of_path = &recall->recall_paths.paths_path[path].path_stack;
    stack = path != 0 ? *of_path : 0;
    if (stack == 0) {
        stack = umem_stacks_intern(trail->trail_pc + at, (uint32_t)umem_min(depth - own, max));
        if (path != 0)
            *of_path = stack;
    }
    trail->trail_note[at] = note_make(path, stack);
    return stack;
}

static UMEM_NOINLINE uint32_t
walk_stack(uint32_t max)
{
    uintptr_t frames[UMEM_AUDIT_FRAMES_MAX + UMEM_OWN_FRAMES_MAX];

    return umem_stacks_intern(frames, umem_audit_stack(frames, max));
}

struct umem_transaction
umem_audit(const void *frame)
{
    uint32_t max = __atomic_load_n(&umem_options.opt_audit_frames, __ATOMIC_RELAXED);
    uint32_t thread = umem_thread_self();
    uint32_t stack = 0;

    if (max > 0) {
        struct slot *slot = slot_of(thread);
        struct recall *recall = trail_enter(slot, max);
        if (UMEM_LIKELY(recall != NULL)) {
            stack = trail_stack(recall, max, frame);
            trail_leave(slot);
        }
        if (UMEM_UNLIKELY(stack == 0))
            stack = walk_stack(max);
    }
    return (struct umem_transaction){
        .txn_stack = stack, .txn_thread = thread, .txn_time = os_clock_coarse_ns()};
}

void
umem_trails_fork_child(void)
{
    for (size_t i = 0; i < SLOTS; i++)
        if (atomic_load_explicit(&slots[i].slot_busy, memory_order_relaxed) != 0) {
            /* Another thread of the parent was in the middle of it: whole or not, who knows. */
            slots[i].slot_recall = NULL;
            trail_leave(&slots[i]);
        }
}
