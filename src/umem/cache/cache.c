/* SPDX-License-Identifier: MIT */
/*
 * cache.c - caches are created and destroyed here.
 *
 * A cache is a depot over a slab pool, and a bin in every thread cache.  Under
 * debugging the fast path's bin is 0, whose window never opens, so that every
 * operation comes through object.c.
 *
 * Locks: umem_caches_lock (UMEM_RANK_CACHES) for the list.
 */
#include "cache/cache.h"

#include <errno.h>
#include <string.h>

#include "cache/audit.h"
#include "cache/firewall.h"
#include "cache/object_short.h"
#include "cache/quarantine.h"
#include "cache/twin.h"
#include "debug/debug.h"
#include "os/meta.h"
#include "os/os.h"

#define ALIGN_DEFAULT 8       /* a pointer */
#define ALIGN_DEFAULT_16 16   /* what the ABI promises from 16 bytes up */
#define NOTEMPTY_SHOWN_MAX 16 /* live objects whose stacks a destroyed cache shows */

struct umem_list umem_caches = UMEM_LIST_INIT(umem_caches);
struct umem_lock umem_caches_lock = UMEM_LOCK_INIT(UMEM_RANK_CACHES);

uint32_t
umem_cache_debug_flags(int cflags, uint32_t wanted)
{
    if (cflags & UMC_NODEBUG)
        return 0;
    uint32_t flags = wanted & UMF_DEBUG;
    if ((cflags & (UMC_NOTOUCH | UMC_NOHASH)) == 0)
        return flags;
    /* Objects that must not be touched: what can be kept elsewhere. */
    return (flags & UMF_AUDIT) | ((wanted & (UMF_BUFTAG | UMF_STATE)) != 0 ? UMF_STATE : 0);
}

/*
 * From what size on a cache's objects go behind a firewall.  Not where they must
 * not be touched, need no record, or come from an arena of the program's.
 */
static size_t
firewall_min(const struct umem_cache_args *args)
{
    bool heap =
        args->args_slab_min == 0 && (args->args_arena == NULL || args->args_arena == &vmem_heap);

    if (!heap || (args->args_cflags & (UMC_NODEBUG | UMC_NOTOUCH | UMC_NOHASH)) != 0 ||
        args->args_bufsize < umem_options.opt_firewall)
        return SIZE_MAX;
    return umem_options.opt_firewall;
}

/* Alignment and chunk size of a cache.  False with EINVAL. */
static bool
choose_geometry(struct umem_cache *cp, const struct umem_cache_args *args,
                struct slab_geometry *geo)
{
    vmem_t *arena = args->args_arena != NULL ? args->args_arena : &vmem_heap;
    size_t align = args->args_align;
    /* Quantum caches hold numbers, not memory: their alignment is the quantum as it is. */
    size_t align_min = args->args_slab_min != 0 ? 1 : ALIGN_DEFAULT;
    if (align == 0)
        align = args->args_bufsize >= ALIGN_DEFAULT_16 ? ALIGN_DEFAULT_16 : ALIGN_DEFAULT;
    align = umem_max(align, align_min);

    size_t tag = cp->cache_flags & UMF_REDZONE ? sizeof(struct umem_buftag) : 0;
    size_t space = umem_align_up(args->args_bufsize, align_min);
    size_t chunk = umem_align_up(args->args_holds_tag ? space : space + tag, align);
    if (!umem_is_pow2(align) || align > arena->vm_quantum) {
        errno = EINVAL;
        return false;
    }
    if (space < args->args_bufsize || chunk < space || chunk > PTRDIFF_MAX - align) {
        errno = ENOMEM;
        return false;
    }
    if ((args->args_cflags & UMC_NOHASH) && chunk > umem_max(arena->vm_quantum, os_page_size())) {
        errno = EINVAL;
        return false;
    }
    cp->cache_bufspace = args->args_holds_tag ? space - tag : space;
    *geo = (struct slab_geometry){
        .geo_arena = arena,
        .geo_quantum = arena->vm_quantum,
        .geo_mapped = arena == &vmem_heap,
        .geo_chunk_size = chunk,
        .geo_align = align,
        .geo_lead = umem_align_up(tag, align), /* a head tag */
        .geo_slab_min = args->args_slab_min,
        .geo_sidecar = umem_bufctl_size(cp->cache_flags),
    };
    return true;
}

bool
umem_cache_is_closed(const struct umem_cache *cp)
{
    return cp->cache_flags != 0 || cp->cache_firewall != SIZE_MAX || umem_options.opt_fail != 0;
}

static void
choose_bins(struct umem_cache *cp, const struct umem_cache_args *args)
{
    if ((args->args_cflags & UMC_NOMAGAZINE) || umem_options.opt_nomagazines ||
        !depot_suits_bins(&cp->cache_depot))
        return;
    bool closed = umem_cache_is_closed(cp);
    cp->cache_slow_bin = (uint16_t)tcache_bin_create(closed ? 0 : args->args_bin, &cp->cache_depot);
    cp->cache_bin = closed ? 0 : cp->cache_slow_bin;
}

int
umem_cache_set_up(struct umem_cache *cp, const struct umem_cache_args *args)
{
    struct slab_geometry geo;

    cp->cache_flags = umem_cache_debug_flags(
        args->args_cflags,
        args->args_debug != 0 ? args->args_debug : umem_debug_flags(args->args_name));
    cp->cache_firewall = firewall_min(args);
    cp->cache_cflags = (uint32_t)args->args_cflags;
    cp->cache_ctor = args->args_ctor;
    cp->cache_dtor = args->args_dtor;
    cp->cache_reclaim = args->args_reclaim;
    cp->cache_private = args->args_private;
    cp->cache_bufsize = args->args_bufsize;
    strncpy(cp->cache_name, args->args_name, sizeof(cp->cache_name) - 1);
    if (!choose_geometry(cp, args, &geo))
        return -1;
    depot_init(&cp->cache_depot, geo.geo_chunk_size, geo.geo_mapped && umem_cache_is_plain(cp));
    choose_bins(cp, args);
    /* Only blocks of a size class may go to free(), whose fast path asks for no more than a bin. */
    geo.geo_bin = args->args_bin != 0 ? cp->cache_bin : 0;
    if (slab_pool_init(&cp->cache_slabs, &geo) != 0) {
        if (cp->cache_slow_bin != 0)
            tcache_bin_destroy(cp->cache_slow_bin);
        return -1;
    }
    cp->cache_short = umem_short_suits(cp, args->args_bin != 0);
    return 0;
}

UMEM_COLD int
umem_cache_init(struct umem_cache *cp, const struct umem_cache_args *args)
{
    if (umem_cache_set_up(cp, args) != 0)
        return -1;
    umem_lock_acquire(&umem_caches_lock);
    umem_list_push_back(&umem_caches, &cp->cache_link);
    umem_lock_release(&umem_caches_lock);
    return 0;
}

UMEM_COLD struct umem_cache *
umem_cache_new(const struct umem_cache_args *args)
{
    struct umem_cache *cp = umem_meta_alloc(sizeof(*cp));

    if (cp == NULL || umem_cache_init(cp, args) == 0)
        return cp;
    int error = errno;
    umem_meta_free(cp, sizeof(*cp));
    errno = error;
    return NULL;
}

UMEM_EXPORT UMEM_COLD umem_cache_t *
umem_cache_create(const char *name, size_t bufsize, size_t align, umem_constructor_t *ctor,
                  umem_destructor_t *dtor, umem_reclaim_t *reclaim, void *private_data, vmem_t *vmp,
                  int cflags)
{
    if (name == NULL || bufsize == 0 || (align != 0 && !umem_is_pow2(align)) ||
        ((cflags & UMC_NOHASH) && (cflags & UMC_NOTOUCH))) {
        errno = EINVAL;
        return NULL;
    }
    (void)umem_ready();
    struct umem_cache_args args = {
        .args_name = name,
        .args_bufsize = bufsize,
        .args_align = align,
        .args_ctor = ctor,
        .args_dtor = dtor,
        .args_reclaim = reclaim,
        .args_private = private_data,
        .args_arena = vmp,
        .args_cflags = cflags,
    };
    struct umem_cache *cp = umem_cache_new(&args);
    if (cp != NULL)
        umem_audit_adopt(cp);
    return cp;
}

struct live_report {
    struct umem_cache *live_cache;
    size_t live_count;
};

static UMEM_COLD void
report_live(void *arg, struct slab *slab, void *obj)
{
    struct live_report *live = arg;
    struct umem_buffer buf;

    (void)slab;
    if (live->live_count++ >= NOTEMPTY_SHOWN_MAX)
        return;
    if (live->live_cache->cache_flags != 0 && umem_cache_describe(live->live_cache, obj, &buf))
        umem_report(&(struct umem_error_info){.err_kind = UMERR_NOTEMPTY,
                                              .err_addr = obj,
                                              .err_buffer = &buf,
                                              .err_cache = live->live_cache});
}

/* Says that objects live, each with what is known of it. */
static UMEM_COLD void
report_not_empty(struct umem_cache *cp, size_t guarded)
{
    struct live_report live = {.live_cache = cp};

    umem_message(true, "umem_cache_destroy: cache '%s' not empty: %zu objects are allocated",
                 cp->cache_name, cp->cache_slabs.pool_allocated + guarded);
    slab_pool_walk(&cp->cache_slabs, report_live, &live);
}

static bool destroy(struct umem_cache *cp);

/* Those with live objects stay, for frees to find.  False: there are such. */
static UMEM_COLD bool
destroy_twins(struct umem_cache *cp)
{
    struct umem_cache *kept = NULL;

    for (struct umem_cache *twin = umem_twin_first(cp), *next; twin != NULL; twin = next) {
        next = twin->cache_next_twin;
        if (!destroy(twin)) {
            twin->cache_next_twin = kept;
            kept = twin;
        }
    }
    atomic_store(&cp->cache_active, NULL);
    atomic_store(&cp->cache_twins, kept);
    return kept == NULL;
}

/* False: objects live, and the record stays in place. */
static UMEM_COLD bool
destroy(struct umem_cache *cp)
{
    if (atomic_load_explicit(&cp->cache_reserve, memory_order_relaxed) != NULL)
        (void)umem_cache_unseal(cp);
    umem_quarantine_take_back(cp);
    bool excluded = umem_reap_exclude();
    umem_update_forget(cp);
    umem_lock_acquire(&umem_caches_lock);
    umem_list_remove(&cp->cache_link);
    umem_lock_release(&umem_caches_lock);
    umem_reap_admit(excluded);

    bool alone = destroy_twins(cp);
    if (cp->cache_slow_bin != 0)
        tcache_bin_destroy(cp->cache_slow_bin);
    /* The bin is another cache's from now on; objects that live may still be freed here. */
    cp->cache_bin = 0;
    cp->cache_slow_bin = 0;
    umem_cache_empty_magazines(cp, depot_take_all(&cp->cache_depot));
    size_t guarded =
        cp->cache_firewall != SIZE_MAX ? umem_firewall_forget(cp, NOTEMPTY_SHOWN_MAX) : 0;
    if (cp->cache_slabs.pool_allocated + guarded != 0) {
        /* Their slabs, and this record that the page map leads to, stay in place. */
        report_not_empty(cp, guarded);
        return false;
    }
    slab_pool_fini(&cp->cache_slabs);
    if (alone)
        umem_meta_free(cp, sizeof(*cp));
    return alone;
}

UMEM_COLD struct slab *
umem_cache_find_slab(const void *addr)
{
    uint64_t word = pagemap_get(addr);
    struct slab *slab = NULL;

    if (word != 0)
        return pagemap_kind(word) == UMEM_PAGEMAP_SLAB ? pagemap_pointer(word) : NULL;
    umem_lock_acquire(&umem_caches_lock);
    UMEM_LIST_FOR (node, &umem_caches) {
        struct umem_cache *cp = UMEM_CONTAINER_OF(node, struct umem_cache, cache_link);
        if (cp->cache_slabs.pool_mapped)
            continue;
        slab = slab_find(&cp->cache_slabs, addr);
        if (slab != NULL)
            break;
    }
    umem_lock_release(&umem_caches_lock);
    return slab;
}

UMEM_EXPORT void
umem_cache_destroy(umem_cache_t *cp)
{
    if (cp != NULL)
        (void)destroy(cp);
}
