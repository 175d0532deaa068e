/* SPDX-License-Identifier: MIT */
/*
 * lock.h - the engine's mutex: one word, a short spin, then a futex.
 *
 * Own code because a lock inside malloc must neither allocate nor call back,
 * must be statically initialisable in zeroed memory, and must be resettable in
 * the child of a fork.  Every lock has a rank; a thread takes locks in rising
 * rank only (two of the same rank never, but for fork, which says so).  Builds
 * with UMEM_ASSERTIONS check that at run time.
 *
 * A process of one thread takes its locks by a load and a store: atomic
 * operations cost some 20 cycles each, most of a slow path under debugging.
 */
#ifndef UMEM_LOCK_H
#define UMEM_LOCK_H

#include "base/base.h"

#if defined(__has_include)
#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#define UMEM_HAVE_SINGLE_THREADED 1
#endif
#endif

/* In the order in which a thread may take them; docs/architecture.md has the essay. */
enum umem_lock_rank {
    UMEM_RANK_INIT = 1,   /* first-use set-up */
    UMEM_RANK_REAP,       /* one reap or update at a time */
    UMEM_RANK_AUDIT,      /* audit at run time */
    UMEM_RANK_CACHES,     /* the list of caches */
    UMEM_RANK_QUARANTINE, /* one shard of freed blocks that wait */
    UMEM_RANK_THREADS,    /* the list of thread caches */
    UMEM_RANK_TCACHE,     /* one thread's bins, but for its own fast path */
    UMEM_RANK_DEPOT,      /* one depot's magazine lists */
    UMEM_RANK_SLAB,       /* one cache's slabs */
    UMEM_RANK_LARGE,      /* the list of oversize blocks */
    UMEM_RANK_FIREWALL,   /* spans of guarded blocks */
    UMEM_RANK_ARENAS,     /* the list of arenas */
    UMEM_RANK_VMEM,       /* one arena's segments */
    UMEM_RANK_VMEM_SEG,   /* the pool of boundary tags */
    UMEM_RANK_PAGEMAP,    /* page map leaves */
    UMEM_RANK_META,       /* metadata pool */
    UMEM_RANK_STACKS,     /* stack depot */
    UMEM_RANK_LOG,        /* logs and reports */
};

struct umem_lock {
    _Atomic uint32_t lock_word; /* UMEM_LOCK_FREE, HELD, or CONTENDED: held with waiters */
    uint16_t lock_rank;
    uint16_t lock_pad;
};

#define UMEM_LOCK_INIT(rank)                                                                       \
    {                                                                                              \
        0, (rank), 0                                                                               \
    }

void umem_lock_init(struct umem_lock *lock, enum umem_lock_rank rank);

/* Values of lock_word, and what happens where the lock is not free. */
enum { UMEM_LOCK_FREE, UMEM_LOCK_HELD, UMEM_LOCK_CONTENDED };
void umem_lock_acquire_slow(struct umem_lock *lock);
void umem_lock_wake(struct umem_lock *lock);
#ifdef UMEM_ASSERTIONS
void umem_lock_check_acquire(const struct umem_lock *lock, bool fork);
void umem_lock_note_release(const struct umem_lock *lock);
#else
static inline void
umem_lock_check_acquire(const struct umem_lock *lock, bool fork)
{
    (void)lock;
    (void)fork;
}

static inline void
umem_lock_note_release(const struct umem_lock *lock)
{
    (void)lock;
}
#endif

/*
 * Whether the caller is the only thread there is: then nobody else is in the
 * midst of anything, and who comes later (pthread_create()) sees all of it.
 * glibc knows (2.32 and later); without it the answer is no.
 */
static inline bool
os_thread_is_alone(void)
{
#ifdef UMEM_HAVE_SINGLE_THREADED
    return __libc_single_threaded;
#else
    return false;
#endif
}

static inline bool
umem_lock_try_unchecked(struct umem_lock *lock)
{
    uint32_t expected = UMEM_LOCK_FREE;

    if (os_thread_is_alone()) {
        if (atomic_load_explicit(&lock->lock_word, memory_order_relaxed) != UMEM_LOCK_FREE)
            return false;
        atomic_store_explicit(&lock->lock_word, UMEM_LOCK_HELD, memory_order_relaxed);
        return true;
    }

    return atomic_compare_exchange_strong_explicit(&lock->lock_word, &expected, UMEM_LOCK_HELD,
                                                   memory_order_acquire, memory_order_relaxed);
}

static inline void
umem_lock_acquire(struct umem_lock *lock)
{
    umem_lock_check_acquire(lock, false);
    if (UMEM_UNLIKELY(!umem_lock_try_unchecked(lock)))
        umem_lock_acquire_slow(lock);
}

/* True if it was free and is now held. */
static inline bool
umem_lock_try(struct umem_lock *lock)
{
    if (UMEM_UNLIKELY(!umem_lock_try_unchecked(lock)))
        return false;
    umem_lock_check_acquire(lock, false);
    return true;
}

static inline void
umem_lock_release(struct umem_lock *lock)
{
    umem_lock_note_release(lock);
    if (os_thread_is_alone()) /* so nobody waits */
        atomic_store_explicit(&lock->lock_word, UMEM_LOCK_FREE, memory_order_release);
    else if (UMEM_UNLIKELY(atomic_exchange_explicit(&lock->lock_word, UMEM_LOCK_FREE,
                                                    memory_order_release) == UMEM_LOCK_CONTENDED))
        umem_lock_wake(lock);
}

/* True while any thread holds it: for assertions and tests. */
bool umem_lock_is_held(const struct umem_lock *lock);
/*
 * fork: the prepare handler acquires every lock of a rank in a fixed order
 * with the _fork variant (no rank check against its own rank); the parent
 * releases, the child resets, since its waiters do not exist.
 */
void umem_lock_acquire_fork(struct umem_lock *lock);
void umem_lock_reset_child(struct umem_lock *lock);

#endif
