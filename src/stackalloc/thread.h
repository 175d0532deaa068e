/* SPDX-License-Identifier: MIT */
/*
 * thread.h - threads on stacks of the library, and when they are over.
 *
 * thread.c keeps a record of each thread that stack_pthread_create() made.
 * join.c, in libstackalloc and again in the preload, stands before libc's
 * pthread_join() and its kin and tells thread.c what became of a thread.  Functions
 * of thread.c are exported for the preload alone.
 */
#ifndef STACKALLOC_THREAD_H
#define STACKALLOC_THREAD_H

#include <pthread.h>
#include <stdbool.h>

/* --- thread.c --- */

/*
 * Before a call that may join a thread.  EINVAL: it is detached; else 0.  *held is NULL where
 * the thread is none of ours, or where another wrapper round this very call
 * holds it: of wrappers that are nested, one counts.
 */
int stack_thread_hold(pthread_t id, void **held);
/* After the call; held may be NULL. */
void stack_thread_settle(void *held, bool joined);
/* Instead of the call: pthread_detach()'s errors, of which ESRCH means none of our threads. */
int stack_thread_detach(pthread_t id);

/* --- join.c --- */

/* Whether libc says that a thread is over: it is joined by that. */
bool stack_thread_try_join(pthread_t id);

#endif
