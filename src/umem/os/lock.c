/* SPDX-License-Identifier: MIT */
/*
 * lock.c - a futex mutex of three states, after Drepper, "Futexes Are Tricky"
 * (2011), mutex 2; with rank checks where UMEM_ASSERTIONS is defined.
 */
#include "os/lock.h"

#include "os/os.h"

#define FREE 0u
#define HELD 1u
#define CONTENDED 2u

/* Loads before a waiter sleeps: about a microsecond, the length of our critical sections. */
#define SPIN_LOADS 100

#ifdef UMEM_ASSERTIONS
/* Ranks held by this thread, as bits; fork holds many of one rank. */
static UMEM_TLS uint32_t held_ranks;

static void
check_acquire(const struct umem_lock *lock, bool fork)
{
    uint32_t above = ~((1u << lock->lock_rank) - 1);

    if (fork)
        above &= ~(1u << lock->lock_rank);
    UMEM_ASSERT(lock->lock_rank != 0);
    UMEM_ASSERT((held_ranks & above) == 0);
    held_ranks |= 1u << lock->lock_rank;
}

static void
note_release(const struct umem_lock *lock)
{
    held_ranks &= ~(1u << lock->lock_rank);
}
#else
static void
check_acquire(const struct umem_lock *lock, bool fork)
{
    (void)lock;
    (void)fork;
}

static void
note_release(const struct umem_lock *lock)
{
    (void)lock;
}
#endif

void
umem_lock_init(struct umem_lock *lock, enum umem_lock_rank rank)
{
    atomic_init(&lock->lock_word, FREE);
    lock->lock_rank = (uint16_t)rank;
}

static bool
try_acquire(struct umem_lock *lock)
{
    uint32_t expected = FREE;

    return atomic_compare_exchange_strong_explicit(&lock->lock_word, &expected, HELD,
                                                   memory_order_acquire, memory_order_relaxed);
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

static UMEM_NOINLINE void
acquire_slow(struct umem_lock *lock)
{
    for (int i = 0; i < SPIN_LOADS; i++) {
        if (atomic_load_explicit(&lock->lock_word, memory_order_relaxed) == FREE &&
            try_acquire(lock))
            return;
        pause_briefly();
    }
    while (atomic_exchange_explicit(&lock->lock_word, CONTENDED, memory_order_acquire) != FREE)
        os_futex_wait(&lock->lock_word, CONTENDED);
}

void
umem_lock_acquire(struct umem_lock *lock)
{
    check_acquire(lock, false);
    if (!try_acquire(lock))
        acquire_slow(lock);
}

bool
umem_lock_try(struct umem_lock *lock)
{
    if (!try_acquire(lock))
        return false;
    check_acquire(lock, false);
    return true;
}

void
umem_lock_release(struct umem_lock *lock)
{
    note_release(lock);
    if (atomic_exchange_explicit(&lock->lock_word, FREE, memory_order_release) == CONTENDED)
        os_futex_wake(&lock->lock_word, 1);
}

bool
umem_lock_is_held(const struct umem_lock *lock)
{
    return atomic_load_explicit(&lock->lock_word, memory_order_relaxed) != FREE;
}

void
umem_lock_acquire_fork(struct umem_lock *lock)
{
    check_acquire(lock, true);
    if (!try_acquire(lock))
        acquire_slow(lock);
}

void
umem_lock_reset_child(struct umem_lock *lock)
{
    note_release(lock);
    atomic_store_explicit(&lock->lock_word, FREE, memory_order_release);
}
