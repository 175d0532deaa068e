/* SPDX-License-Identifier: MIT */
/*
 * tcache.c - thread caches: birth, growth, thread exit, fork.
 *
 * A thread starts on the static tcache_unset, whose windows are all closed, so
 * that its first allocation or free falls to the slow path, which makes it a
 * cache of its own.  When the thread's destructors run, its magazines go to
 * the depots and it is back on the static one, for good: whatever it still
 * allocates or frees goes past the magazines.
 *
 * Calls depots beside it and meta below; pthread keys for thread exit.
 */
#include "magazine/tcache.h"

#include <pthread.h>
#include <string.h>

#include "os/meta.h"
#include "os/os.h"

/*
 * All windows closed: cur, base and limit are NULL.  Threads leave marks in
 * them, which nobody looks at.
 */
static struct tcache_static {
    struct tcache static_tcache; /* NOLINT(clang-diagnostic-gnu-variable-sized-type-not-at-end) */
    struct tbin static_bins[TCACHE_STATIC_BINS];
} tcache_unset;

static UMEM_TLS bool exited; /* this thread is past its destructors: nothing is cached */

UMEM_TLS struct tcache *tcache_self = &tcache_unset.static_tcache;
struct umem_list umem_tcaches = UMEM_LIST_INIT(umem_tcaches);
struct umem_lock umem_tcaches_lock = UMEM_LOCK_INIT(UMEM_RANK_THREADS);

struct depot *tcache_depot[TCACHE_MAX_BINS];
static unsigned bin_next = TCACHE_STATIC_BINS; /* where the search for an unused one starts */

static pthread_key_t exit_key;
static _Atomic bool exit_key_valid;

unsigned
tcache_bin_create(unsigned bin, struct depot *depot)
{
    umem_lock_acquire(&umem_tcaches_lock);
    for (unsigned i = 0; bin == 0 && i < TCACHE_MAX_BINS - TCACHE_STATIC_BINS; i++) {
        if (tcache_depot[bin_next] == NULL)
            bin = bin_next;
        bin_next = bin_next + 1 < TCACHE_MAX_BINS ? bin_next + 1 : TCACHE_STATIC_BINS;
    }
    if (bin != 0)
        tcache_depot[bin] = depot;
    umem_lock_release(&umem_tcaches_lock);
    return bin;
}

static size_t
tcache_size(uint32_t bins)
{
    return sizeof(struct tcache) + bins * sizeof(struct tbin);
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
    umem_lock_init(&tc->tc_lock, UMEM_RANK_TCACHE);
    if (tcache_is_live(old)) {
        tc->tc_thread = old->tc_thread;
        tc->tc_exempt = old->tc_exempt;
        tc->tc_sample = old->tc_sample;
        tc->tc_random = old->tc_random;
        tc->tc_exit_seen = old->tc_exit_seen;
        memcpy(tc->tc_bin, old->tc_bin, old->tc_bins * sizeof(struct tbin));
    } else {
        tc->tc_thread = os_thread_id();
        tcache_choose(tc);
        if (tcache_sample_every != 0)
            tcache_sample_init(tc);
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
    if (exited)
        return NULL;
    if ((!tcache_is_live(tc) || bin >= tc->tc_bins) && !replace(bin))
        return NULL;
    if (!tcache_self->tc_exit_seen)
        see_exit();
    return tcache_self;
}

/* fn on every bin. */
static void
for_bins(struct tcache *tc, void (*fn)(struct tcache *tc, unsigned bin))
{
    umem_lock_acquire(&tc->tc_lock);
    for (unsigned bin = 1; bin < tc->tc_bins; bin++)
        fn(tc, bin);
    umem_lock_release(&tc->tc_lock);
}

void
tcache_flush_self(void)
{
    if (tcache_is_live(tcache_self))
        for_bins(tcache_self, tcache_flush_bin);
}

/* Takes the bin out of every thread cache; the list's lock is held. */
static UMEM_COLD void
retire_everywhere(unsigned bin)
{
    UMEM_LIST_FOR (node, &umem_tcaches) {
        struct tcache *tc = UMEM_CONTAINER_OF(node, struct tcache, tc_link);
        if (bin >= tc->tc_bins)
            continue;
        umem_lock_acquire(&tc->tc_lock);
        tcache_retire_bin(tc, bin);
        umem_lock_release(&tc->tc_lock);
    }
}

UMEM_COLD void
tcache_bin_flush(unsigned bin)
{
    umem_lock_acquire(&umem_tcaches_lock);
    retire_everywhere(bin);
    umem_lock_release(&umem_tcaches_lock);
}

UMEM_COLD void
tcache_bin_destroy(unsigned bin)
{
    umem_lock_acquire(&umem_tcaches_lock);
    retire_everywhere(bin);
    tcache_depot[bin] = NULL;
    umem_lock_release(&umem_tcaches_lock);
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
    exited = true;
    tcache_self = &tcache_unset.static_tcache;
    umem_lock_acquire(&umem_tcaches_lock);
    for_bins(tc, tcache_retire_bin);
    destroy(tc);
    umem_lock_release(&umem_tcaches_lock);
}

void
tcache_init(void)
{
    os_barrier_init();
    if (pthread_key_create(&exit_key, thread_exit) != 0)
        return; /* 1,024 keys are in use: caches of exited threads stay behind */
    atomic_store_explicit(&exit_key_valid, true, memory_order_release);
    /* The thread that sets up may have made its cache before there was a key. */
    if (tcache_is_live(tcache_self))
        see_exit();
}

static void
for_locks(void (*fn)(struct umem_lock *lock))
{
    UMEM_LIST_FOR (node, &umem_tcaches)
        fn(&UMEM_CONTAINER_OF(node, struct tcache, tc_link)->tc_lock);
}

void
tcache_fork_prepare(void)
{
    umem_lock_acquire_fork(&umem_tcaches_lock);
    for_locks(umem_lock_acquire_fork);
}

void
tcache_fork_parent(void)
{
    for_locks(umem_lock_release);
    umem_lock_release(&umem_tcaches_lock);
}

UMEM_COLD void
tcache_fork_child(void)
{
    for_locks(umem_lock_reset_child);
    umem_lock_reset_child(&umem_tcaches_lock);
    for (struct umem_list *node = umem_tcaches.next, *next; node != &umem_tcaches; node = next) {
        struct tcache *tc = UMEM_CONTAINER_OF(node, struct tcache, tc_link);
        next = node->next;
        if (tc == tcache_self) {
            tc->tc_thread = os_thread_id();
        } else {
            for_bins(tc, tcache_retire_bin);
            destroy(tc);
        }
    }
}
