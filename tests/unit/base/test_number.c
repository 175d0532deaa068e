/* SPDX-License-Identifier: MIT */
/*
 * test_number.c - what is a number, with and without a suffix, and what is not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/number.h"

static bool
is(const char *text, bool suffixes, uint64_t expected)
{
    uint64_t n = 4711;

    return umem_parse_number(text, strlen(text), suffixes, &n) && n == expected;
}

static bool
is_none(const char *text, bool suffixes)
{
    uint64_t n;

    return !umem_parse_number(text, strlen(text), suffixes, &n);
}

static void
test_numbers(void **state)
{
    (void)state;
    assert_true(is("0", false, 0) && is("12", true, 12) && is("007", false, 7));
    assert_true(is("18446744073709551615", true, UINT64_MAX));
    assert_true(is("1k", true, 1024) && is("3M", true, 3 << 20) && is("1t", true, 1ull << 40));
}

static void
test_others(void **state)
{
    static const char *const none[] = {
        "", " 1", "1 ", "-1", "+1", "k", "1kk", "1x", "0x10", "18446744073709551616", "1\n"};
    (void)state;
    for (size_t i = 0; i < UMEM_ARRAY_SIZE(none); i++)
        assert_true(is_none(none[i], false) && is_none(none[i], true));
    assert_true(is_none("1k", false) && is_none("18014398509481984k", true));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
