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
 * Walks that are remembered for the next ones of the same thread (unwind_trail.c
 * says how).  A stack that was met before is known by where it begins: it is
 * enough to see that the words of it that lead outwards are what they were.
 *
 * Zeroed memory is an empty trail.  It is its user's to see that one walk at a
 * time uses it.
 */
#define OS_TRAIL_MAX 288 /* frames of one walk, at most */
/*
 * Room for so many nodes at first, and at last: a compiler (cc1 -O2) comes by
 * 20,000.  68 bytes each: 68 KiB, and 2.2 MiB.  It grows with what comes, since
 * under mlockall(MCL_FUTURE) all of it is memory at once.
 */
#define OS_TRAIL_SHIFT_MIN 10
#define OS_TRAIL_SHIFT_MAX 15
/*
 * Stacks that begin at the same place, of which one is met again at once.  With 2 a
 * compiler walks on from a node twice as often.
 */
#define OS_TRAIL_WAYS 4

/* A stack from one frame outwards.  Places are bytes from the end of the thread's stack. */
struct os_trail_node {
    uintptr_t node_pc;   /* return address */
    int32_t node_sp;     /* the caller's */
    int32_t node_bp;     /* rbp, where the way outwards needs it; else 0 */
    uint16_t node_slot;  /* words from the next frame's sp down to its rbp; 0: it stays the same */
    uint16_t node_row;   /* the stack's words in one row, trail_word[]; 0: not yet */
    uint32_t node_outer; /* the node of the next frame, or one of those that are none */
    uint32_t node_next;  /* in its bucket */
    uint32_t node_note;  /* the user's; 0 at first */
};

/* What the stack holds somewhere; in front of a row, how many they are. */
struct os_trail_word {
    uintptr_t word_is;
    int32_t word_at; /* its place */
};

/* Bytes of room for so many nodes, for finding them, and for as many words in rows. */
#define OS_TRAIL_ROOM(shift)                                                                       \
    ((sizeof(struct os_trail_node) + sizeof(struct os_trail_word) +                                \
      (1 + OS_TRAIL_WAYS) * sizeof(uint32_t))                                                      \
     << (shift))

/* A frame of a walk that has no node yet, or may need another one. */
struct os_trail_frame {
    uintptr_t frame_pc, frame_sp, frame_bp;
    uint32_t frame_node; /* the node that it had; 0: none */
    uint16_t frame_slot; /* as node_slot */
    bool frame_uses_bp;  /* the step outwards was by rbp */
};

struct os_trail {
    uintptr_t trail_top;    /* end of the stack that it is of */
    uint32_t trail_forgets; /* unwind_forgets when it was made */
    uint32_t trail_walks;
    uint32_t trail_max;   /* frames that were asked for */
    uint32_t trail_count; /* nodes, those that are none among them */
    uint32_t trail_shift; /* room for so many; 0: there is none yet */
    uint32_t trail_words; /* in rows */
    struct os_trail_node *trail_node;
    struct os_trail_word *trail_word;      /* behind them */
    uint32_t *trail_bucket;                /* behind: nodes by frame and outer node */
    uint32_t (*trail_last)[OS_TRAIL_WAYS]; /* behind: the last nodes met, by frame */
    struct os_trail_frame trail_frame[OS_TRAIL_MAX];
};

/*
 * As os_unwind(), by a trail: the node of the stack.  max is 1 to
 * OS_TRAIL_MAX.  frame: __builtin_frame_address(0) of a function that has not
 * returned, whose return address is the first; NULL: the call of this one is.
 * 0: not here (another stack than the thread's own, code that needs the slow
 * walker, no memory, a platform without rules): use os_unwind().  Keeps errno.
 *
 * A node is good until the next walk.  What is noted at it is there as long as
 * the trail comes by the same frames again, and asks for as many.
 */
uint32_t os_unwind_trail(struct os_trail *trail, uint32_t max, const void *frame);
/* The return addresses of a node's stack, innermost first; returns how many, trail_max at most. */
uint32_t os_trail_frames(const struct os_trail *trail, uint32_t node, uintptr_t *frames);

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
