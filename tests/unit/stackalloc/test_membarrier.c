/* SPDX-License-Identifier: MIT */
/*
 * test_membarrier.c - the barrier on all threads: who is past it sees what
 * another thread stored before a load of its own, without a fence there.
 */
#include "stacktest.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#include "membarrier.h"

enum { TURNS = 20000, SECONDS_MAX = 5 };

static _Atomic int busy, closed, turn;
static _Atomic int entered;
static _Atomic bool done;

/* Once round a loop that waits for the other, which may want this processor. */
static void
wait_more(void)
{
    enum { SPINS = 200 };
    static _Thread_local unsigned spins;

    if (++spins % SPINS == 0)
        sched_yield();
}

/* Says that it is busy and looks whether it may: with no fence in between. */
static void *
owner(void *unused)
{
    (void)unused;
    for (int i = 1; i <= TURNS; i++) {
        while (atomic_load_explicit(&turn, memory_order_acquire) < i) {
            if (done)
                return NULL;
            wait_more();
        }
        atomic_store_explicit(&busy, i, memory_order_relaxed);
        atomic_signal_fence(memory_order_seq_cst);
        if (atomic_load_explicit(&closed, memory_order_relaxed) < i)
            atomic_store_explicit(&entered, i, memory_order_relaxed);
        atomic_store_explicit(&turn, -i, memory_order_release);
        while (atomic_load_explicit(&turn, memory_order_acquire) == -i)
            wait_more();
    }
    return NULL;
}

static void
test_one_of_two_sees_the_other(void **state)
{
    (void)state;
    pthread_t id;
    assert_true(barrier_register());
    assert_int_equal(pthread_create(&id, NULL, owner, NULL), 0);
    /* On a busy machine a turn may take milliseconds: as many as there is time for. */
    time_t end = time(NULL) + SECONDS_MAX;
    for (int i = 1; i <= TURNS && time(NULL) <= end; i++) {
        atomic_store_explicit(&turn, i, memory_order_release);
        atomic_store_explicit(&closed, i, memory_order_relaxed);
        barrier_all();
        bool seen = atomic_load_explicit(&busy, memory_order_relaxed) == i;
        while (atomic_load_explicit(&turn, memory_order_acquire) != -i)
            wait_more();
        assert_true(seen || atomic_load_explicit(&entered, memory_order_relaxed) != i);
        atomic_store_explicit(&turn, 0, memory_order_release);
    }
    done = true;
    pthread_join(id, NULL);
}

static void
test_errno_is_kept(void **state)
{
    (void)state;
    errno = 4711;
    assert_true(barrier_register()); /* a second time does no harm */
    barrier_all();
    assert_int_equal(errno, 4711);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_of_two_sees_the_other),
        cmocka_unit_test(test_errno_is_kept),
    };
    if (syscall(SYS_membarrier, 0, 0, 0) <= 0)
        return 77; /* skipped */
    return cmocka_run_group_tests_name("stackalloc/membarrier", tests, NULL, NULL);
}
