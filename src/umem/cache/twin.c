/* SPDX-License-Identifier: MIT */
/*
 * twin.c - making twins, switching between a cache and its twin, and finding
 * out when a twin has all its objects back.
 *
 * Whoever allocates from a twin enters it first: counts itself in, then looks
 * again whether the twin is active.  Whoever wants to know that nothing more
 * can come from a twin makes it inactive, then looks at the count.  Of two
 * threads that do so at once one sees the other (sequentially consistent).  A
 * constructor that leaves by longjmp() leaves the count behind: the side of
 * free then stays closed, which is slow and right.
 *
 * Owns no lock; see twin.h.
 */
#include "cache/twin.h"

#include "base/print.h"
#include "cache/audit.h"
#include "debug/debug.h"

#define SUFFIX_AUDIT "+audit"
#define SUFFIX_GUARDS "+guards"

static struct umem_cache *
create(struct umem_cache *cp, uint32_t flags)
{
    const char *suffix = (flags & UMF_BUFTAG) != 0 ? SUFFIX_GUARDS : SUFFIX_AUDIT;
    char name[UMEM_CACHE_NAME_SIZE];

    umem_snprintf(name, sizeof(name), "%.*s%s", (int)(sizeof(name) - sizeof(SUFFIX_GUARDS)),
                  cp->cache_name, suffix);
    struct umem_cache *twin = umem_cache_new(&(struct umem_cache_args){
        .args_name = name,
        .args_bufsize = cp->cache_bufsize,
        .args_align = cp->cache_slabs.pool_align,
        .args_ctor = cp->cache_ctor,
        .args_dtor = cp->cache_dtor,
        .args_private = cp->cache_private,
        .args_arena = cp->cache_slabs.pool_arena,
        .args_cflags = (int)cp->cache_cflags,
        .args_debug = flags,
    });
    if (twin == NULL)
        return NULL;
    twin->cache_original = cp;
    twin->cache_next_twin = umem_twin_first(cp);
    atomic_store_explicit(&cp->cache_twins, twin, memory_order_release);
    return twin;
}

static bool
has_objects_out(struct umem_cache *twin)
{
    if (atomic_load(&twin->cache_entered) != 0)
        return true;
    umem_lock_acquire(&twin->cache_slabs.pool_lock);
    bool out = twin->cache_slabs.pool_allocated != 0;
    umem_lock_release(&twin->cache_slabs.pool_lock);
    return out;
}

static void
divert(struct umem_cache *cp, unsigned sides)
{
    unsigned bin = cp->cache_slow_bin;

    if (bin != 0 && cp->cache_depot.depot_diverted != sides)
        tcache_divert(bin, sides);
}

bool
umem_twin_start(struct umem_cache *cp, uint32_t flags)
{
    struct umem_cache *twin = umem_twin_first(cp);

    while (twin != NULL && twin->cache_flags != flags)
        twin = twin->cache_next_twin;
    if (twin == NULL)
        twin = create(cp, flags);
    if (twin == NULL)
        return false;
    divert(cp, umem_is_class_cache(cp) ? TCACHE_ALLOC_SIDE : TCACHE_ALLOC_SIDE | TCACHE_FREE_SIDE);
    atomic_store(&cp->cache_active, twin);
    return true;
}

void
umem_twin_settle(struct umem_cache *cp)
{
    unsigned sides = 0;

    if (!umem_is_class_cache(cp))
        for (struct umem_cache *twin = umem_twin_first(cp); twin; twin = twin->cache_next_twin)
            if (has_objects_out(twin))
                sides = TCACHE_FREE_SIDE;
    divert(cp, sides);
}

void
umem_twin_stop(struct umem_cache *cp)
{
    atomic_store(&cp->cache_active, NULL);
    umem_twin_settle(cp);
}

UMEM_NOINLINE struct umem_cache *
umem_twin_enter_slow(struct umem_cache *cp, size_t requested)
{
    struct umem_cache *twin = atomic_load_explicit(&cp->cache_active, memory_order_acquire);

    if (twin == NULL || tcache_is_exempt() || !umem_audit_wants(requested))
        return NULL;
    atomic_fetch_add(&twin->cache_entered, 1);
    if (atomic_load(&cp->cache_active) == twin)
        return twin;
    umem_twin_leave(twin);
    return NULL;
}

void
umem_twin_leave(struct umem_cache *twin)
{
    atomic_fetch_sub(&twin->cache_entered, 1);
}

UMEM_NOINLINE struct umem_cache *
umem_twin_of_slow(struct umem_cache *cp, const void *obj)
{
    for (struct umem_cache *twin = umem_twin_first(cp); twin != NULL; twin = twin->cache_next_twin)
        if (slab_find(&twin->cache_slabs, obj) != NULL)
            return twin;
    return cp;
}
