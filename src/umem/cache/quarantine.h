/* SPDX-License-Identifier: MIT */
/*
 * quarantine.h - freed blocks wait here before they can be handed out again,
 * under guards: so that a write after free finds its fill, not a new owner.
 *
 * Lock: shard_lock of each shard (UMEM_RANK_QUARANTINE), for a few words of a
 * list; none is held while a block goes on.
 */
#ifndef UMEM_QUARANTINE_H
#define UMEM_QUARANTINE_H

#include "cache/cache.h"
#include "debug/debug.h"

/* Whether a block of size bytes that is filled (UMF_DEADBEEF) would be taken in. */
static inline bool
umem_quarantine_takes(size_t size)
{
    return size <= umem_options.opt_quarantine;
}

/*
 * Takes in an object of cp, or, where that is NULL, an oversize block's record,
 * of size bytes in all, and its bufctl; lets the oldest blocks go on for that.
 * False: there is no memory to note it, it goes on itself.
 */
bool umem_quarantine_put(struct umem_cache *cp, void *block, struct umem_bufctl *bufctl,
                         size_t size);
/* Lets all blocks go on.  True: there were some. */
bool umem_quarantine_empty(void);
/* Lets those of a cache go on; when it returns none is on its way any more. */
void umem_quarantine_take_back(struct umem_cache *cp);
/* Bytes, in chunks, of those of caches that this holds for. */
size_t umem_quarantine_bytes(bool (*counts)(const struct umem_cache *cp));
/* Whether the bytes of every shard, and their sum, are those of the blocks in it. */
bool umem_quarantine_verify(void);

void umem_quarantine_fork_prepare(void);
void umem_quarantine_fork_parent(void);
void umem_quarantine_fork_child(void);

#endif
