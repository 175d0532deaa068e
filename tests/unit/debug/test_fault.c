/* SPDX-License-Identifier: MIT */
/* test_fault.c - about one in mtbf, never, always, not in step in two threads; exactly one. */
#include "support.h"

#include <pthread.h>

#include "debug/debug.h"

#define DRAWS 100000

static unsigned
faults(uint32_t mtbf)
{
    unsigned n = 0;

    umem_mtbf = mtbf;
    for (int i = 0; i < DRAWS; i++)
        n += umem_fault_inject();
    umem_mtbf = 0;
    return n;
}

static void
rates(void **state)
{
    (void)state;
    assert_int_equal(faults(0), 0);
    assert_int_equal(faults(1), DRAWS);
    /* Five standard deviations of the binomial distribution: sqrt(n p (1 - p)). */
    assert_in_range(faults(2), DRAWS / 2 - 800, DRAWS / 2 + 800);
    assert_in_range(faults(10), DRAWS / 10 - 480, DRAWS / 10 + 480);
    assert_in_range(faults(1000), 50, 150);
    assert_in_range(faults(UINT32_MAX), 0, 2);
}

static void *
draw(void *arg)
{
    char *out = arg;

    for (int i = 0; i < 64; i++)
        out[i] = umem_fault_inject();
    return NULL;
}

static void
threads_differ(void **state)
{
    char first[64], second[64];
    pthread_t thread;

    (void)state;
    umem_mtbf = 2;
    pthread_create(&thread, NULL, draw, first);
    pthread_join(thread, NULL);
    pthread_create(&thread, NULL, draw, second);
    pthread_join(thread, NULL);
    umem_mtbf = 0;
    assert_memory_not_equal(first, second, sizeof(first));
}

/* fail=: that one and no other, whatever thread makes it. */
static void *
count(void *arg)
{
    unsigned *failed = arg;

    for (int i = 0; i < DRAWS; i++)
        *failed += umem_fault_inject();
    return NULL;
}

static void
exactly_one(void **state)
{
    unsigned before = 0, first = 0, second = 0, after = 0;
    pthread_t thread;

    (void)state;
    umem_options.opt_fail = 10;
    for (int i = 1; i < 10; i++)
        before += umem_fault_inject();
    assert_int_equal(before, 0);
    assert_true(umem_fault_inject());
    assert_int_equal(umem_fault_count(), 10);
    umem_options.opt_fail = DRAWS + 15;
    pthread_create(&thread, NULL, count, &first);
    count(&second);
    pthread_join(thread, NULL);
    assert_int_equal(first + second, 1);
    count(&after);
    assert_int_equal(after, 0);
    assert_int_equal(umem_fault_count(), 10 + 3 * DRAWS);
    umem_options.opt_fail = 0;
    assert_false(umem_fault_inject());
    assert_int_equal(umem_fault_count(), 10 + 3 * DRAWS);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates),
        cmocka_unit_test(threads_differ),
        cmocka_unit_test(exactly_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
