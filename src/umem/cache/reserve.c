/* SPDX-License-Identifier: MIT */
/*
 * reserve.c - objects kept ready beforehand: umem_cache_reserve(), and caches
 * that are sealed for threads which may neither fault, nor call the system,
 * nor wait.
 *
 * A reserve of a cache that is not sealed is magazines in its depot, which is
 * pinned: reaps, sweeps and updates leave it alone, and its bound is lifted.
 *
 * A sealed cache has no magazines.  Its objects lie in the stacks of
 * reserve.h, which get() and put() of object.c ask first; the windows are
 * closed, as under debugging, so the fast paths know nothing of it.  Stacks
 * that all threads share cost more: 7 times a window's 6 ns a pair of alloc and
 * free, and up to 100 times where two threads do nothing else and pass the
 * lines to and fro (measured on two processors).  They promise more than
 * magazines can: whatever thread frees, whatever thread allocates, nothing is
 * exchanged, resized or found missing.  No thread waits for another: where a
 * step has to be tried again, another thread has made its own.
 *
 * fork: every step is one exchange of a word, so the child's copy is whole.  A
 * thread of the parent that was between two steps had taken a node, which the
 * child has lost with that thread.  In the midst of a free the object went with
 * it, and a breach comes one object earlier; in the midst of an alloc there is
 * one place fewer, and some object goes to its slab when it is freed.
 *
 * Sealing and unsealing are for a cache that no thread uses meanwhile.  Calls
 * depots, slabs and meta below, the ring of messages beside it.
 */
#include "cache/reserve.h"

#include <errno.h>

#include "cache/cache.h"
#include "cache/quarantine.h"
#include "debug/debug.h"
#include "os/meta.h"
#include "os/os.h"

#define NODE_MASK 0xffffffffu
/* A step of the count above a node's number. */
#define COUNT_ONE ((uint64_t)1 << 32)

static void
push(struct reserve *r, _Atomic uint64_t *stack, uint32_t node)
{
    uint64_t top = atomic_load_explicit(stack, memory_order_relaxed), next;

    do {
        atomic_store_explicit(&r->res_node[node - 1].node_next, (uint32_t)(top & NODE_MASK),
                              memory_order_relaxed);
        next = ((top & ~(uint64_t)NODE_MASK) + COUNT_ONE) | node;
    } while (!atomic_compare_exchange_weak_explicit(stack, &top, next, memory_order_release,
                                                    memory_order_relaxed));
}

/* The number of a node, 0: the stack is empty. */
static uint32_t
pop(struct reserve *r, _Atomic uint64_t *stack)
{
    uint64_t top = atomic_load_explicit(stack, memory_order_acquire), next;
    uint32_t node;

    do {
        node = (uint32_t)(top & NODE_MASK);
        if (node == 0)
            return 0;
        /* May be another's by now: then the count has changed, and the exchange fails. */
        next = ((top & ~(uint64_t)NODE_MASK) + COUNT_ONE) |
               atomic_load_explicit(&r->res_node[node - 1].node_next, memory_order_relaxed);
    } while (!atomic_compare_exchange_weak_explicit(stack, &top, next, memory_order_acq_rel,
                                                    memory_order_acquire));
    return node;
}

void *
reserve_take(struct reserve *r)
{
    uint32_t node = pop(r, &r->res_full);

    if (node == 0)
        return NULL;
    void *obj = r->res_node[node - 1].node_obj;
    r->res_node[node - 1].node_obj = NULL;
    push(r, &r->res_spare, node);
    return obj;
}

bool
reserve_put(struct reserve *r, void *obj)
{
    uint32_t node = pop(r, &r->res_spare);

    if (node == 0)
        return false;
    r->res_node[node - 1].node_obj = obj;
    push(r, &r->res_full, node);
    return true;
}

struct reserve *
reserve_create(size_t nodes)
{
    size_t size = sizeof(struct reserve) + nodes * sizeof(struct reserve_node);
    struct reserve *r = nodes < NODE_MASK ? umem_meta_alloc(size) : NULL;

    if (r == NULL || os_populate(r, size, true) != 0) {
        umem_meta_free(r, size);
        errno = ENOMEM;
        return NULL;
    }
    r->res_nodes = (uint32_t)nodes;
    r->res_size = size;
    for (uint32_t node = r->res_nodes; node > 0; node--)
        push(r, &r->res_spare, node);
    return r;
}

void
reserve_destroy(struct reserve *r)
{
    umem_meta_free(r, r->res_size);
}

/* Nodes of a stack, all of them full or all without an object; SIZE_MAX where it is not so. */
static size_t
count_nodes(const struct reserve *r, uint64_t top, bool full)
{
    size_t count = 0;

    for (uint32_t node = (uint32_t)(top & NODE_MASK); node != 0; count++) {
        if (node > r->res_nodes || count == r->res_nodes ||
            (r->res_node[node - 1].node_obj != NULL) != full)
            return SIZE_MAX;
        node = atomic_load_explicit(&r->res_node[node - 1].node_next, memory_order_relaxed);
    }
    return count;
}

bool
reserve_verify(const struct reserve *r)
{
    size_t full = count_nodes(r, atomic_load(&r->res_full), true);
    size_t spare = count_nodes(r, atomic_load(&r->res_spare), false);

    return full != SIZE_MAX && spare != SIZE_MAX && full + spare == r->res_nodes;
}

UMEM_COLD void
umem_cache_breach(struct umem_cache *cp)
{
    if (atomic_fetch_add_explicit(&cp->cache_breaches, 1, memory_order_relaxed) == 0)
        umem_message(false, "cache '%s' is sealed, and an allocation found its reserve empty",
                     cp->cache_name);
}

/* Faults an object in, unless its pages are those of the last one. */
struct populate {
    struct umem_cache *pop_cache;
    uintptr_t pop_first, pop_last; /* pages of the last object */
    bool pop_failed;
};

static void
populate(struct populate *p, void *obj)
{
    struct slab_pool *pool = &p->pop_cache->cache_slabs;
    uintptr_t first = umem_align_down((uintptr_t)obj, os_page_size());
    uintptr_t last = umem_align_up((uintptr_t)obj + pool->pool_chunk_size, os_page_size());

    if (first >= p->pop_first && last <= p->pop_last)
        return;
    p->pop_first = first;
    p->pop_last = last;
    /* What lies in an arena of the program's may be no memory, or have guards in its midst. */
    if (os_populate(obj, pool->pool_chunk_size, pool->pool_mapped) != 0 && pool->pool_mapped)
        p->pop_failed = true;
}

static void
populate_chunk(void *arg, struct slab *slab, void *obj)
{
    (void)slab;
    populate(arg, obj);
}

/* Faults in what the depot holds; returns the number of objects. */
static size_t
populate_depot(struct populate *p)
{
    struct depot *depot = &p->pop_cache->cache_depot;
    size_t rounds = 0;

    for (struct magazine *mag = depot_take_all(depot), *next; mag != NULL; mag = next) {
        next = mag->mag_next;
        for (uint32_t i = 0; i < mag->mag_rounds; i++)
            populate(p, mag->mag_round[i]);
        rounds += mag->mag_rounds;
        depot_put(depot, mag);
    }
    return rounds;
}

/* Adds an object to *mag; a full one goes to the depot for another.  False: no memory. */
static bool
stow(struct umem_cache *cp, struct magazine **mag, void *obj)
{
    struct depot *depot = &cp->cache_depot;
    struct magazine *surplus = NULL;

    if (*mag == NULL || (*mag)->mag_rounds == (*mag)->mag_size) {
        depot_put(depot, *mag);
        *mag = NULL;
        /* Small ones, so that several threads have their share. */
        if (!depot_get_empty(depot, mag, depot_next_size(depot, 0, false), &surplus))
            return false;
    }
    (*mag)->mag_round[(*mag)->mag_rounds++] = obj;
    return true;
}

/* Makes n objects for the depot.  False with errno: not all of them. */
static bool
add_objects(struct populate *p, size_t n)
{
    struct magazine *mag = NULL;
    bool good = true;

    for (; n > 0 && good; n--) {
        void *obj = umem_cache_make(p->pop_cache, UMEM_DEFAULT);
        if (obj == NULL) {
            good = false;
        } else if (!stow(p->pop_cache, &mag, obj)) {
            umem_cache_unmake(p->pop_cache, &obj, 1);
            good = false;
        } else {
            populate(p, obj);
        }
    }
    depot_put(&p->pop_cache->cache_depot, mag);
    return good;
}

static struct reserve *
reserve_of(umem_cache_t *cp)
{
    return atomic_load_explicit(&cp->cache_reserve, memory_order_acquire);
}

UMEM_EXPORT int
umem_cache_reserve(umem_cache_t *cp, size_t n)
{
    struct populate p = {.pop_cache = cp};
    int saved = errno;

    if (cp == NULL || reserve_of(cp) != NULL) {
        errno = EINVAL;
        return -1;
    }
    if (n > PTRDIFF_MAX / cp->cache_slabs.pool_chunk_size) {
        errno = ENOMEM;
        return -1;
    }
    atomic_store_explicit(&cp->cache_depot.depot_pinned, n > 0, memory_order_relaxed);
    if (n == 0)
        return 0;
    if (cp->cache_slow_bin != 0)
        (void)tcache_get(cp->cache_slow_bin); /* this thread's bin is there when it is needed */
    size_t rounds = populate_depot(&p);
    if (rounds < n && !add_objects(&p, n - rounds))
        return -1;
    errno = p.pop_failed ? ENOMEM : saved;
    return p.pop_failed ? -1 : 0;
}

UMEM_EXPORT int
umem_cache_seal(umem_cache_t *cp)
{
    struct populate p = {.pop_cache = cp};

    if (cp == NULL || reserve_of(cp) != NULL) {
        errno = EINVAL;
        return -1;
    }
    umem_quarantine_take_back(cp);
    /* Objects that are in use will be in the reserve when they are freed. */
    slab_pool_walk(&cp->cache_slabs, populate_chunk, &p);
    struct reserve *r = p.pop_failed ? NULL : reserve_create(cp->cache_slabs.pool_allocated);
    if (r == NULL) {
        errno = ENOMEM;
        return -1;
    }
    if (cp->cache_slow_bin != 0)
        tcache_bin_flush(cp->cache_slow_bin);
    for (struct magazine *mag = depot_take_all(&cp->cache_depot), *next; mag != NULL; mag = next) {
        next = mag->mag_next;
        while (mag->mag_rounds > 0)
            UMEM_VERIFY(reserve_put(r, mag->mag_round[--mag->mag_rounds]));
        depot_put(&cp->cache_depot, mag); /* for the day when the cache is unsealed */
    }
    atomic_store(&cp->cache_active, NULL); /* what is sealed is not audited */
    cp->cache_bin = 0;
    atomic_store_explicit(&cp->cache_reserve, r, memory_order_release);
    return 0;
}

UMEM_EXPORT int
umem_cache_unseal(umem_cache_t *cp)
{
    struct reserve *r = cp != NULL ? reserve_of(cp) : NULL;
    struct magazine *mag = NULL;
    int saved = errno;
    void *obj;

    if (r == NULL) {
        errno = EINVAL;
        return -1;
    }
    atomic_store_explicit(&cp->cache_reserve, NULL, memory_order_release);
    while ((obj = reserve_take(r)) != NULL)
        if (!stow(cp, &mag, obj))
            umem_cache_unmake(cp, &obj, 1);
    depot_put(&cp->cache_depot, mag);
    reserve_destroy(r);
    cp->cache_bin = umem_cache_is_closed(cp) ? 0 : cp->cache_slow_bin;
    errno = saved;
    return 0;
}

UMEM_EXPORT uint64_t
umem_cache_breaches(umem_cache_t *cp)
{
    return atomic_load_explicit(&cp->cache_breaches, memory_order_relaxed);
}
