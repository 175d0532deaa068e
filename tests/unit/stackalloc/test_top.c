/* SPDX-License-Identifier: MIT */
/* test_top.c - coloured tops: within the stack, aligned, and spread over all colours. */
#include "stacktest.h"

#define COLOURS 16
#define COLOUR_BYTES 256

static void
test_tops_are_inside_and_aligned(void **state)
{
    (void)state;
    FOR_SIZES(size)
    {
        char *base = stack_alloc(size);
        char *top = stack_top(base, size);
        assert_true(top <= base + size && top >= base + size - (COLOURS - 1) * COLOUR_BYTES);
        assert_int_equal((uintptr_t)top % COLOUR_BYTES, 0);
        assert_ptr_equal(stack_top(base, size), top); /* always the same */
        stack_free(base, size);
    }
}

/* Stacks at any usual distance from each other: no colour has three times its share. */
static void
test_colours_are_spread(void **state)
{
    (void)state;
    enum { STACKS = 320 };
    for (size_t pages = 9; pages < 700; pages++) {
        int count[COLOURS] = {0};
        for (size_t i = 0; i < STACKS; i++) {
            char *base = (char *)(0x10000000 + i * pages * 4096);
            char *top = stack_top(base, 32 * KIB);
            count[(size_t)(base + 32 * KIB - top) / COLOUR_BYTES]++;
        }
        int most = 0;
        for (int i = 0; i < COLOURS; i++)
            most = count[i] > most ? count[i] : most;
        assert_in_range(most, STACKS / COLOURS, 3 * STACKS / COLOURS - 1);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tops_are_inside_and_aligned),
        cmocka_unit_test(test_colours_are_spread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
