/* SPDX-License-Identifier: MIT */
/*
 * test_reserve.c - stacks that are made beforehand: allocated without a system
 * call, sealed, and what goes beyond is counted.
 */
#include "stacktest.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <umem.h>

enum { COUNT = 50 };
static char *stacks[COUNT + 1];

static void
child_quiet(void *arg)
{
    CHECK(stack_reserve(64 * KIB, COUNT) == 0);
    umem_reap(); /* leaves them */
    if (*(bool *)arg)
        CHECK(stack_seal() == 0);
    forbid_system_calls();
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < COUNT; i++) {
            stacks[i] = stack_alloc(64 * KIB);
            if (stacks[i] == NULL)
                _exit(2);
            for (size_t k = 0; k < 64 * KIB; k += 4096)
                stacks[i][k] = 1;
        }
        for (int i = 0; i < COUNT; i++)
            if (stack_free(stacks[i], 64 * KIB) != 0)
                _exit(3);
    }
    _exit(0);
}

static void
test_reserved_stacks_make_no_system_call(void **state)
{
    (void)state;
    if (SANITIZED)
        skip();
    bool seal = false;
    must_succeed(child_quiet, &seal);
    seal = true;
    must_succeed(child_quiet, &seal);
}

static void
child_breach(void *arg)
{
    (void)arg;
    CHECK(stack_reserve(64 * KIB, COUNT) == 0 && stack_seal() == 0);
    CHECK(stack_seal() == -1 && errno == EINVAL);
    CHECK(stack_reserve(64 * KIB, 1) == -1 && errno == EBUSY);
    int i = 0;
    /* A first one: pages of code, of data that the parent shares, and of this array. */
    CHECK((stacks[i] = stack_alloc(64 * KIB)) != NULL);
    memset(stacks[i], 1, 64 * KIB);
    CHECK(stack_free(stacks[i], 64 * KIB) == 0);
    long faults = thread_faults();
    for (; i < COUNT; i++) {
        CHECK((stacks[i] = stack_alloc(64 * KIB)) != NULL);
        memset(stacks[i], 1, 64 * KIB);
    }
    CHECK(SANITIZED || thread_faults() == faults);
    CHECK(stack_breaches() == 0);
    /* However many there were beside the reserve: in the end one is missing. */
    char *last = NULL;
    for (i = 0; i < 100 && stack_breaches() == 0; i++)
        CHECK((last = stack_alloc(64 * KIB)) != NULL);
    CHECK(stack_breaches() == 1);
    CHECK(!is_readable(last - 1) && is_readable(last) && !is_readable(last + 64 * KIB));
    CHECK(stack_unseal() == 0);
    CHECK(stack_unseal() == -1 && errno == EINVAL);
    CHECK(stack_free(last, 64 * KIB) == 0 && stack_reserve(64 * KIB, 0) == 0);
}

static void
test_breach_is_counted(void **state)
{
    (void)state;
    must_succeed(child_breach, NULL);
}

/* The engine wants a reserve in memory; guards in its midst, and lazy stacks, are left alone. */
static void
child_regions(void *arg)
{
    struct stack_config config = {.config_backend = STACK_BACKEND_REGIONS,
                                  .config_lazy = *(int *)arg};
    if (stack_config(64 * KIB, &config, sizeof(config)) != 0)
        _exit(CHILD_SKIP);
    CHECK(stack_reserve(64 * KIB, COUNT) == 0);
    CHECK(stack_seal() == 0);
    for (int i = 0; i < COUNT; i++) {
        CHECK((stacks[i] = stack_alloc(64 * KIB)) != NULL);
        CHECK(resident_pages(stacks[i], 64 * KIB) == (config.config_lazy ? 0 : 64 * KIB / PAGE));
        CHECK(!is_readable(stacks[i] - 1) && !is_readable(stacks[i] + 64 * KIB));
    }
    CHECK(stack_breaches() == 0);
}

static void
test_reserve_with_guard_regions(void **state)
{
    (void)state;
    if (SANITIZED)
        skip();
    int lazy = 0;
    must_succeed(child_regions, &lazy);
    lazy = 1;
    must_succeed(child_regions, &lazy);
}

static size_t
built(void)
{
    struct stack_stats stats;
    CHECK(stack_stats(&stats, sizeof(stats)) == 0);
    return stats.stats_used_bytes + stats.stats_cached_bytes;
}

static void
child_budget(void *arg)
{
    enum { FIT = 10 };
    const size_t size = 64 * KIB;
    char *fit[FIT], *large;
    struct stack_config config = {.config_backend = *(enum stack_backend *)arg};
    if (stack_config(size, &config, sizeof(config)) != 0)
        _exit(CHILD_SKIP);
    stack_budget(FIT * size);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < FIT; i++)
            CHECK((fit[i] = stack_alloc(size)) != NULL);
        errno = 0;
        CHECK(stack_alloc(size) == NULL && errno == EAGAIN);
        CHECK(stack_alloc(2 * size) == NULL && errno == EAGAIN);
        CHECK(stack_reserve(32 * KIB, 1) == -1 && errno == EAGAIN && built() == FIT * size);
        for (int i = 0; i < FIT; i++)
            CHECK(stack_free(fit[i], size) == 0);
        /* Those that lie in the cache make room for another size. */
        CHECK(built() == FIT * size && (large = stack_alloc(8 * size)) != NULL);
        CHECK(built() <= FIT * size && stack_free(large, 8 * size) == 0);
        CHECK(stack_alloc(16 * size) == NULL && errno == EAGAIN);
    }
    /* What is there stays, and the next one is made when there is room again. */
    CHECK((large = stack_alloc(8 * size)) != NULL);
    stack_budget(size);
    CHECK(stack_alloc(size) == NULL && errno == EAGAIN);
    CHECK(stack_free(large, 8 * size) == 0 && (fit[0] = stack_alloc(size)) != NULL);
    CHECK(built() == size && stack_alloc(size) == NULL && errno == EAGAIN);
    stack_budget(0);
    CHECK(stack_alloc(2 * MIB) != NULL);
}

static void
test_budget(void **state)
{
    (void)state;
    enum stack_backend backends[] = {STACK_BACKEND_MPROTECT, STACK_BACKEND_REGIONS};
    for (int i = 0; i < 2; i++)
        must_succeed(child_budget, &backends[i]);
}

static void
child_refused(void *arg)
{
    (void)arg;
    CHECK(stack_reserve(1, 1) == -1 && errno == EINVAL);
    CHECK(stack_unseal() == -1 && errno == EINVAL);
    struct rlimit limit = {(rlim_t)status_kib("VmSize:") * KIB + 64 * MIB, RLIM_INFINITY};
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    CHECK(stack_reserve(2 * MIB, 1000) == -1 && errno == ENOMEM);
    char *stack = stack_alloc(2 * MIB); /* what was made stays */
    CHECK(stack != NULL && stack_free(stack, 2 * MIB) == 0);
    /* More than the machine has: the limit above would end it, too, but with memory spent. */
    size_t before = built();
    if (sizeof(void *) == 8)
        CHECK(stack_reserve(32 * KIB, SIZE_MAX / MIB) == -1 && errno == ENOMEM);
    CHECK(built() == before);
}

static void
test_what_cannot_be_is_refused(void **state)
{
    (void)state;
    if (SANITIZED)
        skip();
    must_succeed(child_refused, NULL);
}

enum { THREADS = 6, TURNS = 20000, PLACES = 8 };
_Static_assert(2 * THREADS + PLACES <= COUNT, "there are enough");

static _Atomic(char *) places[PLACES];
static _Atomic int started, finished;

/* A stack of one's own bears one's number, wherever it comes from; it goes to whoever swaps it. */
static void *
swap_stacks(void *arg)
{
    char number = *(char *)arg;
    atomic_fetch_add(&started, 1);
    while (atomic_load(&started) < THREADS)
        sched_yield();
    forbid_system_calls();
    for (int i = 0; i < TURNS; i++) {
        char *stack = stack_alloc(64 * KIB);
        if (stack == NULL)
            _exit(2);
        stack[0] = stack[64 * KIB - 1] = number;
        for (volatile int pause = 0; pause < i % 50; pause++)
            ;
        if (stack[0] != number || stack[64 * KIB - 1] != number)
            _exit(3);
        char *other = atomic_exchange(&places[i % PLACES], stack);
        if (other != NULL && stack_free(other, 64 * KIB) != 0)
            _exit(4);
    }
    atomic_fetch_add(&finished, 1);
    for (;;) /* to end would be a system call */
        ;
}

static void
child_threads(void *unused)
{
    (void)unused;
    static char numbers[THREADS];
    pthread_t id;
    CHECK(stack_reserve(64 * KIB, COUNT) == 0 && stack_seal() == 0);
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = (char)(i + 1);
        CHECK(pthread_create(&id, NULL, swap_stacks, &numbers[i]) == 0);
    }
    while (atomic_load(&finished) < THREADS)
        usleep(1000);
    CHECK(stack_breaches() == 0);
}

/* None of them makes a system call, waits, or has a stack that another one has. */
static void
test_sealed_for_many_threads(void **state)
{
    (void)state;
    if (SANITIZED)
        skip();
    must_succeed(child_threads, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reserved_stacks_make_no_system_call),
        cmocka_unit_test(test_breach_is_counted),
        cmocka_unit_test(test_reserve_with_guard_regions),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_what_cannot_be_is_refused),
        cmocka_unit_test(test_sealed_for_many_threads),
    };
    return cmocka_run_group_tests_name("stackalloc/reserve", tests, NULL, NULL);
}
