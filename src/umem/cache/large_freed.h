/* SPDX-License-Identifier: MIT */
/*
 * large_freed.h - under debugging, the last oversize blocks that were freed.
 *
 * Their records are gone, and mostly their memory, but a second free is to be
 * told from a wild one, and an access to them explained.  A ring of a few
 * entries, written under umem_larges_lock and read by anybody: a sequence
 * number tells a reader that a writer was at it meanwhile.
 */
#ifndef UMEM_LARGE_FREED_H
#define UMEM_LARGE_FREED_H

#include "debug/debug.h"

struct umem_large_freed {
    char *freed_base;
    size_t freed_size;
    uint32_t freed_flags;
    struct umem_bufctl freed_bufctl;
};

/* Notes a block that is being freed, or renews its entry; the lock is held. */
void umem_large_freed_note(const struct umem_large *large);
/* Copies the entry of the latest block freed at base; false: there is none.  (AS) */
bool umem_large_freed_at(const void *base, struct umem_large_freed *found);
/*
 * Reports an access to memory that is not mapped any more, where an oversize
 * block was that was freed a short time ago; false: it is not that.  (AS)
 */
bool umem_large_explain(const struct os_fault *fault);

#endif
