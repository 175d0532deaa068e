/* SPDX-License-Identifier: MIT */
/*
 * object_short.c - see object_short.h.  What is checked and written here, and
 * in which order, is what debug/check.c checks and writes; it has the reasons.
 *
 * No lock but those of the quarantine, and of a thread's bin whose window is
 * full.
 */
#include "cache/object_short.h"

#include <errno.h>

#include "cache/firewall.h"
#include "cache/quarantine.h"
#include "debug/contents.h"
#include "debug/debug.h"
#include "debug/tag.h"
#include "os/watch.h"

UMEM_USUAL bool
umem_short_suits(const struct umem_cache *cp, bool is_class)
{
    uint32_t flags = cp->cache_flags;
    bool guards = (flags & UMF_BUFTAG) == UMF_BUFTAG, audits = flags == UMF_AUDIT;
    size_t tag = guards ? sizeof(struct umem_buftag) : 0;
    size_t chunk = cp->cache_slabs.pool_chunk_size;

    /* Nor where each allocation is counted, or the callers of each are asked for. */
    return is_class && (guards || audits) && cp->cache_bufspace + tag == chunk &&
           cp->cache_firewall == SIZE_MAX && umem_options.opt_sample == 0 &&
           umem_options.opt_fail == 0 && !umem_options.opt_nosignal &&
           (!guards ||
            (umem_options.opt_maxverify >= cp->cache_bufspace && umem_quarantine_takes(chunk)));
}

static UMEM_ALWAYS_INLINE bool
has_guards(const struct umem_cache *cp)
{
    return (cp->cache_flags & UMF_BUFTAG) != 0;
}

static UMEM_ALWAYS_INLINE bool
has_audit(const struct umem_cache *cp)
{
    return (cp->cache_flags & UMF_AUDIT) != 0;
}

static UMEM_ALWAYS_INLINE struct umem_buftag *
tag_of(const struct umem_cache *cp, const void *obj)
{
    return (struct umem_buftag *)(void *)((char *)obj + cp->cache_bufspace);
}

/* The window that the slow path may use, or NULL. */
static UMEM_ALWAYS_INLINE struct tbin *
window_of(const struct umem_cache *cp)
{
    struct tcache *tc = tcache_self;

    /* Under fault injection all come to the long way. */
    if (UMEM_UNLIKELY(cp->cache_slow_bin >= tc->tc_bins ||
                      atomic_load_explicit(&umem_mtbf, memory_order_relaxed) != 0))
        return NULL;
    return &tc->tc_bin[cp->cache_slow_bin];
}

/* A free object with guards: fill and tag. */
static UMEM_ALWAYS_INLINE bool
holds_fill(const struct umem_cache *cp, const void *obj, const struct umem_bufctl *bc)
{
    return umem_is_run(obj, cp->cache_bufspace, UMEM_FREE_WORD) &&
           umem_tag_differences(tag_of(cp, obj), umem_tag_words(bc, 0, UMEM_BUFTAG_FREE)) == 0;
}

/* Whether an object of the window's is as a free one, or one that was never used, should be. */
static UMEM_ALWAYS_INLINE bool
is_fresh(const struct umem_cache *cp, const struct slab *slab, const void *obj,
         const struct umem_bufctl *bc)
{
    uint32_t state = umem_bufctl_state(bc);

    if (UMEM_LIKELY(state == UMEM_BUFFER_FREE))
        return !has_guards(cp) || holds_fill(cp, obj, bc);
    /* Zeroed with its slab.  The first one's head tag is written the long way. */
    return state == UMEM_BUFFER_RAW && obj != slab->slab_base;
}

/* An object of the window's, handed out; NULL: nothing was done. */
static UMEM_ALWAYS_INLINE void *
take(struct umem_cache *cp, size_t requested, const void *frame)
{
    struct tbin *window = window_of(cp);
    void *obj;

    if (UMEM_UNLIKELY(window == NULL || !tcache_pop(window, &obj)))
        return NULL;
    const struct slab *slab = pagemap_pointer(pagemap_get(obj));
    struct umem_bufctl *bc = slab_sidecar(slab, slab_chunk_index(slab, obj));
    if (UMEM_UNLIKELY(!is_fresh(cp, slab, obj, bc))) {
        (void)tcache_push(window, obj);
        return NULL;
    }
    umem_bufctl_turn(bc);
    umem_bufctl_set_size(bc, requested);
    if (has_guards(cp)) {
        umem_fill_fresh_and_slack(obj, cp->cache_bufspace, requested);
        umem_tag_store(tag_of(cp, obj), umem_tag_words(bc, requested, UMEM_BUFTAG_ALLOCATED));
    }
    if (has_audit(cp))
        umem_audit_logged(bc, frame, obj, cp, UMEM_EVENT_ALLOC);
    __atomic_store_n(&bc->bc_state, UMEM_BUFFER_ALLOCATED, __ATOMIC_RELEASE);
    return obj;
}

/* Whether an allocation from the cache may go the short way just now. */
static UMEM_ALWAYS_INLINE bool
is_usual(const struct umem_cache *cp)
{
    return cp->cache_short && !os_watched() &&
           !atomic_load_explicit(&umem_verify_asked, memory_order_relaxed) &&
           atomic_load_explicit(&cp->cache_active, memory_order_relaxed) == NULL;
}

UMEM_USUAL UMEM_NOINLINE void *
umem_cache_alloc_slow(struct umem_cache *cp, size_t requested, int flags)
{
    /* While another thread sets the engine up some classes are made, others are not. */
    if (umem_is_ready() && cp->cache_short) {
        struct umem_cache *from = umem_cache_with_room(cp, requested, 0, flags);
        if (UMEM_LIKELY(is_usual(from))) {
            void *obj = take(from, requested, __builtin_frame_address(0));
            if (UMEM_LIKELY(obj != NULL))
                return obj;
        }
    }
    return umem_cache_alloc_slow_aligned(cp, requested, 0, flags);
}

/* What lies before an object, behind it, and in its bufctl. */
static UMEM_ALWAYS_INLINE bool
is_sound(const struct umem_cache *cp, const void *obj, const struct umem_bufctl *bc, bool first,
         size_t stated)
{
    uint64_t size = bc->bc_size;

    if (UMEM_UNLIKELY(umem_bufctl_state(bc) != UMEM_BUFFER_ALLOCATED) ||
        UMEM_UNLIKELY(size > cp->cache_bufspace) ||
        UMEM_UNLIKELY(stated != SIZE_MAX && stated != size))
        return false;
    if (!has_guards(cp))
        return true;
    const struct umem_bufctl *front =
        first ? bc : (const void *)((const char *)bc - cp->cache_slabs.pool_sidecar);
    return umem_tag_is_of((const struct umem_buftag *)obj - 1, front) &&
           umem_slack_and_tag_hold((const char *)obj + size, tag_of(cp, obj),
                                   umem_tag_words(bc, size, UMEM_BUFTAG_ALLOCATED));
}

/* Fills an object that was freed, and lets it wait, or gives it to the next one. */
static UMEM_ALWAYS_INLINE void
pass_on(struct umem_cache *cp, void *obj, struct umem_bufctl *bc)
{
    if ((cp->cache_flags & UMF_CONTENTS) != 0)
        umem_contents_log(obj, umem_min((size_t)bc->bc_size, umem_options.opt_contents_bytes));
    if (!has_guards(cp)) {
        umem_bufctl_turn(bc);
        umem_cache_put(cp, obj);
        return;
    }
    umem_fill(obj, cp->cache_bufspace, UMEM_FREE_WORD);
    umem_tag_store(tag_of(cp, obj), umem_tag_words(bc, 0, UMEM_BUFTAG_FREE));
    umem_bufctl_turn(bc);
    if (UMEM_UNLIKELY(!umem_quarantine_put(cp, obj, bc, cp->cache_slabs.pool_chunk_size)))
        umem_cache_put(cp, obj);
}

static UMEM_ALWAYS_INLINE bool
give(struct umem_cache *cp, const struct slab *slab, void *obj, size_t stated, const void *frame)
{
    struct umem_transaction now;
    uint32_t index;

    if (UMEM_UNLIKELY(os_watched() || !slab_is_chunk(slab, obj, &index)))
        return false;
    struct umem_bufctl *bc = slab_sidecar(slab, index);
    if (has_guards(cp)) {
        __builtin_prefetch((const struct umem_buftag *)obj - 1);
        __builtin_prefetch(tag_of(cp, obj), 1);
    }
    if (has_audit(cp)) {
        umem_audit_fetch(bc);
        now = umem_audit(frame);
    }
    if (UMEM_UNLIKELY(!is_sound(cp, obj, bc, index == 0, stated)) ||
        UMEM_UNLIKELY(!umem_bufctl_set_state(bc, UMEM_BUFFER_ALLOCATED, UMEM_BUFFER_FREE)))
        return false;
    if (has_audit(cp))
        umem_audit_record(bc, &now, obj, cp, UMEM_EVENT_FREE);
    pass_on(cp, obj, bc);
    return true;
}

bool
umem_short_free(struct umem_cache *cp, const struct slab *slab, void *obj, size_t stated,
                const void *frame)
{
    int error = errno;
    bool done = give(cp, slab, obj, stated, frame);

    errno = error;
    return done;
}

bool
umem_short_leave(struct umem_cache *cp, void *obj, const struct umem_bufctl *bc)
{
    if (UMEM_UNLIKELY(!cp->cache_short || umem_bufctl_state(bc) != UMEM_BUFFER_FREE ||
                      !holds_fill(cp, obj, bc)))
        return false;
    struct tbin *window = window_of(cp);
    if (UMEM_UNLIKELY(window == NULL || !tcache_push(window, obj)))
        umem_cache_put(cp, obj);
    return true;
}
