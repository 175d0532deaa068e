/* SPDX-License-Identifier: MIT */
/*
 * test_base.c - alignment arithmetic and the list.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/base.h"

static void
test_align(void **state)
{
    (void)state;
    assert_int_equal(umem_align_up(0, 16), 0);
    assert_int_equal(umem_align_up(1, 16), 16);
    assert_int_equal(umem_align_up(16, 16), 16);
    assert_int_equal(umem_align_down(31, 16), 16);
    /* What callers test for: rounding past the top wraps to less than they gave. */
    assert_true(umem_align_up(UINTPTR_MAX, 16) < UINTPTR_MAX);
    assert_false(umem_is_pow2(0));
    assert_true(umem_is_pow2(1));
    assert_false(umem_is_pow2(12));
    assert_true(umem_is_pow2(SIZE_MAX / 2 + 1));
    for (unsigned i = 0; i < sizeof(size_t) * 8; i++) {
        assert_int_equal(umem_log2((size_t)1 << i), i);
        assert_int_equal(umem_log2(((size_t)1 << i) | 1), i);
    }
}

static void
test_hash_spreads(void **state)
{
    unsigned low[64] = {0};

    (void)state;
    /* Addresses a page apart differ in their low hash bits. */
    for (uint64_t i = 0; i < 6400; i++)
        low[umem_hash64(i << 12) % 64]++;
    for (int i = 0; i < 64; i++)
        assert_in_range(low[i], 50, 150);
}

static void
test_hash_keeps_runs(void **state)
{
    unsigned low[64] = {0};

    (void)state;
    for (uint64_t i = 1; i < 1024; i++)
        assert_true(umem_hash_run(i) - umem_hash_run(i - 1) == 1);
    /* What is further apart is spread, whatever its stride. */
    for (uint64_t i = 0; i < 6400; i++)
        low[umem_hash_run(i << 10) % 64]++;
    for (int i = 0; i < 64; i++)
        assert_in_range(low[i], 50, 150);
}

struct item {
    int number;
    struct umem_list link;
};

static int
sum(struct umem_list *head, int *count)
{
    int total = 0;

    *count = 0;
    UMEM_LIST_FOR (node, head) {
        total = total * 10 + UMEM_CONTAINER_OF(node, struct item, link)->number;
        ++*count;
    }
    return total;
}

static void
test_list(void **state)
{
    struct umem_list head = UMEM_LIST_INIT(head);
    struct item one = {.number = 1}, two = {.number = 2}, three = {.number = 3};
    int count;

    (void)state;
    assert_true(umem_list_empty(&head));
    umem_list_push_back(&head, &two.link);
    umem_list_push_back(&head, &three.link);
    umem_list_push_front(&head, &one.link);
    assert_int_equal(sum(&head, &count), 123);
    umem_list_remove(&two.link);
    assert_int_equal(sum(&head, &count), 13);
    umem_list_remove(&two.link); /* twice is harmless: a removed node points at itself */
    umem_list_remove(&one.link);
    umem_list_remove(&three.link);
    assert_true(umem_list_empty(&head));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_align),
        cmocka_unit_test(test_hash_spreads),
        cmocka_unit_test(test_hash_keeps_runs),
        cmocka_unit_test(test_list),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
