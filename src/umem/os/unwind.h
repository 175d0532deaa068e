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
