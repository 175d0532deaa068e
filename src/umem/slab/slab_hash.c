/* SPDX-License-Identifier: MIT */
/*
 * slab_hash.c - address to slab for arenas that are not the heap.
 *
 * Space is thought of in blocks of 2^pool_hash_shift, no smaller than a slab,
 * so a slab begins in the block of an address inside it or in the one before.
 * It is filed under the block in which it begins.  The pool's lock is held
 * throughout.
 */
#include "os/meta.h"
#include "slab/slab.h"

#define HASH_INITIAL 16 /* buckets: 128 bytes, two cache lines */
#define HASH_LOAD 2     /* slabs a bucket before the table doubles */

static struct slab **
bucket_of(struct slab **table, size_t size, uintptr_t block)
{
    return &table[umem_hash_run(block) & (size - 1)];
}

static uintptr_t
block_of(const struct slab_pool *pool, const void *addr)
{
    return (uintptr_t)addr >> pool->pool_hash_shift;
}

/* Doubles the table, or makes the first one.  Without memory the old one serves on. */
static void
grow(struct slab_pool *pool)
{
    size_t size = pool->pool_hash_size == 0 ? HASH_INITIAL : pool->pool_hash_size * 2;
    struct slab **table = umem_meta_alloc(size * sizeof(*table));

    if (table == NULL)
        return;
    for (size_t i = 0; i < pool->pool_hash_size; i++) {
        for (struct slab *slab = pool->pool_hash[i], *next; slab != NULL; slab = next) {
            struct slab **bucket = bucket_of(table, size, block_of(pool, slab->slab_span));
            next = slab->slab_hash;
            slab->slab_hash = *bucket;
            *bucket = slab;
        }
    }
    umem_meta_free(pool->pool_hash, pool->pool_hash_size * sizeof(*table));
    pool->pool_hash = table;
    pool->pool_hash_size = size;
}

bool
slab_hash_insert(struct slab_pool *pool, struct slab *slab)
{
    if (pool->pool_slabs >= pool->pool_hash_size * HASH_LOAD)
        grow(pool);
    if (pool->pool_hash_size == 0)
        return false;
    struct slab **bucket =
        bucket_of(pool->pool_hash, pool->pool_hash_size, block_of(pool, slab->slab_span));
    slab->slab_hash = *bucket;
    *bucket = slab;
    return true;
}

void
slab_hash_remove(struct slab_pool *pool, struct slab *slab)
{
    struct slab **link =
        bucket_of(pool->pool_hash, pool->pool_hash_size, block_of(pool, slab->slab_span));

    while (*link != slab)
        link = &(*link)->slab_hash;
    *link = slab->slab_hash;
}

static struct slab *
find_in_block(struct slab_pool *pool, uintptr_t block, const char *addr)
{
    struct slab *slab = *bucket_of(pool->pool_hash, pool->pool_hash_size, block);

    while (slab != NULL &&
           (addr < slab->slab_span || addr >= slab->slab_span + pool->pool_slab_size))
        slab = slab->slab_hash;
    return slab;
}

struct slab *
slab_find_locked(struct slab_pool *pool, const void *addr)
{
    if (pool->pool_hash_size == 0)
        return NULL;
    uintptr_t block = block_of(pool, addr);
    struct slab *slab = find_in_block(pool, block, addr);
    return slab != NULL ? slab : find_in_block(pool, block - 1, addr);
}
