/* SPDX-License-Identifier: MIT */
/*
 * test_stats.c - what stack_stats() counts, by what a child does that begins
 * with no stack, and older and newer structures.
 */
#include "stacktest.h"

#include <umem.h>

static void
count_of_each(void *arg)
{
    (void)arg;
    char *stacks[SIZES][3];
    struct stack_stats stats;
    CHECK(stack_stats(&stats, sizeof(stats)) == 0);
    CHECK(stats.stats_classes == SIZES && stats.stats_used_bytes == 0);
    CHECK(stats.stats_constructions == 0 && stats.stats_mappings == 0);
    size_t bytes = 0;
    for (size_t s = 0; s < SIZES; s++)
        for (size_t i = 0; i < 3; i++) {
            stacks[s][i] = stack_alloc(all_sizes[s]);
            bytes += all_sizes[s];
        }
    CHECK(stack_stats(&stats, sizeof(stats)) == 0);
    CHECK(stats.stats_used_bytes == bytes && stats.stats_locked_bytes == 0);
    CHECK(stats.stats_mappings > 0);
    for (size_t s = 0; s < SIZES; s++) {
        CHECK(stats.stats_class[s].class_size == all_sizes[s]);
        CHECK(stats.stats_class[s].class_used == 3);
        CHECK(stats.stats_class[s].class_constructions >= 3);
        stack_free(stacks[s][1], all_sizes[s]);
    }
    CHECK(stack_stats(&stats, sizeof(stats)) == 0);
    CHECK(stats.stats_used_bytes == bytes / 3 * 2);
    CHECK(stats.stats_cached_bytes >= bytes / 3);
    for (size_t s = 0; s < SIZES; s++)
        CHECK(stats.stats_class[s].class_used == 2 && stats.stats_class[s].class_cached >= 1);
    /* One that lost its memory. */
    size_t cold = stats.stats_cold_bytes;
    madvise(stacks[SIZES - 1][1], 2 * MIB, MADV_DONTNEED);
    CHECK(stack_stats(&stats, sizeof(stats)) == 0);
    CHECK(stats.stats_cold_bytes == cold + 2 * MIB);
}

static void
test_counts(void **state)
{
    (void)state;
    must_succeed(count_of_each, NULL);
}

static void
count_locked(void *arg)
{
    (void)arg;
    char *stack = stack_alloc(64 * KIB);
    if (mlock(stack, 64 * KIB) != 0)
        _exit(0); /* the system allows none */
    struct stack_stats stats;
    CHECK(stack_stats(&stats, sizeof(stats)) == 0);
    CHECK(stats.stats_locked_bytes == 64 * KIB || SANITIZED);
}

static void
test_locked(void **state)
{
    (void)state;
    must_succeed(count_locked, NULL);
}

/* A stack that lost its memory takes a fault for each page that is touched. */
static void
count_faults(void *arg)
{
    (void)arg;
    struct stack_stats before, after;
    char *stack = stack_alloc(64 * KIB);
    CHECK(stack_watermark(stack, 64 * KIB, STACK_WATERMARK_PAGES) == 0);
    CHECK(stack_stats(&before, sizeof(before)) == 0);
    for (size_t k = 0; k < 64 * KIB; k += PAGE)
        stack[k] = 1;
    CHECK(stack_stats(&after, sizeof(after)) == 0);
    CHECK(after.stats_faults >= before.stats_faults + 64 * KIB / PAGE);
}

static void
test_faults(void **state)
{
    (void)state;
    must_succeed(count_faults, NULL);
}

static void
test_other_sizes_of_structure(void **state)
{
    (void)state;
    struct {
        struct stack_stats stats;
        size_t later[4];
    } wide;
    memset(&wide, 0xff, sizeof(wide));
    errno = 0;
    assert_int_equal(stack_stats(&wide.stats, 0), -1);
    assert_int_equal(errno, EINVAL);
    /* An older program: nothing behind its structure is written. */
    assert_int_equal(stack_stats(&wide.stats, offsetof(struct stack_stats, stats_mappings)), 0);
    assert_int_equal(wide.stats.stats_mappings, SIZE_MAX);
    assert_int_not_equal(wide.stats.stats_used_bytes, SIZE_MAX);
    /* A newer one. */
    assert_int_equal(stack_stats(&wide.stats, sizeof(wide)), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(wide.later[i], 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_locked),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_other_sizes_of_structure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
