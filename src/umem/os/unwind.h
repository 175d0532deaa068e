/* SPDX-License-Identifier: MIT */
/*
 * unwind.h - return addresses of the calling thread, by a rule cache.
 *
 * For each return address one rule (how to find the CFA, where rbp is saved,
 * whether the stack ends) in a fixed table that is never freed; on a miss the
 * rule is computed from .eh_frame by a small CFA interpreter.  Rule and key are
 * one 64-bit word, so that an entry is read whole and no lock is needed.
 * Allocates nothing, takes no lock, and never reads outside readable memory.
 *
 * The table (1 MiB, of which a program touches little) is mapped by the first
 * call: who captures no stacks does not pay for it.
 */
#ifndef UMEM_UNWIND_H
#define UMEM_UNWIND_H

#include "base/base.h"

/*
 * Writes at most max return addresses, innermost first, leaving out the skip
 * innermost ones (0: the first is the return address of the function that
 * called os_unwind).  Returns how many.  Keeps errno.  Needs 3 KiB of stack where
 * a rule has to be computed.  Async-signal-safe.
 */
uint32_t os_unwind(uintptr_t *frames, uint32_t max, uint32_t skip);

/*
 * A walk that is remembered for the next one of the same thread.  From one
 * allocation to the next a stack changes at its inner end, mostly: there the
 * walk is made anew, until it meets a frame of the last one.  How each frame
 * further out follows from the one before is known then, and it is enough to
 * see that the words of the stack that say so are what they were.
 *
 * Zeroed memory is an empty trail.  It is its user's to see that one walk at a
 * time uses it.
 */
#define OS_TRAIL_MAX 288                 /* frames of one walk, at most */
#define OS_TRAIL_ROOM (2 * OS_TRAIL_MAX) /* for both ends to move */

/*
 * Two words of the stack, and what they are as long as the frame follows from
 * the one before as it did; then the state.
 */
struct os_trail_frame {
    /* Not beside frame_bp: the compiler would load both at once, just after they were stored. */
    uintptr_t frame_sp; /* the caller's */
    uintptr_t frame_pc_at;
    uintptr_t frame_pc; /* as in trail_pc */
    uintptr_t frame_bp_at;
    uintptr_t frame_bp_seen;
    uintptr_t frame_bp;
};

struct os_trail {
    uintptr_t trail_top;    /* end of the stack that it is of */
    uint32_t trail_forgets; /* unwind_forgets when it was made */
    uint32_t trail_walks;
    uint32_t trail_lo; /* frames [lo, hi), innermost first */
    uint32_t trail_hi;
    bool trail_ended; /* nothing is further out than the last of them, as its pc says */
    uintptr_t trail_pc[OS_TRAIL_ROOM];
    /* The user's, for the stack from this frame outwards; 0 when that is not what it was. */
    uint64_t trail_note[OS_TRAIL_ROOM];
    struct os_trail_frame trail_frame[OS_TRAIL_ROOM];
    /* Frames of a walk that has not met the last one yet. */
    uintptr_t trail_new_pc[OS_TRAIL_MAX];
    struct os_trail_frame trail_new[OS_TRAIL_MAX];
};

/*
 * As os_unwind(), by a trail: the frames are at trail_pc + trail_lo.  max is at
 * most OS_TRAIL_MAX.  frame: __builtin_frame_address(0) of a function that has
 * not returned, whose return address is the first; NULL: the call of this one is.  0: not here
 * (another stack than the thread's own, code that needs the slow walker, a platform without rules):
 * use os_unwind().
 */
uint32_t os_unwind_trail(struct os_trail *trail, uint32_t max, const void *frame);

/*
 * Something may have been unloaded by this thread: forgets the rules of objects
 * that are not there any more.  Keeps errno.
 */
void os_unwind_unloaded(void);

/* Whether signal frames are known here: a chain of frame pointers does not tell them. */
#if defined(__x86_64__)
#define OS_UNWIND_KNOWS_SIGNALS true
#else
#define OS_UNWIND_KNOWS_SIGNALS false
#endif
/*
 * Whether a return address of os_unwind() is the way back from a signal: the
 * frames before it are those of a signal handler.  Keeps errno.  (AS)
 */
bool os_unwind_is_signal(uintptr_t pc);

#endif
