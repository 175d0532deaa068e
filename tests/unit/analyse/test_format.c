/* SPDX-License-Identifier: MIT */
/*
 * test_format.c - numbers and ages as text.
 */
#include "report/format.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define SECOND ((uint64_t)1000000000)

static void
test_counts(void **state)
{
    (void)state;
    assert_string_equal(format_count(0).s, "0");
    assert_string_equal(format_count(999).s, "999");
    assert_string_equal(format_count(1000).s, "1,000");
    assert_string_equal(format_count(123456).s, "123,456");
    assert_string_equal(format_count(UINT64_MAX).s, "18,446,744,073,709,551,615");
    assert_string_equal(format_plural(1, "buffer", "buffers").s, "1 buffer");
    assert_string_equal(format_plural(0, "buffer", "buffers").s, "0 buffers");
    assert_string_equal(format_plural(2500, "buffer", "buffers").s, "2,500 buffers");
}

static void
test_sizes(void **state)
{
    (void)state;
    assert_string_equal(format_size(0).s, "0");
    assert_string_equal(format_size(999).s, "999");
    assert_string_equal(format_size(1024).s, "1.0K");
    assert_string_equal(format_size(64 * 1024).s, "64K");
    assert_string_equal(format_size(1 << 20).s, "1.0M");
    assert_string_equal(format_size(1023 * 1024).s, "1.0M");
    assert_string_equal(format_size((uint64_t)3 << 30).s, "3.0G");
    assert_string_equal(format_size(UINT64_MAX).s, "16E");
}

static void
test_percents(void **state)
{
    (void)state;
    assert_string_equal(format_percent(1, 4).s, "25.0 %");
    assert_string_equal(format_percent(0, 4).s, "0.0 %");
    assert_string_equal(format_percent(1, 1000000).s, "0.1 %");
    assert_string_equal(format_percent(1, 0).s, "0.0 %");
}

static void
test_ages(void **state)
{
    (void)state;
    assert_string_equal(format_age(0).s, "0 ms");
    assert_string_equal(format_age(SECOND - 1).s, "999 ms");
    assert_string_equal(format_age(59 * SECOND).s, "59 s");
    assert_string_equal(format_age(200 * SECOND).s, "3 min 20 s");
    assert_string_equal(format_age(7500 * SECOND).s, "2 h 5 min");
    assert_string_equal(format_age(273600 * SECOND).s, "3 d 4 h");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_percents),
        cmocka_unit_test(test_ages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
