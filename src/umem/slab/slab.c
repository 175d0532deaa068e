/* SPDX-License-Identifier: MIT */
/*
 * slab.c - the slab layer: taking chunks from slabs and giving them back.
 *
 * After Bonwick, "The Slab Allocator: An Object-Caching Kernel Memory
 * Allocator" (USENIX Summer 1994), with the free list replaced by a bitmap
 * outside the slab: nothing is written into free memory, a batch of chunks is
 * taken a word at a time, a chunk freed twice is seen, and lower addresses go
 * out first, so that fresh pages are touched in order and only as needed.
 *
 * A slab is on one of three lists by its count of free chunks: full, partial,
 * empty.  Allocation takes the first partial slab, then an empty one, then
 * makes one.  Of empty slabs a few stay, the most recent in front; in the heap
 * the others go back as they come, since the arena keeps their pages a while
 * for whoever wants them.
 *
 * Everything here happens under the pool's lock, which is dropped to make a
 * slab; calls hash and page map look-ups below, pool.c beside it.
 */
#include "slab/slab.h"

#include <errno.h>

#include "slab/pagemap.h"

#define BITS_PER_WORD 64
#define EMPTY_FRACTION 16 /* of a pool's slabs may stay empty */
/* Of objects of 4 KiB and more: a slab's pages are worth more to others than the 0.5 us to make it.
 */
#define FEW_CHUNKS 17

/*
 * Bitmap words change under the lock.  slab_check() reads them without it: its
 * answer concerns one chunk, whose owner is the caller, so only the word must
 * be read whole.
 */
static inline uint64_t
bitmap_word(const struct slab *slab, uint32_t i)
{
    return __atomic_load_n(&slab->slab_bitmap[i], __ATOMIC_RELAXED);
}

static inline void
set_bitmap_word(struct slab *slab, uint32_t i, uint64_t word)
{
    __atomic_store_n(&slab->slab_bitmap[i], word, __ATOMIC_RELAXED);
}

/* Takes up to n chunks of a slab that has some; returns how many. */
static unsigned
take_chunks(struct slab *slab, void **out, unsigned n)
{
    size_t chunk_size = slab->slab_pool->pool_chunk_size;
    unsigned taken = 0;
    uint32_t i = slab->slab_hint;

    for (; i < slab->slab_words; i++) {
        uint64_t word = bitmap_word(slab, i);
        for (; word != 0 && taken < n; word &= word - 1) {
            size_t index = (size_t)i * BITS_PER_WORD + (size_t)__builtin_ctzll(word);
            out[taken++] = slab->slab_base + index * chunk_size;
        }
        set_bitmap_word(slab, i, word);
        if (word != 0)
            break;
    }
    slab->slab_hint = i;
    slab->slab_free -= taken;
    slab->slab_calm = SLAB_CHANGED;
    return taken;
}

/* A slab with free chunks, or NULL; the lock is held. */
static struct slab *
first_with_room(struct slab_pool *pool)
{
    if (!umem_list_empty(&pool->pool_partial))
        return UMEM_CONTAINER_OF(pool->pool_partial.next, struct slab, slab_link);
    if (umem_list_empty(&pool->pool_empty))
        return NULL;
    struct slab *slab = UMEM_CONTAINER_OF(pool->pool_empty.next, struct slab, slab_link);
    slab_unlink(pool, slab);
    umem_list_push_front(&pool->pool_partial, &slab->slab_link);
    pool->pool_slabs_empty--;
    return slab;
}

/* Drops the lock to make a slab, and adds it.  False with errno: none to be had. */
static bool
add_slab(struct slab_pool *pool)
{
    umem_lock_release(&pool->pool_lock);
    struct slab *slab = slab_create(pool);
    umem_lock_acquire(&pool->pool_lock);

    if (slab == NULL)
        return false;
    if (!pool->pool_mapped && !slab_hash_insert(pool, slab)) {
        int error = errno;
        umem_lock_release(&pool->pool_lock);
        slab_destroy(pool, slab);
        errno = error;
        umem_lock_acquire(&pool->pool_lock);
        return false;
    }
    /* In front of slabs that others have given room to meanwhile: it must serve this call. */
    umem_list_push_front(&pool->pool_empty, &slab->slab_link);
    pool->pool_slabs_empty++;
    pool->pool_slabs++;
    pool->pool_creates++;
    return true;
}

unsigned
slab_alloc(struct slab_pool *pool, void **out, unsigned n)
{
    unsigned taken = 0;

    umem_lock_acquire(&pool->pool_lock);
    while (taken < n) {
        struct slab *slab = first_with_room(pool);
        if (slab == NULL) {
            /* What is in hand is worth more than a new slab. */
            if (taken > 0 || !add_slab(pool))
                break;
            continue;
        }
        taken += take_chunks(slab, out + taken, n - taken);
        if (slab->slab_free == 0) {
            slab_unlink(pool, slab);
            umem_list_push_front(&pool->pool_full, &slab->slab_link);
        }
    }
    pool->pool_allocated += taken;
    if (taken == 0)
        pool->pool_fails++;
    umem_lock_release(&pool->pool_lock);
    return taken;
}

/* The slab of an address by whichever way this pool has; the lock is held. */
static struct slab *
slab_of(struct slab_pool *pool, const void *addr)
{
    if (!pool->pool_mapped)
        return slab_find_locked(pool, addr);
    uint64_t word = pagemap_get(addr);
    if (pagemap_kind(word) != UMEM_PAGEMAP_SLAB)
        return NULL;
    struct slab *slab = pagemap_pointer(word);
    return slab->slab_pool == pool ? slab : NULL;
}

UMEM_COLD struct slab *
slab_find(struct slab_pool *pool, const void *addr)
{
    if (pool->pool_mapped)
        return slab_of(pool, addr);
    umem_lock_acquire(&pool->pool_lock);
    struct slab *slab = slab_find_locked(pool, addr);
    umem_lock_release(&pool->pool_lock);
    return slab;
}

enum slab_status
slab_check(const struct slab *slab, const void *addr)
{
    uint32_t index;

    if (!slab_is_chunk(slab, addr, &index))
        return SLAB_NOT_A_CHUNK;
    if (bitmap_word(slab, index / BITS_PER_WORD) >> index % BITS_PER_WORD & 1)
        return SLAB_ALREADY_FREE;
    return SLAB_OK;
}

/* Sets the bit of a chunk; the lock is held. */
static enum slab_status
mark_free(struct slab *slab, const void *obj)
{
    uint32_t index;

    if (!slab_is_chunk(slab, obj, &index))
        return SLAB_NOT_A_CHUNK;
    uint32_t i = index / BITS_PER_WORD;
    uint64_t word = bitmap_word(slab, i), bit = (uint64_t)1 << index % BITS_PER_WORD;
    if (word & bit)
        return SLAB_ALREADY_FREE;
    set_bitmap_word(slab, i, word | bit);
    if (i < slab->slab_hint)
        slab->slab_hint = i;
    return SLAB_OK;
}

/* Puts a slab that some chunks have come back to on the list where it belongs; the lock is held. */
static void
relist(struct slab_pool *pool, struct slab *slab, bool was_full)
{
    if (UMEM_UNLIKELY(slab->slab_purging))
        return; /* who purges it finds a list for it */
    if (slab->slab_free == slab->slab_chunks) {
        slab_unlink(pool, slab);
        umem_list_push_front(&pool->pool_empty, &slab->slab_link);
        pool->pool_slabs_empty++;
    } else if (was_full) {
        slab_unlink(pool, slab);
        umem_list_push_front(&pool->pool_partial, &slab->slab_link);
    }
}

/*
 * Gives back the first of n chunks and those that follow it in the same slab:
 * what was allocated in a row mostly is freed so.  Returns how many; fewer than
 * that, *status says why.  The lock is held.
 */
static unsigned
put_run(struct slab_pool *pool, void *const *objs, unsigned n, enum slab_status *status)
{
    struct slab *slab = slab_of(pool, objs[0]);
    unsigned done = 0;

    *status = slab == NULL ? SLAB_NOT_OURS : SLAB_OK;
    if (slab == NULL)
        return 0;
    do {
        *status = mark_free(slab, objs[done]);
        if (*status != SLAB_OK)
            break;
        done++;
    } while (done < n && (size_t)((char *)objs[done] - slab->slab_span) < pool->pool_slab_size);
    bool was_full = slab->slab_free == 0;
    slab->slab_free += done;
    slab->slab_calm = SLAB_CHANGED;
    if (done > 0)
        relist(pool, slab, was_full);
    return done;
}

/*
 * Empty slabs that a pool of so many keeps: enough for a working set that
 * sways, and one where it would else be made and unmade for a few objects.
 */
static size_t
empty_slabs_kept(const struct slab_pool *pool)
{
    size_t least = pool->pool_chunks >= FEW_CHUNKS ? 1 : 0;

    return least + pool->pool_slabs / EMPTY_FRACTION;
}

unsigned
slab_free(struct slab_pool *pool, void *const *objs, unsigned n, enum slab_status *status)
{
    unsigned done = 0;

    *status = SLAB_OK;
    umem_lock_acquire(&pool->pool_lock);
    while (done < n && *status == SLAB_OK)
        done += put_run(pool, objs + done, n - done, status);
    pool->pool_allocated -= done;
    size_t keep = pool->pool_mapped ? empty_slabs_kept(pool) : SIZE_MAX;
    bool surplus = pool->pool_slabs_empty > keep;
    umem_lock_release(&pool->pool_lock);
    if (UMEM_UNLIKELY(surplus))
        (void)slab_pool_reap(pool, keep);
    return done;
}
