/* SPDX-License-Identifier: MIT */
/*
 * stackalloc.h - memory for thread and fiber stacks: guarded on both sides,
 * faulted in before first use, cached constructed.
 *
 * A stack lies between two inaccessible guards: running off either end raises
 * SIGSEGV.  All of its pages are in memory before it is handed out, locked
 * where mlockall(MCL_FUTURE) is in force.  A freed stack stays as it is and
 * serves the next request of its size without a system call or a page fault.
 * The library never writes into a stack: a fresh one reads as zeroes, a reused
 * one holds what its last user left there.
 *
 * Every function may be called from any thread (MT-safe); none from a signal
 * handler.  Link with libstackalloc.
 */
#ifndef STACKALLOC_H
#define STACKALLOC_H

#include <stddef.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Solaris has it in <sys/types.h>. */
#ifndef __sun
typedef unsigned int uint_t;
#endif

/*
 * Returns the lowest address, page-aligned, of a stack of size bytes: 32, 64,
 * 128, 256 or 512 KiB, 1 or 2 MiB, as fetch_stack_sizes() tells.  NULL with
 * errno: EINVAL for any other size; ENOMEM for want of memory, address space
 * or mappings; EAGAIN where RLIMIT_MEMLOCK does not allow another locked one.
 */
void *stack_alloc(size_t size);

/*
 * Takes back a stack that nothing runs on any more.  Returns 0, or -1 with
 * EINVAL, and does nothing, where address is no stack that stack_alloc(size)
 * returned and that is in use: a wild or inner pointer, another size, a second
 * free (exactly one of two racing frees succeeds).
 */
int stack_free(void *address, size_t size);

/*
 * Returns the supported sizes in bytes, rising, a zero at the end, in memory
 * that the caller may free().  NULL with ENOMEM.
 */
uint_t *fetch_stack_sizes(void);

#ifdef __cplusplus
}
#endif
#endif
