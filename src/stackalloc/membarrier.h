/* SPDX-License-Identifier: MIT */
/*
 * membarrier.h - a memory barrier on all running threads of the process, so that
 * those which hardly ever need one need not pay for it.
 */
#ifndef STACKALLOC_MEMBARRIER_H
#define STACKALLOC_MEMBARRIER_H

#include <stdbool.h>

/* To be called before barrier_all(), for the process.  False: the system has no such thing. */
bool barrier_register(void);
/*
 * What any thread of the process did before, this one sees afterwards; what
 * this one did before, every thread sees from some moment of the call on.
 */
void barrier_all(void);

#endif
