/* SPDX-License-Identifier: MIT */
/*
 * meta.h - memory for the engine's own records: slabs, boundary tags,
 * magazines, thread caches.
 *
 * A pool of blocks carved from mappings of its own, so that no record lies
 * beside the program's data, nothing here recurses into the engine, and a leak
 * finder can leave these mappings out of its roots.  Freed blocks are reused,
 * of larger ones also by other sizes; those of more than 32 KiB are unmapped
 * when memory is short, none else ever.  Lock: meta_lock (UMEM_RANK_META).
 */
#ifndef UMEM_META_H
#define UMEM_META_H

#include "base/base.h"

/* Returns size zeroed bytes, 16-aligned (64-aligned from 64 bytes up), or NULL with errno. */
void *umem_meta_alloc(size_t size);
/* size must be the one allocated. */
void umem_meta_free(void *ptr, size_t size);
/*
 * Unmaps free blocks where that is possible: memory is short, or an allocation
 * is about to fail.  Whether there were any.
 */
bool umem_meta_give_back(void);
/* Bytes mapped now. */
size_t umem_meta_mapped(void);

void umem_meta_fork_prepare(void);
void umem_meta_fork_parent(void);
void umem_meta_fork_child(void);

/*
 * Chain of the pool's mappings, newest first: each starts with this header.
 * Public to the analyser through the layout block.
 */
struct umem_meta_chunk {
    struct umem_meta_chunk *chunk_next;
    size_t chunk_size;
};
extern struct umem_meta_chunk *umem_meta_chunks;

#endif
