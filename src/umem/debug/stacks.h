/* SPDX-License-Identifier: MIT */
/*
 * stacks.h - the stack depot: every distinct call stack is stored once and
 * named by a 32-bit id, so that a transaction costs 4 bytes for its stack
 * whatever its depth.
 *
 * Insert and look-up are concurrent: look-ups and re-inserts of known stacks
 * take no lock.  Nothing is ever freed; memory is bounded, and when it is
 * used up new stacks get id 0 (counted).  Lock: stacks_lock
 * (UMEM_RANK_STACKS), for growing only.
 */
#ifndef UMEM_STACKS_H
#define UMEM_STACKS_H

#include "base/base.h"

/* One interned stack, 8-aligned in the depot's memory; the id is its offset / 8. */
struct umem_stack {
    uint32_t stack_hash;
    uint32_t stack_next;  /* id of the next in its bucket, 0 at the end */
    uint32_t stack_depth; /* frames */
    uint32_t stack_pad;
    uintptr_t stack_frame[]; /* return addresses, innermost first */
};

/* The id of the stack, interned if new; 0 where depth is 0 or memory is out. */
uint32_t umem_stacks_intern(const uintptr_t *frames, uint32_t depth);
/* The stack of an id, or NULL for 0 and for ids never given. (AS) */
const struct umem_stack *umem_stacks_get(uint32_t id);

/*
 * Where the depot's memory lies, for the analyser: stack id i is at
 * umem_stacks_segment[i >> UMEM_STACKS_SEGMENT_SHIFT] + 8 * (i & (2^SHIFT - 1)).
 * A stack never crosses a segment.
 */
#define UMEM_STACKS_SEGMENT_SHIFT 15 /* 2^15 * 8 bytes: 256 KiB a segment */
#define UMEM_STACKS_SEGMENTS 1024    /* 256 MiB of stacks at most */
extern char *umem_stacks_segment[UMEM_STACKS_SEGMENTS];

/* Statistics: distinct stacks, bytes used, interns refused. */
struct umem_stacks_stats {
    uint64_t stacks_count;
    uint64_t stacks_bytes;
    uint64_t stacks_refused;
};
struct umem_stacks_stats umem_stacks_stats(void);

void umem_stacks_fork_prepare(void);
void umem_stacks_fork_parent(void);
void umem_stacks_fork_child(void);

#endif
