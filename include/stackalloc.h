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
 * Every function may be called from any thread (MT-safe), and from a signal
 * handler only where it says so.  Link with libstackalloc.
 */
#ifndef STACKALLOC_H
#define STACKALLOC_H

#include <stddef.h>
#include <stdint.h>
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

/* Of a name, its terminating zero included. */
#define STACK_NAME_MAX 24

enum stack_info_state {
    STACK_IS_CACHED = 1, /* freed: the next stack_alloc() of its size may return it */
    STACK_IS_USED = 2
};

enum stack_info_place {
    STACK_IN_BODY = 0,
    STACK_IN_LOW_GUARD = 1, /* where a stack overflows */
    STACK_IN_HIGH_GUARD = 2
};

struct stack_info {
    void *info_base; /* what stack_alloc() returned */
    size_t info_size;
    size_t info_guard_low; /* bytes of the guards */
    size_t info_guard_high;
    enum stack_info_state info_state;
    enum stack_info_place info_place; /* of the address that was asked for */
    size_t info_beyond;             /* bytes past the end: 1 for the guard's first; 0 in the body */
    pid_t info_thread;              /* the thread that runs on it, 0 where that is not known */
    void *info_start;               /* an address in that thread's start function, or NULL */
    char info_name[STACK_NAME_MAX]; /* from stack_name(), or empty */
    uintptr_t info_reserved[4];     /* 0 */
};

/*
 * Tells what stack an address lies in: anywhere in it, or in its guards.
 * Returns 0, or -1 with EINVAL where it is in none.  Takes no lock and makes
 * no system call.  Async-signal-safe.
 */
int stack_info(const void *address, struct stack_info *info);

/*
 * Names the stack in use that address lies in, until it is freed; what is
 * longer than STACK_NAME_MAX - 1 bytes is cut, NULL or "" takes the name away.
 * Returns 0, or -1 with EINVAL.  Async-signal-safe.
 */
int stack_name(const void *address, const char *name);

/*
 * Calls fn for every stack, in use and cached, by rising address, until it
 * returns other than 0; returns that, or 0.  No lock is held: fn may do what it
 * likes, and other threads go on.  A stack there all the while is seen once, in a state that
 * it had; one that comes or goes meanwhile may be seen or not.
 * Async-signal-safe, where fn is.
 */
typedef int stack_foreach_fn(const struct stack_info *info, void *arg);
int stack_foreach(stack_foreach_fn *fn, void *arg);

#ifdef __cplusplus
}
#endif
#endif
