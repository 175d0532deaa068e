/* SPDX-License-Identifier: MIT */
/* test_fork.c - stack_reprefault(): in a child, stacks in use fault no more. */
#include "stacktest.h"

enum { STACKS = 20 };
static char *stacks[STACKS];

static long
faults_of_writing(void)
{
    long before = thread_faults();
    for (int i = 0; i < STACKS; i++)
        for (size_t k = 0; k < 64 * KIB; k += PAGE)
            stacks[i][k]++;
    return thread_faults() - before;
}

static void
without(void *arg)
{
    (void)arg;
    CHECK(faults_of_writing() > STACKS); /* the system copies on write: the test can fail */
}

static void
with(void *arg)
{
    (void)arg;
    CHECK(stack_reprefault() == 0);
    CHECK(faults_of_writing() <= 2);
    for (int i = 0; i < STACKS; i++)
        CHECK(stacks[i][PAGE + 1] == i);
}

static void
lazy(void *arg)
{
    (void)arg;
    CHECK(stack_watermark(stacks[0], 64 * KIB, STACK_WATERMARK_PAGES) == 0);
    stacks[0][64 * KIB - 1] = 1;
    CHECK(stack_reprefault() == 0);
    if (access("/proc/self/pagemap", R_OK) == 0)
        CHECK(resident_pages(stacks[0], 64 * KIB) == 1);
}

static void
test_reprefault(void **state)
{
    (void)state;
    for (int i = 0; i < STACKS; i++) {
        stacks[i] = stack_alloc(64 * KIB);
        memset(stacks[i], i, 64 * KIB);
    }
    if (!SANITIZED)
        must_succeed(without, NULL);
    if (!SANITIZED)
        must_succeed(with, NULL);
    must_succeed(lazy, NULL);
    for (int i = 0; i < STACKS; i++)
        stack_free(stacks[i], 64 * KIB);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reprefault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
