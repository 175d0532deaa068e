/* SPDX-License-Identifier: MIT */
/*
 * contents.h - the contents log: the first bytes of freed buffers as they
 * were, so that a report of a write after free can show what was overwritten.
 */
#ifndef UMEM_CONTENTS_H
#define UMEM_CONTENTS_H

#include "base/base.h"

/* Keeps the first opt_contents_bytes of a buffer that is being freed, at most size. */
void umem_contents_log(const void *addr, size_t size);
/*
 * Copies what the log still has of the newest free of addr, from offset on, at
 * most size bytes; returns how many, 0 where nothing is left.  Waits for
 * nothing. (AS)
 */
size_t umem_contents_find(const void *addr, size_t offset, void *to, size_t size);
/* In the child of a fork: slots that another thread was busy with are free. */
void umem_contents_fork_child(void);

#endif
