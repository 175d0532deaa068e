/* SPDX-License-Identifier: MIT */
/*
 * test_limits.c - each backend at the limits of the system: the error that the
 * manual names, no stack without guards, and as many stacks the second time.
 */
#include "stacktest.h"

#include <umem.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

#define MOST 4000
#define STACK (64 * KIB)

static const enum stack_backend backends[] = {STACK_BACKEND_AUTO, STACK_BACKEND_MPROTECT,
                                              STACK_BACKEND_REGIONS};
static char *stacks[MOST];

static enum stack_backend
choose_backend(void *arg)
{
    enum stack_backend backend = *(enum stack_backend *)arg;
    struct stack_config config = {.config_backend = backend};
    if (stack_config(STACK, &config, sizeof(config)) != 0)
        _exit(CHILD_SKIP);
    return backend;
}

/* Until it fails, or there are MOST; the error is in errno then. */
static size_t
fill(void)
{
    size_t n = 0;
    errno = 0;
    while (n < MOST && (stacks[n] = stack_alloc(STACK)) != NULL)
        n++;
    return n;
}

static void
check_and_free(size_t n, bool locked)
{
    for (size_t i = 0; i < n; i++) {
        CHECK(!is_readable(stacks[i] - 1) && !is_readable(stacks[i] + STACK));
        CHECK(resident_pages(stacks[i], STACK) == STACK / PAGE);
        CHECK(!locked || locked_pages(stacks[i], STACK) == STACK / PAGE);
    }
    for (size_t i = 0; i < n; i++)
        CHECK(stack_free(stacks[i], STACK) == 0);
}

/* Fills up twice, and takes apart what there was in between. */
static size_t
fill_twice(int error, bool locked)
{
    size_t first = fill();
    CHECK(first == MOST || errno == error);
    check_and_free(first, locked);
    umem_reap();
    umem_reap();
    size_t second = fill();
    CHECK(second == MOST || errno == error);
    CHECK(second + second / 4 >= first);
    check_and_free(second, locked);
    return first;
}

static void
child_address_space(void *arg)
{
    choose_backend(arg);
    rlim_t room = (rlim_t)status_kib("VmSize:") * KIB + 100 * MIB;
    struct rlimit limit = {room, room};
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    size_t n = fill_twice(ENOMEM, false);
    CHECK(n > 100 && n < 100 * MIB / STACK);
}

static void
child_locked_memory(void *arg)
{
    choose_backend(arg);
    struct rlimit limit = {8 * MIB, 8 * MIB};
    CHECK(setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
    if (geteuid() == 0)
        CHECK(setuid(65534) == 0);
    if (mlockall(MCL_FUTURE) != 0)
        _exit(CHILD_SKIP);
    size_t n = fill_twice(EAGAIN, true);
    CHECK(n > 50 && n <= 8 * MIB / STACK);
}

/* Splits mappings, until the system allows no more, and gives room back for a few. */
static void
use_up_mappings(size_t room)
{
    size_t pages = 400000;
    char *area = mmap(NULL, pages * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(area != MAP_FAILED);
    size_t i = 1;
    while (i < pages && mprotect(area + i * PAGE, PAGE, PROT_READ) == 0)
        i += 2;
    if (i >= pages)
        _exit(CHILD_SKIP); /* the limit is far up */
    for (size_t k = 1; k < room; k += 2)
        CHECK(mprotect(area + k * PAGE, PAGE, PROT_NONE) == 0);
}

/* Where guards may be regions, what others took of the mappings ends nothing. */
static void
child_mappings(void *arg)
{
    enum stack_backend backend = choose_backend(arg);
    bool regions = madvise((void *)PAGE, 0, MADV_GUARD_INSTALL) == 0;
    use_up_mappings(400);
    size_t n = fill_twice(ENOMEM, false);
    CHECK(backend != STACK_BACKEND_MPROTECT && regions ? n == MOST : n > 50 && n <= 200);
}

static void
in_each_backend(void (*child)(void *))
{
    if (SANITIZED)
        skip();
    for (size_t i = 0; i < sizeof(backends) / sizeof(backends[0]); i++)
        must_succeed(child, (void *)&backends[i]);
}

static void
test_address_space(void **state)
{
    (void)state;
    in_each_backend(child_address_space);
}

static void
test_locked_memory(void **state)
{
    (void)state;
    in_each_backend(child_locked_memory);
}

static void
test_mappings(void **state)
{
    (void)state;
    in_each_backend(child_mappings);
}

/* A locked mapping takes no guard regions: EINVAL there does not mean that there are none. */
static void
child_locked_between(void *arg)
{
    choose_backend(arg);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 30; i++)
            CHECK((stacks[i] = stack_alloc(STACK)) != NULL);
        if (mlockall(MCL_CURRENT | (round > 0 ? MCL_FUTURE : 0)) != 0)
            _exit(CHILD_SKIP);
        for (int i = 30; i < 60; i++)
            CHECK((stacks[i] = stack_alloc(STACK)) != NULL);
        check_and_free(60, round > 0);
        umem_reap();
        umem_reap();
    }
}

static void
test_locked_while_there_are_stacks(void **state)
{
    (void)state;
    in_each_backend(child_locked_between);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_address_space),
        cmocka_unit_test(test_locked_memory),
        cmocka_unit_test(test_mappings),
        cmocka_unit_test(test_locked_while_there_are_stacks),
    };
    return cmocka_run_group_tests_name("stackalloc/limits", tests, NULL, NULL);
}
