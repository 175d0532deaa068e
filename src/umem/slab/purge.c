/* SPDX-License-Identifier: MIT */
/*
 * purge.c - pages of a slab on which no chunk is in use go back to the system,
 * though others of it are in use.
 *
 * What a program leaves of a peak lies scattered: of 8,000 slabs with a tenth
 * of their chunks each nearly every slab is in use, and half of their pages are
 * not.  A pass looks at every slab with free chunks.  Where nothing was taken
 * or freed since the pass before, an update interval earlier, the slab is calm,
 * and its free pages go, once: to purge it again it must change first.
 *
 * While a slab's pages go no lock is held.  It is on the list of full ones
 * then, so that nobody takes a chunk of it; chunks may be given back, which
 * only makes more of it free.
 *
 * A pass is a place in the lists of partial and empty slabs (pool_purge), which
 * moves on when the slab there leaves its list: so it takes any number of
 * calls, and other threads may use the pool between them.
 */
#include "os/os.h"
#include "slab/slab.h"

#define BITS_PER_WORD 64
/* To purge a slab costs some 10 us, to look at one 50 ns at most. */
#define PURGE_COST 16

/* Where a pass begins: partial slabs first, then empty ones; NULL: there is neither. */
static struct umem_list *
first_of(struct slab_pool *pool)
{
    if (!umem_list_empty(&pool->pool_partial))
        return pool->pool_partial.next;
    return umem_list_empty(&pool->pool_empty) ? NULL : pool->pool_empty.next;
}

static struct umem_list *
following(struct slab_pool *pool, struct umem_list *at)
{
    struct umem_list *next = at->next;

    if (next == &pool->pool_partial)
        next = pool->pool_empty.next;
    return next == &pool->pool_empty ? NULL : next;
}

void
slab_unlink(struct slab_pool *pool, struct slab *slab)
{
    if (UMEM_UNLIKELY(pool->pool_purge == &slab->slab_link))
        pool->pool_purge = following(pool, &slab->slab_link);
    umem_list_remove(&slab->slab_link);
}

static bool
is_free(const struct slab *slab, uint32_t index)
{
    uint64_t word = __atomic_load_n(&slab->slab_bitmap[index / BITS_PER_WORD], __ATOMIC_RELAXED);

    return word >> index % BITS_PER_WORD & 1;
}

/* The whole pages in [start, end).  False: they are locked. */
static bool
purge_pages(char *start, char *end)
{
    uintptr_t first = umem_align_up((uintptr_t)start, os_page_size());
    uintptr_t last = umem_align_down((uintptr_t)end, os_page_size());

    return first >= last || os_purge((void *)first, last - first) == 0;
}

/* Each run of free chunks, with what is before the first chunk and behind the last. */
static void
purge_runs(const struct slab *slab)
{
    char *span_end = slab->slab_span + slab->slab_pool->pool_slab_size;

    for (uint32_t i = 0, first; i < slab->slab_chunks; i++) {
        if (!is_free(slab, i))
            continue;
        for (first = i; i < slab->slab_chunks && is_free(slab, i);)
            i++;
        char *start = first == 0 ? slab->slab_span : slab_chunk(slab, first);
        if (!purge_pages(start, i == slab->slab_chunks ? span_end : slab_chunk(slab, i)))
            return;
    }
}

/* Whether the slab's turn has come.  The lock is held. */
static bool
is_due(struct slab *slab, bool all)
{
    if (slab->slab_calm == SLAB_PURGED)
        return false;
    if (slab->slab_calm == SLAB_CHANGED && !all) {
        slab->slab_calm = SLAB_CALM;
        return false;
    }
    return slab->slab_free * slab->slab_pool->pool_chunk_size >= os_page_size();
}

/* The next slab whose pages are to go, or NULL.  The lock is held. */
static struct slab *
next_due(struct slab_pool *pool, bool all, size_t *budget)
{
    while (pool->pool_purge != NULL && *budget > 0) {
        struct slab *slab = UMEM_CONTAINER_OF(pool->pool_purge, struct slab, slab_link);
        pool->pool_purge = following(pool, pool->pool_purge);
        --*budget;
        if (is_due(slab, all))
            return slab;
    }
    return NULL;
}

/* So that nobody takes chunks of it.  The lock is held. */
static void
take_out(struct slab_pool *pool, struct slab *slab)
{
    if (slab->slab_free == slab->slab_chunks)
        pool->pool_slabs_empty--;
    slab->slab_calm = SLAB_PURGED;
    slab->slab_purging = true;
    pool->pool_purging = slab;
    slab_unlink(pool, slab);
    umem_list_push_back(&pool->pool_full, &slab->slab_link);
}

/* Behind the others: those have their pages.  The lock is held. */
static void
put_back(struct slab_pool *pool, struct slab *slab)
{
    bool empty = slab->slab_free == slab->slab_chunks;

    if (empty)
        pool->pool_slabs_empty++;
    slab->slab_purging = false;
    pool->pool_purging = NULL;
    slab_unlink(pool, slab);
    umem_list_push_back(empty ? &pool->pool_empty : &pool->pool_partial, &slab->slab_link);
}

bool
slab_pool_purge(struct slab_pool *pool, bool all, size_t *budget)
{
    struct slab *slab;

    if (!pool->pool_mapped || pool->pool_sidecar != 0)
        return true;
    umem_lock_acquire(&pool->pool_lock);
    if (pool->pool_purge == NULL)
        pool->pool_purge = first_of(pool);
    while ((slab = next_due(pool, all, budget)) != NULL) {
        take_out(pool, slab);
        umem_lock_release(&pool->pool_lock);
        purge_runs(slab);
        umem_lock_acquire(&pool->pool_lock);
        put_back(pool, slab);
        *budget -= umem_min(*budget, PURGE_COST);
    }
    bool over = pool->pool_purge == NULL;
    umem_lock_release(&pool->pool_lock);
    return over;
}

UMEM_COLD void
slab_pool_fork_child(struct slab_pool *pool)
{
    if (pool->pool_purging != NULL)
        put_back(pool, pool->pool_purging);
}
