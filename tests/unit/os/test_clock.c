/* SPDX-License-Identifier: MIT */
/*
 * test_clock.c - both clocks are CLOCK_MONOTONIC and never go back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <time.h>

#include "os/os.h"

static void
test_monotonic(void **state)
{
    struct timespec now;

    (void)state;
    uint64_t last = os_clock_ns();
    for (int i = 0; i < 100000; i++) {
        uint64_t next = os_clock_ns();
        assert_true(next >= last);
        last = next;
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t libc = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    assert_true(libc >= last && libc - last < 1000000000u);
}

static void
test_coarse(void **state)
{
    (void)state;
    uint64_t before = os_clock_coarse_ms();
    nanosleep(&(struct timespec){0, 50000000}, NULL);
    uint64_t after = os_clock_coarse_ms();
    assert_true(after - before >= 30);
    uint64_t fine = os_clock_ns() / 1000000u;
    assert_true(fine + 1 >= after && fine - after < 1000);
    uint64_t same = os_clock_coarse_ns() / 1000000u;
    assert_true(same >= after && same - after < 1000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_monotonic),
        cmocka_unit_test(test_coarse),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
