/* SPDX-License-Identifier: MIT */
/*
 * lock.c - a futex mutex of three states, after Drepper, "Futexes Are Tricky"
 * (2011), mutex 2; with rank checks where UMEM_ASSERTIONS is defined.
 */
#include "os/lock.h"

#include "os/os.h"

/* Loads before a waiter sleeps: about a microsecond, the length of our critical sections. */
#define SPIN_LOADS 100

#ifdef UMEM_ASSERTIONS
/* Ranks held by this thread, as bits; fork holds many of one rank. */
static UMEM_TLS uint32_t held_ranks;

void
umem_lock_check_acquire(const struct umem_lock *lock, bool fork)
{
    uint32_t above = ~((1u << lock->lock_rank) - 1);

    if (fork)
        above &= ~(1u << lock->lock_rank);
    UMEM_ASSERT(lock->lock_rank != 0);
    UMEM_ASSERT((held_ranks & above) == 0);
    held_ranks |= 1u << lock->lock_rank;
}

void
umem_lock_note_release(const struct umem_lock *lock)
{
    held_ranks &= ~(1u << lock->lock_rank);
}
#endif

void
umem_lock_init(struct umem_lock *lock, enum umem_lock_rank rank)
{
    atomic_init(&lock->lock_word, UMEM_LOCK_FREE);
    lock->lock_rank = (uint16_t)rank;
}

static inline void
pause_briefly(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

UMEM_NOINLINE void
umem_lock_acquire_slow(struct umem_lock *lock)
{
    for (int i = 0; i < SPIN_LOADS; i++) {
        if (atomic_load_explicit(&lock->lock_word, memory_order_relaxed) == UMEM_LOCK_FREE &&
            umem_lock_try_unchecked(lock))
            return;
        pause_briefly();
    }
    while (atomic_exchange_explicit(&lock->lock_word, UMEM_LOCK_CONTENDED, memory_order_acquire) !=
           UMEM_LOCK_FREE)
        os_futex_wait(&lock->lock_word, UMEM_LOCK_CONTENDED);
}

UMEM_NOINLINE void
umem_lock_wake(struct umem_lock *lock)
{
    os_futex_wake(&lock->lock_word, 1);
}

bool
umem_lock_is_held(const struct umem_lock *lock)
{
    return atomic_load_explicit(&lock->lock_word, memory_order_relaxed) != UMEM_LOCK_FREE;
}

void
umem_lock_acquire_fork(struct umem_lock *lock)
{
    umem_lock_check_acquire(lock, true);
    if (!umem_lock_try_unchecked(lock))
        umem_lock_acquire_slow(lock);
}

void
umem_lock_reset_child(struct umem_lock *lock)
{
    umem_lock_note_release(lock);
    atomic_store_explicit(&lock->lock_word, UMEM_LOCK_FREE, memory_order_release);
}
