/* SPDX-License-Identifier: MIT */
/*
 * object.c - objects of a cache: the way between a window that is empty or
 * full and the slabs.
 *
 *   alloc: previous magazine, depot, slab (a batch where nothing need
 *          be constructed), constructor
 *   free:  previous magazine, depot, destructor, slab
 *
 * A sealed cache has a reserve (reserve.h) in the place of its magazines.  A
 * cache that is audited at run time has a twin (twin.h), which both ask first.
 *
 * An object in a magazine is constructed, unless the cache fills free memory
 * (UMF_DEADBEEF): then the constructor runs on every alloc and the destructor
 * on every free, and objects in magazines carry the fill.
 *
 * No lock is held round constructors, destructors, or reports.
 */
#include <errno.h>

#include "cache/cache.h"
#include "cache/firewall.h"
#include "cache/quarantine.h"
#include "cache/reserve.h"
#include "cache/twin.h"
#include "debug/debug.h"
#include "os/watch.h"

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
    return cp->cache_slabs.pool_mapped && (!keeps_constructed(cp) || umem_cache_is_plain(cp));
}

/* Under fault injection windows stay closed, so that every allocation can fail. */
static bool
uses_magazines(const struct umem_cache *cp)
{
    return cp->cache_slow_bin != 0 && atomic_load_explicit(&umem_mtbf, memory_order_relaxed) == 0;
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

void
umem_cache_unmake(struct umem_cache *cp, void **objs, unsigned n)
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

/* Gives objects of a full magazine back to the slabs, and the magazine to the depot. */
static void
empty_surplus(struct umem_cache *cp, struct magazine *mag)
{
    if (mag == NULL)
        return;
    umem_cache_unmake(cp, mag->mag_round, mag->mag_rounds);
    mag->mag_rounds = 0;
    depot_put(&cp->cache_depot, mag);
}

static unsigned
take_raw(void *cp, void **out, unsigned n)
{
    return slab_alloc(&((struct umem_cache *)cp)->cache_slabs, out, n);
}

/*
 * The window of a cache that the fast path may not use, as under debugging: for
 * the slow path it is the same short way.  NULL: closed, or no other than the
 * one that had nothing for the fast path.
 */
static struct tbin *
window_of(const struct umem_cache *cp)
{
    struct tcache *tc = tcache_self;

    if (cp->cache_bin != 0 || cp->cache_slow_bin >= tc->tc_bins)
        return NULL;
    return &tc->tc_bin[cp->cache_slow_bin];
}

/* An object from the magazines, or one of a batch of raw ones; NULL: neither. */
static void *
get_from_bin(struct umem_cache *cp)
{
    struct tbin *window = window_of(cp);
    void *found;

    if (window != NULL && tcache_pop(window, &found))
        return found;
    uint32_t now_ms = umem_update_if_due(cp); /* may run destructors, which may use any bin */
    struct tcache *tc = tcache_get(cp->cache_slow_bin);
    void *obj = tc != NULL ? tcache_take(tc, cp->cache_slow_bin, now_ms) : NULL;

    if (obj == NULL && tc != NULL && takes_batches(cp))
        obj = tcache_fill(tc, cp->cache_slow_bin, take_raw, cp);
    return obj;
}

void *
umem_cache_make(struct umem_cache *cp, int flags)
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
    return obj;
}

static void
count_alloc(struct umem_cache *cp)
{
    atomic_fetch_add_explicit(&cp->cache_slow_allocs, 1, memory_order_relaxed);
}

/*
 * Tells a watched thread (os/watch.h) that it came to the slow path.  What a
 * sealed cache serves from its reserve does not count: see get() and put().
 */
static inline void
watch(const struct umem_cache *cp, enum os_watch_event event, size_t size)
{
    if (os_watched() && atomic_load_explicit(&cp->cache_reserve, memory_order_relaxed) == NULL)
        os_watch_note(event, size);
}

/* An object as the magazines hold them; NULL with errno. */
static void *
get(struct umem_cache *cp, int flags)
{
    struct reserve *reserve = atomic_load_explicit(&cp->cache_reserve, memory_order_acquire);
    void *obj;

    if (reserve != NULL) {
        obj = reserve_take(reserve);
        if (obj != NULL) {
            count_alloc(cp);
            return obj;
        }
        umem_cache_breach(cp);
        if (os_watched())
            os_watch_note(OS_WATCH_ALLOC, cp->cache_bufsize);
    } else if (uses_magazines(cp)) {
        obj = get_from_bin(cp);
        if (obj != NULL)
            return obj;
    }
    obj = umem_cache_make(cp, flags);
    if (obj != NULL)
        count_alloc(cp);
    return obj;
}

void
umem_cache_put(struct umem_cache *cp, void *obj)
{
    struct reserve *reserve = atomic_load_explicit(&cp->cache_reserve, memory_order_acquire);
    struct magazine *surplus;

    if (reserve != NULL) {
        if (reserve_put(reserve, obj))
            return;
        if (os_watched())
            os_watch_note(OS_WATCH_FREE, 0);
    } else if (uses_magazines(cp)) {
        struct tbin *window = window_of(cp);
        if (window != NULL && tcache_push(window, obj))
            return;
        uint32_t now_ms = umem_update_if_due(cp);
        struct tcache *tc = tcache_get(cp->cache_slow_bin);
        if (tc != NULL && tcache_put(tc, cp->cache_slow_bin, obj, now_ms, &surplus)) {
            empty_surplus(cp, surplus);
            return;
        }
    }
    umem_cache_unmake(cp, &obj, 1);
}

void
umem_cache_empty_magazines(struct umem_cache *cp, struct magazine *chain)
{
    for (struct magazine *mag = chain, *next; mag != NULL; mag = next) {
        next = mag->mag_next;
        umem_cache_unmake(cp, mag->mag_round, mag->mag_rounds);
        magazine_destroy(&cp->cache_depot, mag);
    }
}

static inline void
describe_chunk(struct umem_cache *cp, const struct slab *slab, uint32_t index,
               struct umem_buffer *buf)
{
    size_t chunk_size = cp->cache_slabs.pool_chunk_size;

    *buf = (struct umem_buffer){
        .buf_cache = cp,
        .buf_addr = slab_chunk(slab, index),
        .buf_space = chunk_size,
        .buf_flags = cp->cache_flags,
    };
    if (cp->cache_flags & UMF_REDZONE) {
        buf->buf_space = cp->cache_bufspace;
        buf->buf_gap = chunk_size - sizeof(struct umem_buftag) - cp->cache_bufspace;
    }
    if (slab->slab_sidecar == NULL)
        return;
    char *bufctl = slab_sidecar(slab, index);
    uint32_t distance = cp->cache_slabs.pool_sidecar;
    buf->buf_bufctl = (void *)bufctl;
    buf->buf_before = index > 0 ? (void *)(bufctl - distance) : NULL;
    buf->buf_behind = index + 1 < slab->slab_chunks ? (void *)(bufctl + distance) : NULL;
}

/* slab_find(), without the call where it is for each operation on a block. */
static inline struct slab *
find_slab(struct umem_cache *cp, const void *addr)
{
    if (UMEM_UNLIKELY(!cp->cache_slabs.pool_mapped))
        return slab_find(&cp->cache_slabs, addr);
    uint64_t word = pagemap_get(addr);
    if (UMEM_UNLIKELY(pagemap_kind(word) != UMEM_PAGEMAP_SLAB))
        return NULL;
    struct slab *slab = pagemap_pointer(word);
    return slab->slab_pool == &cp->cache_slabs ? slab : NULL;
}

static inline bool
describe(struct umem_cache *cp, const void *addr, struct umem_buffer *buf)
{
    struct slab *slab = find_slab(cp, addr);
    uint32_t index;

    if (slab == NULL || !slab_is_chunk(slab, addr, &index))
        return false;
    describe_chunk(cp, slab, index, buf);
    return true;
}

UMEM_COLD void
umem_cache_describe_chunk(struct umem_cache *cp, const struct slab *slab, uint32_t index,
                          struct umem_buffer *buf)
{
    describe_chunk(cp, slab, index, buf);
}

UMEM_COLD bool
umem_cache_describe(struct umem_cache *cp, const void *addr, struct umem_buffer *buf)
{
    return describe(cp, addr, buf);
}

/* Takes objects until one passes the checks; corrupt ones have been reported and are dropped. */
static UMEM_COLD void *
get_checked(struct umem_cache *cp, size_t requested, int flags, const void *frame)
{
    struct umem_buffer buf;

    umem_debug_signal(cp->cache_flags);
    do {
        void *obj = get(cp, flags);
        if (obj == NULL)
            return NULL;
        UMEM_VERIFY(describe(cp, obj, &buf));
        UMEM_VERIFY(buf.buf_bufctl != NULL); /* a cache under debugging has sidecars */
        buf.buf_frame = frame;
        if (buf.buf_bufctl->bc_state == UMEM_BUFFER_RAW)
            umem_debug_raw(&buf);
    } while (!umem_debug_alloc(&buf, requested));

    if (cp->cache_ctor != NULL && !keeps_constructed(cp)) {
        errno = 0;
        if (cp->cache_ctor(buf.buf_addr, cp->cache_private, flags) != 0) {
            int error = errno != 0 ? errno : ENOMEM;
            if (umem_debug_free(&buf, SIZE_MAX)) {
                umem_debug_fill_free(&buf);
                umem_cache_put(cp, buf.buf_addr);
            }
            errno = error;
            return NULL;
        }
    }
    return buf.buf_addr;
}

/*
 * One try, NULL with errno.  Where neither firewall nor twin can serve, the cache
 * does.  A sealed cache's objects are made: its threads may not call the system.
 */
static void *
take(struct umem_cache *cp, size_t requested, size_t align, int flags, const void *frame)
{
    const struct umem_request req = {.req_cache = cp,
                                     .req_size = requested,
                                     .req_align = align,
                                     .req_flags = flags,
                                     .req_frame = frame};
    void *obj;

    if (atomic_load_explicit(&cp->cache_reserve, memory_order_relaxed) == NULL &&
        umem_guarded_alloc(&req, &obj)) {
        if (obj != NULL)
            count_alloc(cp);
        return obj;
    }
    cp = umem_cache_with_room(cp, requested, align, flags);
    struct umem_cache *twin = umem_twin_enter(cp, requested);
    if (UMEM_UNLIKELY(twin != NULL)) {
        obj = get_checked(twin, requested, flags, frame);
        umem_twin_leave(twin);
        if (obj != NULL)
            return obj;
    }
    return cp->cache_flags != 0 ? get_checked(cp, requested, flags, frame) : get(cp, flags);
}

UMEM_NOINLINE void *
umem_cache_alloc_slow_aligned(struct umem_cache *cp, size_t requested, size_t align, int flags)
{
    int saved = errno; /* callers ask errno after successes too */
    const void *frame = __builtin_frame_address(0);
    bool reaped = false;

    watch(cp, OS_WATCH_ALLOC, requested);
    (void)umem_ready();
    umem_verify_if_asked(cp);
    if (!(flags & UMEM_NOFAIL) && umem_fault_inject()) {
        atomic_fetch_add_explicit(&cp->cache_fails, 1, memory_order_relaxed);
        umem_debug_null(cp, requested, ENOMEM, UMEM_WHY_INJECTED);
        errno = ENOMEM;
        return NULL;
    }
    for (;;) {
        void *obj = take(cp, requested, align, flags, frame);
        if (obj != NULL) {
            errno = saved;
            return obj;
        }

        atomic_fetch_add_explicit(&cp->cache_fails, 1, memory_order_relaxed);
        int error = errno;
        if (!reaped && umem_reap_plain()) {
            reaped = true; /* what other caches held may be what is missing here */
        } else if (!(flags & UMEM_NOFAIL) || !umem_nofail_retry(cp, requested, error)) {
            umem_debug_null(cp, requested, error,
                            cp->cache_ctor == NULL ? UMEM_WHY_MEMORY : UMEM_WHY_CONSTRUCTOR);
            errno = error;
            return NULL;
        }
    }
}

/*
 * Freed objects that carry the fill wait before they can be handed out again,
 * but for those of caches that are to have them ready.
 */
static bool
waits(struct umem_cache *cp)
{
    return (cp->cache_flags & UMF_DEADBEEF) != 0 &&
           umem_quarantine_takes(cp->cache_slabs.pool_chunk_size) &&
           !depot_is_pinned(&cp->cache_depot) &&
           atomic_load_explicit(&cp->cache_reserve, memory_order_relaxed) == NULL;
}

UMEM_COLD void
umem_cache_leave(struct umem_cache *cp, void *obj)
{
    struct umem_buffer buf;

    UMEM_VERIFY(describe(cp, obj, &buf));
    if (umem_debug_check_free(&buf))
        umem_cache_put(cp, obj);
}

/* The chunk that an address is in; false: it is in none. */
static bool
find_chunk(const struct slab *slab, const void *addr, struct umem_buffer *buf)
{
    if ((const char *)addr < slab->slab_base)
        return false;
    uint32_t index = slab_chunk_index(slab, addr);
    if (index >= slab->slab_chunks)
        return false;
    umem_cache_describe_chunk(umem_cache_of_slab(slab), slab, index, buf);
    return true;
}

UMEM_COLD void
umem_cache_report_free(struct umem_cache *cp, void *buf)
{
    uint64_t word = pagemap_get(buf);
    struct slab *slab = cp != NULL ? slab_find(&cp->cache_slabs, buf) : NULL;
    struct umem_error_info err = {.err_addr = buf, .err_cache = cp};
    struct umem_buffer found;

    err.err_kind = slab != NULL ? UMERR_BADBASE : UMERR_BADCACHE;
    if (slab == NULL)
        slab = umem_cache_find_slab(buf);
    if (pagemap_kind(word) == UMEM_PAGEMAP_FIREWALL) {
        umem_firewall_free(cp, buf, word, SIZE_MAX); /* knows what it is, and says so */
        return;
    }
    if (slab != NULL ? find_chunk(slab, buf, &found) : umem_large_find(buf, &found))
        err.err_buffer = &found;
    else if (umem_large_report_freed(buf))
        return;
    else
        err.err_kind = UMERR_BADADDR;
    umem_report(&err);
}

static void
free_slow(struct umem_cache *cp, void *obj, size_t stated, const void *frame)
{
    struct umem_buffer buf;

    if (UMEM_UNLIKELY(cp->cache_firewall != SIZE_MAX)) {
        uint64_t word = pagemap_get(obj);
        if (pagemap_kind(word) == UMEM_PAGEMAP_FIREWALL) {
            umem_firewall_free(cp, obj, word, stated);
            return;
        }
    }
    cp = umem_twin_of(cp, obj);
    if (cp->cache_flags == 0) {
        umem_cache_put(cp, obj);
        return;
    }
    umem_debug_signal(cp->cache_flags);
    if (UMEM_UNLIKELY(!describe(cp, obj, &buf))) {
        umem_cache_report_free(cp, obj);
        return;
    }
    buf.buf_frame = frame;
    if (!umem_debug_free(&buf, stated))
        return;
    if (cp->cache_dtor != NULL && !keeps_constructed(cp))
        cp->cache_dtor(obj, cp->cache_private);
    umem_debug_fill_free(&buf);
    if (!waits(cp) ||
        !umem_quarantine_put(cp, obj, buf.buf_bufctl, cp->cache_slabs.pool_chunk_size))
        umem_cache_put(cp, obj);
}

/* Keeps errno, so that the fast path need not save what it would after this call. */
void
umem_cache_free_from(struct umem_cache *cp, void *obj, size_t stated, const void *frame)
{
    int error = errno;

    watch(cp, OS_WATCH_FREE, 0);
    free_slow(cp, obj, stated, frame);
    errno = error;
}

UMEM_NOINLINE void
umem_cache_free_slow(struct umem_cache *cp, void *obj, size_t stated)
{
    umem_cache_free_from(cp, obj, stated, __builtin_frame_address(0));
    UMEM_KEEP_FRAME();
}

UMEM_EXPORT UMEM_SHORT void *
umem_cache_alloc(umem_cache_t *cp, int flags)
{
    struct tcache *tc = tcache_self;

    if (UMEM_LIKELY(cp->cache_bin < tc->tc_bins))
        return umem_cache_alloc_fast(cp, cp->cache_bin, cp->cache_bufsize, flags);
    return umem_cache_alloc_slow(cp, cp->cache_bufsize, flags);
}

UMEM_EXPORT UMEM_SHORT void
umem_cache_free(umem_cache_t *cp, void *buf)
{
    struct tcache *tc = tcache_self;

    if (UMEM_LIKELY(cp->cache_bin < tc->tc_bins && tcache_push(tcache_bin(cp->cache_bin), buf)))
        return;
    umem_cache_free_slow(cp, buf, SIZE_MAX);
}

/* Bin 0: the window is closed, or there is none. */
UMEM_EXPORT int
umem_cache_watched(umem_cache_t *cp)
{
    return cp->cache_bin == 0 ||
           atomic_load_explicit(&cp->cache_active, memory_order_relaxed) != NULL ||
           atomic_load_explicit(&umem_mtbf, memory_order_relaxed) != 0;
}
