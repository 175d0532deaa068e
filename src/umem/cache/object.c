/* SPDX-License-Identifier: MIT */
/*
 * object.c - objects of a cache: the way between a window that is empty or
 * full and the slabs.
 *
 *   alloc: previous magazine, depot, slab (a batch where nothing need
 *          be constructed), constructor
 *   free:  previous magazine, depot, destructor, slab
 *
 * An object in a magazine is constructed, unless the cache fills free memory
 * (UMF_DEADBEEF): then the constructor runs on every alloc and the destructor
 * on every free, and objects in magazines carry the fill.
 *
 * No lock is held round constructors, destructors, or reports.
 */
#include <errno.h>

#include "cache/cache.h"
#include "debug/debug.h"

/* Whether objects in magazines and windows are constructed ones. */
static bool
keeps_constructed(const struct umem_cache *cp)
{
    return (cp->cache_flags & UMF_DEADBEEF) == 0;
}

/*
 * Raw objects may wait in magazines only where neither constructor nor
 * destructor minds.  And a window is filled only from the heap: the source of
 * any other arena may be a function of the program's, which uses, and may
 * replace, this thread's windows.
 */
static bool
takes_batches(const struct umem_cache *cp)
{
    return cp->cache_slabs.pool_mapped &&
           (!keeps_constructed(cp) || (cp->cache_ctor == NULL && cp->cache_dtor == NULL));
}

/* Under fault injection windows stay closed, so that every allocation can fail. */
static bool
uses_magazines(const struct umem_cache *cp)
{
    return cp->cache_slow_bin != 0 && atomic_load_explicit(&umem_mtbf, memory_order_relaxed) == 0;
}

/* Fills the window of an empty loaded magazine from the slabs, lowest address on top. */
static bool
fill_window(struct umem_cache *cp, struct tbin *bin)
{
    void **window = bin->bin_base;
    unsigned got = slab_alloc(&cp->cache_slabs, window, (unsigned)(bin->bin_limit - window));

    for (unsigned i = 0; i < got / 2; i++) {
        void *swapped = window[i];
        window[i] = window[got - 1 - i];
        window[got - 1 - i] = swapped;
    }
    bin->bin_cur = window + got;
    return got > 0;
}

/* An object from the magazines, or a batch of raw ones made into a window; NULL: neither. */
static void *
get_from_window(struct umem_cache *cp)
{
    unsigned bin = cp->cache_slow_bin;
    struct tcache *tc = tcache_get(bin);
    if (tc != NULL && tc->tc_bin[bin].bin_cur == tc->tc_bin[bin].bin_base) {
        umem_update_if_due(cp); /* may run destructors, which may use any bin */
        tc = tcache_get(bin);
    }
    if (tc == NULL)
        return NULL;

    struct tbin *b = &tc->tc_bin[bin];
    if (b->bin_cur == b->bin_base && !tcache_refill(tc, bin)) {
        if (!takes_batches(cp) || !tcache_make_room(tc, bin) || !fill_window(cp, b))
            return NULL;
    }
    b->bin_allocs++;
    return tcache_pop(b);
}

/* One object straight from the slabs, constructed if that is this cache's way. */
static void *
get_from_slab(struct umem_cache *cp, int flags)
{
    enum slab_status status;
    void *obj;

    if (slab_alloc(&cp->cache_slabs, &obj, 1) == 0)
        return NULL;
    if (cp->cache_ctor != NULL && keeps_constructed(cp)) {
        errno = 0;
        if (cp->cache_ctor(obj, cp->cache_private, flags) != 0) {
            int error = errno != 0 ? errno : ENOMEM;
            (void)slab_free(&cp->cache_slabs, &obj, 1, &status);
            errno = error;
            return NULL;
        }
    }
    atomic_fetch_add_explicit(&cp->cache_slow_allocs, 1, memory_order_relaxed);
    return obj;
}

/* An object as the magazines hold them; NULL with errno. */
static void *
get(struct umem_cache *cp, int flags)
{
    void *obj = uses_magazines(cp) ? get_from_window(cp) : NULL;

    return obj != NULL ? obj : get_from_slab(cp, flags);
}

/* Reports what slab_free() found wrong with an address. */
static void
report_slab_status(struct umem_cache *cp, void *obj, enum slab_status status)
{
    enum umem_error kind = UMERR_BADADDR;

    if (status == SLAB_ALREADY_FREE)
        kind = UMERR_DUPFREE;
    else if (status == SLAB_NOT_A_CHUNK)
        kind = UMERR_BADBASE;
    umem_report(&(struct umem_error_info){.err_kind = kind, .err_addr = obj, .err_cache = cp});
}

/* Gives objects, as magazines hold them, back to their slabs. */
static void
put_to_slab(struct umem_cache *cp, void **objs, unsigned n)
{
    if (cp->cache_dtor != NULL && keeps_constructed(cp))
        for (unsigned i = 0; i < n; i++)
            cp->cache_dtor(objs[i], cp->cache_private);
    while (n > 0) {
        enum slab_status status;
        unsigned done = slab_free(&cp->cache_slabs, objs, n, &status);
        if (status == SLAB_OK)
            return;
        /* What cannot be taken back is reported and left alone; the rest goes on. */
        report_slab_status(cp, objs[done], status);
        objs += done + 1;
        n -= done + 1;
    }
}

static void
put(struct umem_cache *cp, void *obj)
{
    if (uses_magazines(cp)) {
        struct tcache *tc = tcache_get(cp->cache_slow_bin);
        if (tc != NULL && tcache_make_room(tc, cp->cache_slow_bin)) {
            tcache_push(&tc->tc_bin[cp->cache_slow_bin], obj);
            return;
        }
    }
    put_to_slab(cp, &obj, 1);
}

void
umem_cache_empty_magazines(struct umem_cache *cp, struct magazine *chain)
{
    for (struct magazine *mag = chain, *next; mag != NULL; mag = next) {
        next = mag->mag_next;
        put_to_slab(cp, mag->mag_round, mag->mag_rounds);
        magazine_destroy(mag);
    }
}

bool
umem_cache_describe(struct umem_cache *cp, const void *addr, struct umem_buffer *buf)
{
    struct slab *slab = slab_find(&cp->cache_slabs, addr);

    if (slab == NULL || slab_check(slab, addr) == SLAB_NOT_A_CHUNK)
        return false;
    uint32_t index = slab_chunk_index(slab, addr);
    *buf = (struct umem_buffer){
        .buf_cache = cp,
        .buf_bufctl = slab->slab_sidecar != NULL ? slab_sidecar(slab, index) : NULL,
        .buf_addr = slab_chunk(slab, index),
        .buf_space =
            cp->cache_flags & UMF_REDZONE ? cp->cache_bufspace : cp->cache_slabs.pool_chunk_size,
        .buf_flags = cp->cache_flags,
    };
    return true;
}

/* Takes objects until one passes the checks; corrupt ones have been reported and are dropped. */
static void *
get_checked(struct umem_cache *cp, size_t requested, int flags)
{
    struct umem_buffer buf;

    do {
        void *obj = get(cp, flags);
        if (obj == NULL)
            return NULL;
        UMEM_VERIFY(umem_cache_describe(cp, obj, &buf));
        UMEM_VERIFY(buf.buf_bufctl != NULL); /* a cache under debugging has sidecars */
        if (buf.buf_bufctl->bc_state == UMEM_BUFFER_RAW)
            umem_debug_raw(&buf);
    } while (!umem_debug_alloc(&buf, requested));

    if (cp->cache_ctor != NULL && !keeps_constructed(cp)) {
        errno = 0;
        if (cp->cache_ctor(buf.buf_addr, cp->cache_private, flags) != 0) {
            int error = errno != 0 ? errno : ENOMEM;
            if (umem_debug_free(&buf, SIZE_MAX)) {
                umem_debug_fill_free(&buf);
                put(cp, buf.buf_addr);
            }
            errno = error;
            return NULL;
        }
    }
    return buf.buf_addr;
}

UMEM_NOINLINE void *
umem_cache_alloc_slow(struct umem_cache *cp, size_t requested, int flags)
{
    int saved = errno; /* callers ask errno after successes too */
    bool reaped = false;

    (void)umem_ready();
    if (!(flags & UMEM_NOFAIL) && umem_fault_inject()) {
        atomic_fetch_add_explicit(&cp->cache_fails, 1, memory_order_relaxed);
        errno = ENOMEM;
        return NULL;
    }
    for (;;) {
        void *obj = cp->cache_flags != 0 ? get_checked(cp, requested, flags) : get(cp, flags);
        if (obj != NULL) {
            errno = saved;
            return obj;
        }

        atomic_fetch_add_explicit(&cp->cache_fails, 1, memory_order_relaxed);
        int error = errno;
        if (!reaped && umem_reap_plain()) {
            reaped = true; /* what other caches held may be what is missing here */
        } else if (!(flags & UMEM_NOFAIL) || !umem_nofail_retry()) {
            errno = error;
            return NULL;
        }
    }
}

/* What address a cache was given that is none of its objects. */
static void
report_bad_free(struct umem_cache *cp, void *buf)
{
    uint64_t word = pagemap_get(buf);
    struct umem_error_info err = {.err_kind = UMERR_BADADDR, .err_addr = buf, .err_cache = cp};
    struct slab *slab = slab_find(&cp->cache_slabs, buf);
    struct umem_buffer found;

    if (slab == NULL && pagemap_kind(word) == UMEM_PAGEMAP_SLAB) {
        slab = pagemap_pointer(word);
        err.err_kind = UMERR_BADCACHE;
    } else if (slab != NULL) {
        err.err_kind = UMERR_BADBASE;
    }
    if (slab != NULL && (char *)buf >= slab->slab_base) {
        uint32_t index = slab_chunk_index(slab, buf);
        if (index < slab->slab_chunks &&
            umem_cache_describe(umem_cache_of_slab(slab), slab_chunk(slab, index), &found))
            err.err_buffer = &found;
    }
    umem_report(&err);
}

UMEM_NOINLINE void
umem_cache_free_slow(struct umem_cache *cp, void *obj, size_t stated)
{
    struct umem_buffer buf;

    if (cp->cache_flags == 0) {
        put(cp, obj);
        return;
    }
    if (!umem_cache_describe(cp, obj, &buf)) {
        report_bad_free(cp, obj);
        return;
    }
    if (!umem_debug_free(&buf, stated))
        return;
    if (cp->cache_dtor != NULL && !keeps_constructed(cp))
        cp->cache_dtor(obj, cp->cache_private);
    umem_debug_fill_free(&buf);
    put(cp, obj);
}

UMEM_EXPORT void *
umem_cache_alloc(umem_cache_t *cp, int flags)
{
    struct tcache *tc = tcache_self;

    if (UMEM_LIKELY(cp->cache_bin < tc->tc_bins))
        return umem_cache_alloc_fast(cp, cp->cache_bin, cp->cache_bufsize, flags);
    return umem_cache_alloc_slow(cp, cp->cache_bufsize, flags);
}

UMEM_EXPORT void
umem_cache_free(umem_cache_t *cp, void *buf)
{
    struct tcache *tc = tcache_self;

    if (UMEM_LIKELY(cp->cache_bin < tc->tc_bins)) {
        struct tbin *bin = &tc->tc_bin[cp->cache_bin];
        if (UMEM_LIKELY(bin->bin_cur != bin->bin_limit)) {
            tcache_push(bin, buf);
            return;
        }
    }
    int error = errno;
    umem_cache_free_slow(cp, buf, SIZE_MAX);
    errno = error;
}
