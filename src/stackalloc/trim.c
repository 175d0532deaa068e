/* SPDX-License-Identifier: MIT */
/*
 * trim.c - the cache of freed stacks, bounded: stack_trim(), and what
 * stack_config() had a class do by itself.
 *
 * A stack that is given back goes from hot (cached as it was) to cold: its
 * memory is the system's again, its object and guards stay.  A span whose stacks
 * are all cold is unmapped.  The engine knows how many stacks wait, and which
 * were wanted; nothing is counted here.  No thread runs for it: a free in so
 * many looks whether there is something to do, if it is not a real-time
 * thread's, and not while sealed.
 *
 * Owns what of a class says how much is kept, and for how long.  No locks.
 */
#include <errno.h>
#include <sched.h>
#include <stackalloc.h>
#include <time.h>

#include "stack.h"
#include "stash.h"

#define MS_PER_S 1000u
#define NS_PER_MS 1000000u
/*
 * Frees of a thread from one look to the next.  A look costs some 200 ns, so
 * that each free has 12 of them; and by so many stacks a bound is exceeded.
 */
#define FREES_A_LOOK 16
#ifndef SCHED_DEADLINE
#define SCHED_DEADLINE 6 /* ABI; the name is younger than some headers */
#endif

static STACK_TLS unsigned frees;

static bool
is_real_time(void)
{
    int policy = sched_getscheduler(0) & ~SCHED_RESET_ON_FORK;
    return policy == SCHED_FIFO || policy == SCHED_RR || policy == SCHED_DEADLINE;
}

static umem_cache_t *
class_cache(unsigned index)
{
    return atomic_load_explicit(&stack_classes[index].class_cache, memory_order_acquire);
}

static uint64_t
now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec * MS_PER_S + (uint64_t)now.tv_nsec / NS_PER_MS;
}

/* Gives back what nobody wanted since this was done last, if that is long enough ago. */
static void
trim_idle(unsigned index)
{
    struct stack_class *class = &stack_classes[index];
    uint32_t idle_ms = atomic_load_explicit(&class->class_idle_ms, memory_order_relaxed);
    uint64_t due = atomic_load_explicit(&class->class_due_ms, memory_order_relaxed);
    uint64_t now = now_ms();
    if (idle_ms != 0 && class_cache(index) != NULL && now >= due &&
        atomic_compare_exchange_strong(&class->class_due_ms, &due, now + idle_ms))
        (void)umem_cache_trim(class_cache(index), 0, UMEM_TRIM_IDLE);
}

static STACK_COLD void
look(unsigned index)
{
    int error = errno;
    if (!stack_is_sealed() && !is_real_time()) {
        size_t keep = atomic_load_explicit(&stack_classes[index].class_keep, memory_order_relaxed);
        if (keep != 0)
            (void)umem_cache_trim(class_cache(index), keep, 0);
        for (unsigned i = 0; i < STACK_CLASSES; i++)
            trim_idle(i);
    }
    errno = error;
}

void
stack_trim_after_free(unsigned index)
{
    if (++frees % FREES_A_LOOK == 0)
        look(index);
}

void
stack_trim_choose(unsigned index, size_t bytes, unsigned idle_ms)
{
    struct stack_class *class = &stack_classes[index];
    /* One at least: 0 has the engine search this thread's magazines. */
    size_t keep = bytes / stack_class_size(index) + (bytes % stack_class_size(index) != 0);
    atomic_store_explicit(&class->class_keep, keep, memory_order_relaxed);
    atomic_store_explicit(&class->class_idle_ms, idle_ms, memory_order_relaxed);
}

static ssize_t
refuse(int error)
{
    errno = error;
    return -1;
}

STACK_EXPORT ssize_t
stack_trim(size_t size, size_t keep)
{
    size_t trimmed = 0;
    if (size != 0 && !stack_size_supported(size))
        return refuse(EINVAL);
    if (stack_is_sealed())
        return refuse(EBUSY);
    if (is_real_time())
        return refuse(EPERM);
    for (unsigned i = 0; i < STACK_CLASSES; i++)
        if ((size == 0 || size == stack_class_size(i)) && class_cache(i) != NULL) {
            stash_close(i); /* what threads have at hand counts */
            trimmed += umem_cache_trim(class_cache(i), keep, 0);
        }
    return (ssize_t)trimmed;
}
