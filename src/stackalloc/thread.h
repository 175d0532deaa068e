/* SPDX-License-Identifier: MIT */
/*
 * thread.h - threads on stacks of the library, and when they are over.
 *
 * thread.c keeps a record of each thread that stack_pthread_create() made.
 * join.c, in libstackalloc and again in the preload, stands before libc's
 * pthread_join() and its kin and tells thread.c what became of a thread.  The
 * two functions below are exported for the preload alone.
 */
#ifndef STACKALLOC_THREAD_H
#define STACKALLOC_THREAD_H

#include <pthread.h>

enum thread_outcome { THREAD_NOTHING, THREAD_JOINED, THREAD_DETACHED };

/*
 * Before a call that may end or detach a thread.  NULL where the thread is
 * none of ours, or where another wrapper round this very call holds it: of
 * wrappers that are nested, one counts.
 */
void *stack_thread_hold(pthread_t id);
/* After the call; held may be NULL. */
void stack_thread_settle(void *held, enum thread_outcome outcome);

#endif
