/* SPDX-License-Identifier: MIT */
/*
 * audit.h - the calling thread's stack as transactions and reports keep it:
 * from the program's call into this library outwards.
 */
#ifndef UMEM_AUDIT_H
#define UMEM_AUDIT_H

#include "base/base.h"

/* The engine's own calls between the program and umem_audit(): with room. */
#define UMEM_OWN_FRAMES_MAX 12

/*
 * Writes at most max frames into frames, which has room for max +
 * UMEM_OWN_FRAMES_MAX; returns how many.  The innermost frames that lie in
 * this library's text are left out; ones further out (a constructor that
 * allocates) are kept, since without them the stack would not make sense. (AS)
 */
uint32_t umem_audit_stack(uintptr_t *frames, uint32_t max);
/* In the child of a fork: trails that another thread was busy with are free, and empty. */
void umem_trails_fork_child(void);

#endif
