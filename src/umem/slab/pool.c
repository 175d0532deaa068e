/* SPDX-License-Identifier: MIT */
/*
 * pool.c - a pool's geometry, the making and unmaking of its slabs, its
 * invariants.
 *
 * Calls vmem for spans, meta for records.  No lock is held while it does.
 */
#include <errno.h>
#include <string.h>

#include "os/meta.h"
#include "slab/pagemap.h"
#include "slab/slab.h"
#include "vmem/vmem_impl.h"

_Static_assert(VMEM_HEAP_QUANTUM == UMEM_GRANULE, "a slab of the heap must own its granules");

#define BITS_PER_WORD 64
/* A slab wastes at most an eighth, where any size up to 16 chunks does that (Bonwick 1994, 3.2.2).
 */
#define WASTE_FRACTION 8
#define CHUNKS_TO_TRY 16
/* Chunk sizes and offsets below this take the reciprocal path of slab_chunk_index(). */
#define RECIPROCAL_ONE ((uint64_t)1 << 32)

/*
 * The smallest slab, in steps of the quantum, that wastes at most
 * 1/WASTE_FRACTION; failing that, the one of least waste.
 */
static size_t
choose_slab_size(const struct slab_geometry *geo)
{
    size_t chunk_size = geo->geo_chunk_size, quantum = geo->geo_quantum, lead = geo->geo_lead;
    size_t first = umem_align_up(umem_max(chunk_size + lead, geo->geo_slab_min), quantum);
    size_t best = first;
    size_t best_waste = (first - lead) % chunk_size;

    for (size_t size = first; size >= first && (size - lead) / chunk_size <= CHUNKS_TO_TRY;
         size += quantum) {
        size_t waste = (size - lead) % chunk_size;
        if (waste <= size / WASTE_FRACTION)
            return size;
        if (waste / (size / quantum) < best_waste / (best / quantum)) {
            best = size;
            best_waste = waste;
        }
    }
    return best;
}

int
slab_pool_init(struct slab_pool *pool, const struct slab_geometry *geo)
{
    size_t chunk_size = geo->geo_chunk_size;

    if (chunk_size == 0 ||
        umem_align_up(chunk_size + geo->geo_lead, geo->geo_quantum) < chunk_size ||
        geo->geo_align > geo->geo_quantum) {
        errno = EINVAL;
        return -1;
    }
    umem_lock_init(&pool->pool_lock, UMEM_RANK_SLAB);
    pool->pool_chunk_size = chunk_size;
    pool->pool_lead = geo->geo_lead;
    pool->pool_slab_size = choose_slab_size(geo);
    size_t room = pool->pool_slab_size - pool->pool_lead;
    pool->pool_chunks = (uint32_t)(room / chunk_size);
    pool->pool_align = geo->geo_align;
    pool->pool_reciprocal = (RECIPROCAL_ONE + chunk_size - 1) / chunk_size;
    pool->pool_arena = geo->geo_arena;
    pool->pool_color_step = (uint32_t)umem_max(geo->geo_align, UMEM_CACHE_LINE);
    pool->pool_color_max = umem_align_down(room % chunk_size, pool->pool_color_step);
    pool->pool_sidecar = geo->geo_sidecar;
    pool->pool_bin = (uint16_t)geo->geo_bin;
    pool->pool_mapped = geo->geo_mapped;
    pool->pool_hash_shift = umem_log2(pool->pool_slab_size - 1) + 1;
    umem_list_init(&pool->pool_partial);
    umem_list_init(&pool->pool_full);
    umem_list_init(&pool->pool_empty);
    return 0;
}

void (*slab_watcher)(const struct slab *slab, bool made);

/* Bytes of a slab's record up to its sidecar. */
static size_t
record_head(const struct slab_pool *pool, uint32_t words)
{
    size_t head = sizeof(struct slab) + words * sizeof(uint64_t);

    return pool->pool_sidecar != 0 ? umem_align_up(head, SLAB_SIDECAR_ALIGN) : head;
}

static size_t
record_size(const struct slab_pool *pool, uint32_t words)
{
    return record_head(pool, words) + (size_t)pool->pool_chunks * pool->pool_sidecar;
}

/* The next colour: an offset that moves the chunks to other cache lines than the last slab's. */
static size_t
next_color(struct slab_pool *pool)
{
    umem_lock_acquire(&pool->pool_lock);
    size_t color = pool->pool_color_next;
    pool->pool_color_next =
        color + pool->pool_color_step > pool->pool_color_max ? 0 : color + pool->pool_color_step;
    umem_lock_release(&pool->pool_lock);
    return color;
}

static void
set_all_free(struct slab *slab)
{
    memset(slab->slab_bitmap, 0xff, slab->slab_words * sizeof(uint64_t));
    uint32_t used = slab->slab_chunks % BITS_PER_WORD;
    if (used != 0)
        slab->slab_bitmap[slab->slab_words - 1] = ((uint64_t)1 << used) - 1;
    slab->slab_free = slab->slab_chunks;
    slab->slab_hint = 0;
}

static _Atomic size_t sidecar_bytes; /* of all slabs there are */

static size_t
sidecar_size(const struct slab_pool *pool)
{
    return (size_t)pool->pool_chunks * pool->pool_sidecar;
}

UMEM_COLD size_t
slab_sidecar_bytes(void)
{
    return atomic_load_explicit(&sidecar_bytes, memory_order_relaxed);
}

struct slab *
slab_create(struct slab_pool *pool)
{
    uint32_t words = (pool->pool_chunks + BITS_PER_WORD - 1) / BITS_PER_WORD;
    struct slab *slab = umem_meta_alloc(record_size(pool, words));
    if (slab == NULL)
        return NULL;
    char *span = vmem_alloc(pool->pool_arena, pool->pool_slab_size, VM_NOSLEEP);
    if (span == NULL)
        goto no_span;

    umem_list_init(&slab->slab_link);
    slab->slab_pool = pool;
    slab->slab_span = span;
    slab->slab_base = span + pool->pool_lead + next_color(pool);
    slab->slab_chunks = pool->pool_chunks;
    slab->slab_words = words;
    if (pool->pool_sidecar != 0)
        slab->slab_sidecar = (char *)slab + record_head(pool, words);
    set_all_free(slab);
    if (pool->pool_mapped && !pagemap_set(span, pool->pool_slab_size,
                                          pagemap_word(slab, UMEM_PAGEMAP_SLAB, pool->pool_bin)))
        goto no_map;
    if (pool->pool_sidecar != 0)
        atomic_fetch_add_explicit(&sidecar_bytes, sidecar_size(pool), memory_order_relaxed);
    if (UMEM_UNLIKELY(slab_watcher != NULL))
        slab_watcher(slab, true);
    return slab;

    int error;
no_map:
    error = errno;
    vmem_free(pool->pool_arena, span, pool->pool_slab_size);
    errno = error;
no_span:
    error = errno;
    umem_meta_free(slab, record_size(pool, words));
    errno = error;
    return NULL;
}

void
slab_destroy(struct slab_pool *pool, struct slab *slab)
{
    if (pool->pool_sidecar != 0)
        atomic_fetch_sub_explicit(&sidecar_bytes, sidecar_size(pool), memory_order_relaxed);
    if (UMEM_UNLIKELY(slab_watcher != NULL))
        slab_watcher(slab, false);
    if (pool->pool_mapped)
        pagemap_clear(slab->slab_span, pool->pool_slab_size);
    vmem_free(pool->pool_arena, slab->slab_span, pool->pool_slab_size);
    umem_meta_free(slab, record_size(pool, slab->slab_words));
}

/* Takes the oldest empty slab off the pool, or NULL. */
static struct slab *
detach_empty(struct slab_pool *pool, size_t keep)
{
    struct slab *slab = NULL;

    umem_lock_acquire(&pool->pool_lock);
    if (pool->pool_slabs_empty > keep) {
        slab = UMEM_CONTAINER_OF(pool->pool_empty.prev, struct slab, slab_link);
        slab_unlink(pool, slab);
        pool->pool_slabs_empty--;
        pool->pool_slabs--;
        pool->pool_destroys++;
        if (!pool->pool_mapped)
            slab_hash_remove(pool, slab);
    }
    umem_lock_release(&pool->pool_lock);
    return slab;
}

size_t
slab_pool_reap(struct slab_pool *pool, size_t keep)
{
    size_t bytes = 0;

    for (struct slab *slab; (slab = detach_empty(pool, keep)) != NULL;) {
        slab_destroy(pool, slab);
        bytes += pool->pool_slab_size;
    }
    return bytes;
}

UMEM_COLD void
slab_pool_fini(struct slab_pool *pool)
{
    (void)slab_pool_reap(pool, 0);
    umem_meta_free(pool->pool_hash, pool->pool_hash_size * sizeof(*pool->pool_hash));
    pool->pool_hash = NULL;
    pool->pool_hash_size = 0;
}

static UMEM_COLD bool
verify_slab(struct slab_pool *pool, const struct slab *slab)
{
    uint32_t free_bits = 0;
    uint32_t bits = 0;

    for (uint32_t i = 0; i < slab->slab_words; i++) {
        free_bits += (uint32_t)__builtin_popcountll(slab->slab_bitmap[i]);
        if (i < slab->slab_hint && slab->slab_bitmap[i] != 0)
            return false;
    }
    bits = slab->slab_chunks % BITS_PER_WORD;
    if (bits != 0 && slab->slab_bitmap[slab->slab_words - 1] >> bits != 0)
        return false;
    if (slab->slab_pool != pool || slab->slab_free != free_bits ||
        ((uintptr_t)slab->slab_base & (pool->pool_align - 1)) != 0)
        return false;
    return slab->slab_base >= slab->slab_span &&
           slab->slab_base + (size_t)slab->slab_chunks * pool->pool_chunk_size <=
               slab->slab_span + pool->pool_slab_size &&
           (slab_find_locked(pool, slab->slab_base) == slab || pool->pool_mapped);
}

/* Counts the list's slabs and their allocated chunks into *slabs and *allocated. */
static UMEM_COLD bool
verify_list(struct slab_pool *pool, struct umem_list *list, size_t *slabs, size_t *allocated)
{
    UMEM_LIST_FOR (node, list) {
        struct slab *slab = UMEM_CONTAINER_OF(node, struct slab, slab_link);
        bool empty = slab->slab_free == slab->slab_chunks && !slab->slab_purging;
        bool full = slab->slab_free == 0 || slab->slab_purging;
        if (!verify_slab(pool, slab) || empty != (list == &pool->pool_empty) ||
            full != (list == &pool->pool_full))
            return false;
        ++*slabs;
        *allocated += slab->slab_chunks - slab->slab_free;
    }
    return true;
}

UMEM_COLD bool
slab_pool_verify(struct slab_pool *pool)
{
    size_t slabs = 0, allocated = 0, empty = 0, none = 0;

    umem_lock_acquire(&pool->pool_lock);
    bool good = verify_list(pool, &pool->pool_partial, &slabs, &allocated) &&
                verify_list(pool, &pool->pool_full, &slabs, &allocated) &&
                verify_list(pool, &pool->pool_empty, &empty, &none) &&
                slabs + empty == pool->pool_slabs && empty == pool->pool_slabs_empty &&
                allocated == pool->pool_allocated && none == 0 &&
                pool->pool_creates - pool->pool_destroys == pool->pool_slabs;
    umem_lock_release(&pool->pool_lock);
    return good;
}

UMEM_COLD void
slab_pool_visit(struct slab_pool *pool, void (*fn)(void *arg, struct slab *slab), void *arg)
{
    struct umem_list *const lists[] = {&pool->pool_partial, &pool->pool_full, &pool->pool_empty};

    umem_lock_acquire(&pool->pool_lock);
    for (size_t i = 0; i < UMEM_ARRAY_SIZE(lists); i++)
        UMEM_LIST_FOR (node, lists[i])
            fn(arg, UMEM_CONTAINER_OF(node, struct slab, slab_link));
    umem_lock_release(&pool->pool_lock);
}

static UMEM_COLD void
walk_slab(struct slab *slab, void (*fn)(void *arg, struct slab *slab, void *obj), void *arg)
{
    for (uint32_t i = 0; i < slab->slab_chunks; i++)
        if ((slab->slab_bitmap[i / BITS_PER_WORD] >> i % BITS_PER_WORD & 1) == 0)
            fn(arg, slab, slab_chunk(slab, i));
}

UMEM_COLD void
slab_pool_walk(struct slab_pool *pool, void (*fn)(void *arg, struct slab *slab, void *obj),
               void *arg)
{
    UMEM_LIST_FOR (node, &pool->pool_partial)
        walk_slab(UMEM_CONTAINER_OF(node, struct slab, slab_link), fn, arg);
    UMEM_LIST_FOR (node, &pool->pool_full)
        walk_slab(UMEM_CONTAINER_OF(node, struct slab, slab_link), fn, arg);
}
