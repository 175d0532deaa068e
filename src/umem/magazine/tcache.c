/* SPDX-License-Identifier: MIT */
/*
 * tcache.c - thread caches: birth, growth, exchange with the depot, thread
 * exit, fork.
 *
 * A thread starts on the static tcache_unset, whose windows are all closed, so
 * that its first allocation or free falls to the slow path, which makes it a
 * cache of its own.  When the thread's destructors run, its magazines go to
 * the depots and it is moved to the static tcache_exited: whatever it still
 * allocates or frees goes past the magazines.
 *
 * Calls depots beside it and meta below; pthread keys for thread exit.
 */
#include "magazine/tcache.h"

#include <pthread.h>
#include <string.h>

#include "os/meta.h"
#include "os/os.h"

/* All windows closed: cur, base and limit are NULL. */
static struct tcache tcache_unset = {
    .tc_bins = TCACHE_STATIC_BINS,
    .tc_state = TCACHE_UNSET,
    .tc_bin = {[TCACHE_STATIC_BINS - 1] = {NULL, NULL, NULL, 0}},
};
static struct tcache tcache_exited = {
    .tc_bins = TCACHE_STATIC_BINS,
    .tc_state = TCACHE_EXITED,
    .tc_bin = {[TCACHE_STATIC_BINS - 1] = {NULL, NULL, NULL, 0}},
};

UMEM_TLS struct tcache *tcache_self = &tcache_unset;
struct umem_list umem_tcaches = UMEM_LIST_INIT(umem_tcaches);
struct umem_lock umem_tcaches_lock = UMEM_LOCK_INIT(UMEM_RANK_THREADS);

/* Depot of each bin, NULL where unused; under umem_tcaches_lock but for reads by bin owners. */
static struct depot *bin_depot[TCACHE_MAX_BINS];
static unsigned bin_next = TCACHE_STATIC_BINS; /* where the search for an unused one starts */

static pthread_key_t exit_key;
static _Atomic bool exit_key_valid;

unsigned
tcache_bin_create(unsigned bin, struct depot *depot)
{
    umem_lock_acquire(&umem_tcaches_lock);
    for (unsigned i = 0; bin == 0 && i < TCACHE_MAX_BINS - TCACHE_STATIC_BINS; i++) {
        if (bin_depot[bin_next] == NULL)
            bin = bin_next;
        bin_next = bin_next + 1 < TCACHE_MAX_BINS ? bin_next + 1 : TCACHE_STATIC_BINS;
    }
    if (bin != 0)
        bin_depot[bin] = depot;
    umem_lock_release(&umem_tcaches_lock);
    return bin;
}

static size_t
tcache_size(uint32_t bins)
{
    return sizeof(struct tcache) + bins * (sizeof(struct tbin) + sizeof(struct tbin_cold));
}

/* Makes a thread cache with more than bin bins, with the contents of old. */
static struct tcache *
create(unsigned bin, const struct tcache *old)
{
    uint32_t bins = TCACHE_STATIC_BINS;

    while (bins <= bin)
        bins *= 2;
    struct tcache *tc = umem_meta_alloc(tcache_size(bins));
    if (tc == NULL)
        return NULL;
    tc->tc_size = tcache_size(bins);
    tc->tc_bins = bins;
    tc->tc_state = TCACHE_LIVE;
    tc->tc_cold = (struct tbin_cold *)&tc->tc_bin[bins];
    if (tcache_is_live(old)) {
        tc->tc_thread = old->tc_thread;
        tc->tc_exit_seen = old->tc_exit_seen;
        memcpy(tc->tc_bin, old->tc_bin, old->tc_bins * sizeof(struct tbin));
        memcpy(tc->tc_cold, old->tc_cold, old->tc_bins * sizeof(struct tbin_cold));
    } else {
        tc->tc_thread = os_thread_id();
    }
    return tc;
}

/* Off the list and freed; its bins are flushed or copied; the list's lock is held. */
static void
destroy(struct tcache *tc)
{
    umem_list_remove(&tc->tc_link);
    umem_meta_free(tc, tc->tc_size);
}

/* Gives this thread a cache with more than bin bins in place of its own.  False: no memory. */
static bool
replace(unsigned bin)
{
    struct tcache *old = tcache_self;

    /* Under the lock, since tcache_bin_destroy() may be emptying a bin of the old one. */
    umem_lock_acquire(&umem_tcaches_lock);
    struct tcache *tc = create(bin, old);
    if (tc != NULL) {
        umem_list_push_back(&umem_tcaches, &tc->tc_link);
        tcache_self = tc;
        if (tcache_is_live(old))
            destroy(old);
    }
    umem_lock_release(&umem_tcaches_lock);
    return tc != NULL;
}

/*
 * Lets the exit of this thread flush its cache.  pthread_setspecific() may
 * allocate, from the very cache, which may grow; where it fails, or there is
 * no key yet, the next slow path tries again.
 */
static void
see_exit(void)
{
    if (!atomic_load_explicit(&exit_key_valid, memory_order_acquire))
        return;
    tcache_self->tc_exit_seen = true;
    if (pthread_setspecific(exit_key, tcache_self) != 0)
        tcache_self->tc_exit_seen = false;
}

struct tcache *
tcache_get(unsigned bin)
{
    struct tcache *tc = tcache_self;

    if (UMEM_LIKELY(tcache_is_live(tc) && bin < tc->tc_bins && tc->tc_exit_seen))
        return tc;
    if (tc->tc_state == TCACHE_EXITED)
        return NULL;
    if ((!tcache_is_live(tc) || bin >= tc->tc_bins) && !replace(bin))
        return NULL;
    if (!tcache_self->tc_exit_seen)
        see_exit();
    return tcache_self;
}

/* Closes the window: the loaded magazine, its rounds counted, or NULL. */
static struct magazine *
unload(struct tcache *tc, unsigned bin)
{
    struct tbin *b = &tc->tc_bin[bin];
    struct magazine *mag = tc->tc_cold[bin].cold_loaded;

    if (mag != NULL && b->bin_base == mag->mag_round)
        mag->mag_rounds = (uint32_t)(b->bin_cur - b->bin_base);
    b->bin_cur = b->bin_base = b->bin_limit = NULL;
    tc->tc_cold[bin].cold_loaded = NULL;
    return mag;
}

/* Stores before it are made before stores behind it, as a fork finds this thread. */
static inline void
in_order(void)
{
    atomic_signal_fence(memory_order_seq_cst);
}

/*
 * previous is not NULL.  A fork may find the thread after any of these stores:
 * the magazine that was loaded is still known by the window's base until it is
 * the previous one, and its count holds from when the window closes.
 */
static void
exchange_loaded_and_previous(struct tcache *tc, unsigned bin)
{
    struct tbin *b = &tc->tc_bin[bin];
    struct tbin_cold *cold = &tc->tc_cold[bin];
    struct magazine *loaded = cold->cold_loaded, *previous = cold->cold_previous;

    if (loaded != NULL)
        loaded->mag_rounds = (uint32_t)(b->bin_cur - b->bin_base);
    in_order();
    cold->cold_loaded = previous;
    in_order();
    cold->cold_previous = loaded;
    in_order();
    b->bin_base = NULL;
    in_order();
    b->bin_limit = previous->mag_round + previous->mag_size;
    b->bin_cur = previous->mag_round + previous->mag_rounds;
    in_order();
    b->bin_base = previous->mag_round;
}

/* In the child of a fork, before unload(): both magazines of an exchange that was under way. */
static void
settle(struct tcache *tc, unsigned bin)
{
    struct tbin_cold *cold = &tc->tc_cold[bin];
    void **base = tc->tc_bin[bin].bin_base;

    if (cold->cold_loaded == NULL || cold->cold_loaded != cold->cold_previous)
        return;
    cold->cold_previous = base == NULL ? NULL : UMEM_CONTAINER_OF(base, struct magazine, mag_round);
}

bool
tcache_refill(struct tcache *tc, unsigned bin)
{
    struct tbin_cold *cold = &tc->tc_cold[bin];

    /* Without rounds in either, previous is empty or missing: for the depot. */
    if ((cold->cold_previous == NULL || cold->cold_previous->mag_rounds == 0) &&
        !depot_get_full(bin_depot[bin], &cold->cold_previous))
        return false;
    exchange_loaded_and_previous(tc, bin);
    return true;
}

bool
tcache_make_room(struct tcache *tc, unsigned bin)
{
    struct tbin_cold *cold = &tc->tc_cold[bin];

    if (tc->tc_bin[bin].bin_cur != tc->tc_bin[bin].bin_limit)
        return true;
    /* Without room in either, previous is full or missing: for the depot. */
    if ((cold->cold_previous == NULL || cold->cold_previous->mag_rounds > 0) &&
        !depot_get_empty(bin_depot[bin], &cold->cold_previous))
        return false;
    exchange_loaded_and_previous(tc, bin);
    return true;
}

/* Gives both magazines of a bin, whose owner does not use it, to its depot; the lock is held. */
static void
flush_bin(struct tcache *tc, unsigned bin)
{
    struct tbin_cold *cold = &tc->tc_cold[bin];
    struct depot *depot = bin_depot[bin];

    if (depot == NULL)
        return;
    depot_put(depot, unload(tc, bin));
    depot_put(depot, cold->cold_previous);
    cold->cold_previous = NULL;
    depot_retire(depot, tc->tc_bin[bin].bin_allocs);
    tc->tc_bin[bin].bin_allocs = 0;
}

static void
flush(struct tcache *tc)
{
    for (unsigned bin = 1; bin < tc->tc_bins; bin++)
        flush_bin(tc, bin);
}

void
tcache_flush_self(void)
{
    if (!tcache_is_live(tcache_self))
        return;
    /* Another thread may be destroying a bin, and emptying it here too. */
    umem_lock_acquire(&umem_tcaches_lock);
    flush(tcache_self);
    umem_lock_release(&umem_tcaches_lock);
}

void
tcache_bin_destroy(unsigned bin)
{
    umem_lock_acquire(&umem_tcaches_lock);
    UMEM_LIST_FOR (node, &umem_tcaches) {
        struct tcache *tc = UMEM_CONTAINER_OF(node, struct tcache, tc_link);
        if (bin < tc->tc_bins)
            flush_bin(tc, bin);
    }
    bin_depot[bin] = NULL;
    umem_lock_release(&umem_tcaches_lock);
}

/*
 * Reads other threads' windows as they move.  Each load is of one word; a
 * magazine that went meanwhile still is memory of the pool, which never unmaps.
 */
__attribute__((no_sanitize("thread"))) size_t
tcache_bin_rounds(unsigned bin)
{
    size_t rounds = 0;

    umem_lock_acquire(&umem_tcaches_lock);
    UMEM_LIST_FOR (node, &umem_tcaches) {
        struct tcache *tc = UMEM_CONTAINER_OF(node, struct tcache, tc_link);
        if (bin >= tc->tc_bins)
            continue;
        void **base = *(void **volatile *)&tc->tc_bin[bin].bin_base;
        void **cur = *(void **volatile *)&tc->tc_bin[bin].bin_cur;
        struct magazine *previous = *(struct magazine *volatile *)&tc->tc_cold[bin].cold_previous;
        if (base != NULL && cur > base && cur - base <= MAGAZINE_ROUNDS_MAX)
            rounds += (size_t)(cur - base);
        if (previous != NULL)
            rounds += previous->mag_rounds;
    }
    umem_lock_release(&umem_tcaches_lock);
    return rounds;
}

/*
 * Destructor of the key.  The value may be an older cache than the thread's
 * present one (which grew while setspecific failed): only the latter counts.
 */
static void
thread_exit(void *value)
{
    struct tcache *tc = tcache_self;

    (void)value;
    if (!tcache_is_live(tc))
        return;
    tcache_self = &tcache_exited;
    umem_lock_acquire(&umem_tcaches_lock);
    flush(tc);
    destroy(tc);
    umem_lock_release(&umem_tcaches_lock);
}

void
tcache_init(void)
{
    if (pthread_key_create(&exit_key, thread_exit) != 0)
        return; /* 1,024 keys are in use: caches of exited threads stay behind */
    atomic_store_explicit(&exit_key_valid, true, memory_order_release);
    /* The thread that sets up may have made its cache before there was a key. */
    if (tcache_is_live(tcache_self))
        see_exit();
}

void
tcache_fork_prepare(void)
{
    umem_lock_acquire_fork(&umem_tcaches_lock);
}

void
tcache_fork_parent(void)
{
    umem_lock_release(&umem_tcaches_lock);
}

void
tcache_fork_child(void)
{
    umem_lock_reset_child(&umem_tcaches_lock);
    for (struct umem_list *node = umem_tcaches.next, *next; node != &umem_tcaches; node = next) {
        struct tcache *tc = UMEM_CONTAINER_OF(node, struct tcache, tc_link);
        next = node->next;
        if (tc == tcache_self) {
            tc->tc_thread = os_thread_id();
        } else {
            for (unsigned bin = 1; bin < tc->tc_bins; bin++)
                settle(tc, bin);
            flush(tc);
            destroy(tc);
        }
    }
}
