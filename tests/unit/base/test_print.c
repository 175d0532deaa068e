/* SPDX-License-Identifier: MIT */
/*
 * test_print.c - the small printf says what the C library's does, for all that
 * it offers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/print.h"

#define SAME(...)                                                                                  \
    do {                                                                                           \
        char ours[200], theirs[200];                                                               \
        size_t n = umem_snprintf(ours, sizeof(ours), __VA_ARGS__);                                 \
        int m = snprintf(theirs, sizeof(theirs), __VA_ARGS__);                                     \
        assert_string_equal(ours, theirs);                                                         \
        assert_int_equal(n, m);                                                                    \
    } while (0)

static void
test_numbers(void **state)
{
    (void)state;
    SAME("%d %d %d", 0, INT_MAX, INT_MIN);
    SAME("%u %x", UINT_MAX, UINT_MAX);
    SAME("%ld %ld %lu %lx", LONG_MAX, LONG_MIN, ULONG_MAX, ULONG_MAX);
    SAME("%lld %llu", LLONG_MIN, ULLONG_MAX);
    SAME("%zu %zx %td", SIZE_MAX, (size_t)255, (ptrdiff_t)-5);
    SAME("%5d|%-5d|%05d|%05d", 42, 42, 42, -42);
    SAME("%8x|%08x|%-8x|", 0xbeefu, 0xbeefu, 0xbeefu);
    SAME("%03u.%09u", 7u, 123456u);
    SAME("%p", (void *)0x7f001234);
}

static void
test_text(void **state)
{
    (void)state;
    SAME("%s and %s", "this", "that");
    SAME("%10s|%-10s|", "right", "left");
    SAME("%.3s|%.*s|%.0s|", "abcdef", 2, "abcdef", "gone");
    SAME("%c%c%%", 'o', 'k');
    SAME("no conversions");
    SAME("%s", "");
    char ours[16];
    const char *volatile nothing = NULL; /* volatile: the compiler would warn */
    umem_snprintf(ours, sizeof(ours), "%s", nothing);
    assert_string_equal(ours, "(null)");
    /* Precision may be what keeps a text without end in bounds. */
    umem_snprintf(ours, sizeof(ours), "%.2s", (const char[]){'a', 'b'});
    assert_string_equal(ours, "ab");
}

static void
test_bounds(void **state)
{
    char text[8];

    (void)state;
    memset(text, 'x', sizeof(text));
    assert_int_equal(umem_snprintf(text, 4, "%s", "abcdef"), 6);
    assert_string_equal(text, "abc");
    assert_int_equal(text[4], 'x');
    assert_int_equal(umem_snprintf(text, 1, "%d", 12345), 5);
    assert_string_equal(text, "");
    text[0] = 'y';
    assert_int_equal(umem_snprintf(text, 0, "%d", 12345), 5);
    assert_int_equal(text[0], 'y');
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
