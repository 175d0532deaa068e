/* SPDX-License-Identifier: MIT */
/*
 * audit.c - audit that is switched at run time: which allocations are
 * recorded, and when it has been enough.
 *
 * Switching goes through all caches and starts or stops their twins (twin.h).
 * What an allocation asks on its slow path are single words, read without a
 * lock: those of a switch that is under way may be old and new ones by turns,
 * which makes a difference to a few records and to nothing else.
 *
 * An allocation that finds the cap met says so and is plain, and so are all
 * after it.  The windows are opened on the way of the next update.
 *
 * Lock: audit_lock (UMEM_RANK_AUDIT) for switching, and for which caches have
 * twins.  Who goes through the caches takes reap_lock before it, so that none
 * of them is destroyed meanwhile.
 */
#include "cache/audit.h"

#include <errno.h>
#include <string.h>

#include "cache/twin.h"
#include "debug/debug.h"
#include "debug/stacks.h"

/* The analyser's name for blocks that are too large for a cache. */
#define OVERSIZE "umem_oversize"

_Static_assert(TCACHE_CHOSEN_MAX == UMEM_AUDIT_THREADS_MAX, "what the manual promises");

enum { AUDIT_OFF, AUDIT_ON, AUDIT_CAPPED };

static struct umem_lock audit_lock = UMEM_LOCK_INIT(UMEM_RANK_AUDIT);
static _Atomic uint32_t audit_state;
static _Atomic size_t size_min, size_max; /* of an allocation that is recorded */
static _Atomic size_t cap;                /* bytes of records; 0: none */
static _Atomic uint32_t larges;           /* UMF_* for oversize blocks, 0: not recorded */
/* Under audit_lock: */
static char cache_name[UMEM_CACHE_NAME_SIZE]; /* the only cache, "": all */
static uint32_t flags_wanted;                 /* UMF_* */
static uint32_t frames_before;                /* opt_audit_frames, to come back to */

static uint32_t
state(void)
{
    return atomic_load_explicit(&audit_state, memory_order_acquire);
}

static size_t
record_bytes(void)
{
    return slab_sidecar_bytes() + (size_t)umem_stacks_stats().stacks_bytes;
}

static UMEM_COLD void
meet_cap(size_t bytes)
{
    uint32_t on = AUDIT_ON;

    if (atomic_compare_exchange_strong(&audit_state, &on, AUDIT_CAPPED))
        umem_message(false, "audit: the cap of %zu bytes of records is met, recording ends", bytes);
}

bool
umem_audit_wants(size_t requested)
{
    size_t most = atomic_load_explicit(&cap, memory_order_relaxed);

    if (state() != AUDIT_ON || requested < atomic_load_explicit(&size_min, memory_order_relaxed) ||
        requested > atomic_load_explicit(&size_max, memory_order_relaxed))
        return false;
    if (UMEM_UNLIKELY(most != 0 && record_bytes() >= most)) {
        meet_cap(most);
        return false;
    }
    return true;
}

UMEM_USUAL uint32_t
umem_audit_large_flags(size_t requested)
{
    uint32_t flags = atomic_load_explicit(&larges, memory_order_relaxed);

    if (UMEM_LIKELY(flags == 0) || tcache_is_exempt() || !umem_audit_wants(requested))
        return 0;
    return flags;
}

/* Whether the cache may serve sizes within the range.  A class serves those above the one before.
 */
static bool
serves_range(const struct umem_cache *cp)
{
    size_t below = cp->cache_bufsize - 1, most = cp->cache_bufsize;

    if (umem_is_class_cache(cp)) {
        unsigned class = cp->cache_class;
        below = class > 1 ? umem_class_cache(class - 1)->cache_bufspace : 0; /* malloc(1): 16 */
        most = cp->cache_bufspace;
    }
    return most >= size_min && below < size_max;
}

/* Starts a twin for a cache that is to be audited and is not.  False with errno. */
static bool
consider(struct umem_cache *cp)
{
    uint32_t flags = umem_cache_debug_flags((int)cp->cache_cflags, cp->cache_flags | flags_wanted);
    bool named = cache_name[0] == '\0' || strcmp(cache_name, cp->cache_name) == 0;

    if (cp->cache_original != NULL || !named || !serves_range(cp) || flags == cp->cache_flags ||
        atomic_load(&cp->cache_reserve) != NULL)
        return true;
    return umem_twin_start(cp, flags);
}

/* The next cache that is no twin: those come and go with their originals. */
#define FOR_CACHES(cp, at)                                                                         \
    for (struct umem_list *at = &umem_caches; (at = umem_cache_next(at)) != NULL;)                 \
        for (struct umem_cache *cp = UMEM_CONTAINER_OF(at, struct umem_cache, cache_link);         \
             cp != NULL; cp = NULL)

static bool
is_there(const char *name)
{
    bool found = strcmp(name, OVERSIZE) == 0;

    FOR_CACHES(cp, at)
    found |= strcmp(name, cp->cache_name) == 0;
    return found;
}

static void
set_frames(uint32_t frames)
{
    __atomic_store_n(&umem_options.opt_audit_frames, frames, __ATOMIC_RELAXED);
}

static void
stop(void)
{
    atomic_store(&audit_state, AUDIT_OFF);
    atomic_store(&larges, 0);
    FOR_CACHES(cp, at)
    if (atomic_load(&cp->cache_active) != NULL)
        umem_twin_stop(cp);
    tcache_choose_threads(NULL, 0);
    set_frames(frames_before);
}

static void
take_over(const struct umem_audit_spec *spec)
{
    uint32_t ids[TCACHE_CHOSEN_MAX];

    for (unsigned i = 0; i < spec->audit_thread_count; i++)
        ids[i] = (uint32_t)spec->audit_threads[i];
    tcache_choose_threads(ids, spec->audit_thread_count);
    memset(cache_name, 0, sizeof(cache_name));
    if (spec->audit_cache != NULL)
        strncpy(cache_name, spec->audit_cache, sizeof(cache_name) - 1);
    flags_wanted = UMF_AUDIT;
    if ((spec->audit_flags & UMEM_AUDIT_GUARDS) != 0)
        flags_wanted |= UMF_DEADBEEF | UMF_REDZONE;
    frames_before = umem_options.opt_audit_frames;
    if (spec->audit_frames != 0)
        set_frames(spec->audit_frames);
    atomic_store(&size_min, spec->audit_size_min);
    atomic_store(&size_max, spec->audit_size_max != 0 ? spec->audit_size_max : SIZE_MAX);
    atomic_store(&cap, spec->audit_cap);
}

/* 0, or an errno. */
static int
start(const struct umem_audit_spec *spec)
{
    bool good = true;

    if (state() != AUDIT_OFF)
        return EALREADY;
    if (spec->audit_cache != NULL && !is_there(spec->audit_cache))
        return ENOENT;
    take_over(spec);
    FOR_CACHES(cp, at)
    good = good && consider(cp);
    if (!good) {
        stop();
        return ENOMEM;
    }
    if (cache_name[0] == '\0' || strcmp(cache_name, OVERSIZE) == 0)
        atomic_store(&larges, flags_wanted);
    atomic_store(&audit_state, AUDIT_ON);
    return 0;
}

static bool
is_valid(const struct umem_audit_spec *spec)
{
    return (spec->audit_flags & ~(unsigned)UMEM_AUDIT_GUARDS) == 0 &&
           spec->audit_frames <= UMEM_AUDIT_FRAMES_MAX &&
           (spec->audit_size_max == 0 || spec->audit_size_min <= spec->audit_size_max) &&
           spec->audit_thread_count <= TCACHE_CHOSEN_MAX &&
           (spec->audit_thread_count == 0 || spec->audit_threads != NULL);
}

/* Who keeps freed objects in front of a cache that is audited now is to do so no more. */
static void
take_back(void)
{
    FOR_CACHES(cp, at)
    if (cp->cache_reclaim != NULL && atomic_load(&cp->cache_active) != NULL)
        cp->cache_reclaim(cp->cache_private);
}

/* Switches with the locks held.  spec: NULL to stop.  0, or -1 with errno. */
static int
switch_audit(const struct umem_audit_spec *spec)
{
    int saved = errno, error = 0;

    /* Classes that were made later on would have no twin. */
    for (unsigned c = 0; spec != NULL && c < UMEM_CLASS_COUNT; c++)
        (void)umem_class_cache(c);
    (void)umem_ready();
    bool excluded = umem_reap_exclude();
    umem_lock_acquire(&audit_lock);
    if (spec != NULL)
        error = start(spec);
    else if (state() == AUDIT_OFF)
        error = EALREADY;
    else
        stop();
    umem_lock_release(&audit_lock);
    if (spec != NULL && error == 0)
        take_back();
    umem_reap_admit(excluded);
    errno = error != 0 ? error : saved;
    return error != 0 ? -1 : 0;
}

UMEM_EXPORT int
umem_audit_start(const struct umem_audit_spec *spec)
{
    static const struct umem_audit_spec all;

    if (spec != NULL && !is_valid(spec)) {
        errno = EINVAL;
        return -1;
    }
    return switch_audit(spec != NULL ? spec : &all);
}

UMEM_EXPORT int
umem_audit_stop(void)
{
    return switch_audit(NULL);
}

UMEM_EXPORT void
umem_audit_status(struct umem_audit_status *status)
{
    uint32_t now = state();

    *status = (struct umem_audit_status){
        .audit_on = now != AUDIT_OFF,
        .audit_cap_met = now == AUDIT_CAPPED,
        .audit_frames = __atomic_load_n(&umem_options.opt_audit_frames, __ATOMIC_RELAXED),
        .audit_cap = now != AUDIT_OFF ? atomic_load(&cap) : 0,
        .audit_record_bytes = record_bytes(),
    };
}

void
umem_audit_adopt(struct umem_cache *cp)
{
    int saved = errno;

    if (UMEM_LIKELY(state() != AUDIT_ON))
        return;
    umem_lock_acquire(&audit_lock);
    if (state() == AUDIT_ON && !consider(cp))
        umem_message(false, "audit: no memory to audit cache '%s'", cp->cache_name);
    umem_lock_release(&audit_lock);
    errno = saved;
}

UMEM_USUAL void
umem_audit_settle(struct umem_cache *cp)
{
    bool active = atomic_load_explicit(&cp->cache_active, memory_order_relaxed) != NULL;

    if (UMEM_LIKELY(active ? state() == AUDIT_ON
                           : atomic_load_explicit(&cp->cache_depot.depot_diverted,
                                                  memory_order_relaxed) == 0))
        return;
    umem_lock_acquire(&audit_lock);
    if (state() != AUDIT_ON)
        umem_twin_stop(cp);
    else if (atomic_load(&cp->cache_active) == NULL)
        umem_twin_settle(cp);
    umem_lock_release(&audit_lock);
}

UMEM_USUAL void
umem_audit_fork_prepare(void)
{
    umem_lock_acquire_fork(&audit_lock);
}

UMEM_USUAL void
umem_audit_fork_parent(void)
{
    umem_lock_release(&audit_lock);
}

void
umem_audit_fork_child(void)
{
    /* Threads that were allocating from a twin are not here; this one was in fork(). */
    UMEM_LIST_FOR (node, &umem_caches)
        atomic_store(&UMEM_CONTAINER_OF(node, struct umem_cache, cache_link)->cache_entered, 0);
    umem_lock_reset_child(&audit_lock);
}
