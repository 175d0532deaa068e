/* SPDX-License-Identifier: MIT */
/*
 * deferred.h - stacks that their users stood on when they freed them.
 *
 * Each thread has a list of its own, since only the thread that stood on a
 * stack knows when it has left it.  stack_alloc() looks at its head, own_deferred of
 * stash.h: one thread-local word at a fixed offset.
 */
#ifndef STACKALLOC_DEFERRED_H
#define STACKALLOC_DEFERRED_H

#include "stash.h"

/* Takes back those that the calling thread does not stand on any more. */
void deferred_take_back(void);

/* --- api.c --- */

/* Gives a body, whose slot's word says that it is cached, back to its cache. */
void stack_give_back(void *body, unsigned class);

#endif
