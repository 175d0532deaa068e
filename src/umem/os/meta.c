/* SPDX-License-Identifier: MIT */
/*
 * meta.c - the metadata pool: see meta.h.
 *
 * Blocks of a power of two from 16 bytes to META_BLOCK_MAX are cut from chunks
 * front to back and kept on a free list each; larger ones are rounded to pages
 * and have a mapping of their own, which is kept for reuse too.
 */
#include "os/meta.h"

#include "os/lock.h"
#include "os/os.h"

#define META_BLOCK_SHIFT_MIN 4               /* 16 bytes: two pointers */
#define META_CHUNK_SIZE ((size_t)128 * 1024) /* modest: under mlockall() all of it is locked */
#define META_BLOCK_MAX ((size_t)32 * 1024)   /* a quarter of a chunk bounds what a cut wastes */
#define META_LISTS (sizeof(size_t) * 8)
/* The chunk's header, padded to keep 64-alignment. */
#define META_HEADER ((size_t)UMEM_CACHE_LINE)

struct free_block {
    struct free_block *block_next;
};

static struct umem_lock meta_lock = UMEM_LOCK_INIT(UMEM_RANK_META);
static struct free_block *free_list[META_LISTS];
static char *chunk_cur, *chunk_end; /* what is left of the newest chunk */
static size_t mapped_bytes;
struct umem_meta_chunk *umem_meta_chunks;

static unsigned
list_of(size_t size)
{
    if (size <= (size_t)1 << META_BLOCK_SHIFT_MIN)
        return META_BLOCK_SHIFT_MIN;
    return umem_log2(size - 1) + 1;
}

/* Maps a chunk with its header; the lock is held. */
static char *
map_chunk(size_t size)
{
    struct umem_meta_chunk *chunk = os_map(size, os_page_size());

    if (chunk == NULL)
        return NULL;
    os_name(chunk, size, "umem_meta");
    chunk->chunk_size = size;
    chunk->chunk_next = umem_meta_chunks;
    umem_meta_chunks = chunk;
    mapped_bytes += size;
    return (char *)chunk;
}

/* A new block of 2^list bytes; the lock is held. */
static void *
carve(unsigned list)
{
    size_t size = (size_t)1 << list;

    if (size > META_BLOCK_MAX) {
        char *chunk = map_chunk(umem_align_up(size + META_HEADER, os_page_size()));
        return chunk == NULL ? NULL : chunk + META_HEADER;
    }
    char *block =
        (char *)umem_align_up((uintptr_t)chunk_cur, umem_min(size, (size_t)UMEM_CACHE_LINE));
    if (chunk_cur == NULL || block > chunk_end || (size_t)(chunk_end - block) < size) {
        char *chunk = map_chunk(META_CHUNK_SIZE);
        if (chunk == NULL)
            return NULL;
        chunk_end = chunk + META_CHUNK_SIZE;
        block = chunk + META_HEADER;
    }
    chunk_cur = block + size;
    return block;
}

void *
umem_meta_alloc(size_t size)
{
    unsigned list = list_of(size);

    umem_lock_acquire(&meta_lock);
    struct free_block *block = free_list[list];
    if (block != NULL)
        free_list[list] = block->block_next;
    void *fresh = block == NULL ? carve(list) : NULL;
    umem_lock_release(&meta_lock);

    if (block != NULL) {
        __builtin_memset(block, 0, size);
        return block;
    }
    return fresh; /* straight from the system, or NULL with its errno */
}

void
umem_meta_free(void *ptr, size_t size)
{
    if (ptr == NULL)
        return;
    unsigned list = list_of(size);
    struct free_block *block = ptr;

    umem_lock_acquire(&meta_lock);
    block->block_next = free_list[list];
    free_list[list] = block;
    umem_lock_release(&meta_lock);
}

size_t
umem_meta_mapped(void)
{
    umem_lock_acquire(&meta_lock);
    size_t bytes = mapped_bytes;
    umem_lock_release(&meta_lock);
    return bytes;
}

void
umem_meta_fork_prepare(void)
{
    umem_lock_acquire_fork(&meta_lock);
}

void
umem_meta_fork_parent(void)
{
    umem_lock_release(&meta_lock);
}

void
umem_meta_fork_child(void)
{
    umem_lock_reset_child(&meta_lock);
}
