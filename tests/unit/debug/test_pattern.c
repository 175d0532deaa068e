/* SPDX-License-Identifier: MIT */
/*
 * test_pattern.c - runs of every length are written exactly, and a byte that
 * differs anywhere in one is seen.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "debug/pattern.h"

/* Past what is done inline, and no multiple of anything. */
enum { SIZE_MAX_TESTED = UMEM_PATTERN_INLINE + 83, MARGIN = 16 };

static char memory[MARGIN + SIZE_MAX_TESTED + MARGIN] __attribute__((aligned(16)));

static void
test_every_length(void **state)
{
    char *p = memory + MARGIN;

    (void)state;
    for (size_t size = 0; size <= SIZE_MAX_TESTED; size++) {
        memset(memory, 0x55, sizeof(memory));
        umem_fill(p, size, UMEM_FREE_WORD);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(p[i], "\xef\xbe\xad\xde"[i % 4]);
        for (size_t i = 0; i < MARGIN; i++)
            assert_true(memory[i] == 0x55 && p[size + i] == 0x55);
        assert_true(umem_is_run(p, size, UMEM_FREE_WORD));
        assert_int_equal(umem_first_difference(p, size, UMEM_FREE_WORD), size);
    }
}

static void
test_every_byte(void **state)
{
    char *p = memory + MARGIN;

    (void)state;
    for (size_t size = 1; size <= SIZE_MAX_TESTED; size += 1 + size / 17) {
        umem_fill(p, size, UMEM_FREE_WORD);
        for (size_t i = 0; i < size; i++) {
            p[i] ^= 0x10;
            assert_false(umem_is_run(p, size, UMEM_FREE_WORD));
            assert_int_equal(umem_first_difference(p, size, UMEM_FREE_WORD), i);
            p[i] ^= 0x10;
        }
    }
}

/* From any address on, slack goes on as it would from a multiple of 8 on. */
static void
test_slack(void **state)
{
    (void)state;
    for (size_t from = 0; from < 8; from++) {
        uint64_t word = umem_slack_word(memory + from);
        for (size_t i = 0; i < 8; i++)
            assert_int_equal(word >> 8 * i & 0xff, UMEM_SLACK_BYTE(memory + from + i));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_length),
        cmocka_unit_test(test_every_byte),
        cmocka_unit_test(test_slack),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
