/* SPDX-License-Identifier: MIT */
/*
 * test_pagemap.c - what is written for a granule is read back for every
 * address in it and for no other; foreign addresses read as 0.
 */
#include "support.h"

static void
test_foreign(void **state)
{
    int local = 0;

    (void)state;
    assert_int_equal(pagemap_get(NULL), 0);
    assert_int_equal(pagemap_get(&local), 0);
    assert_int_equal(pagemap_get((void *)UINTPTR_MAX), 0);
    assert_int_equal(pagemap_get((void *)((uintptr_t)1 << (UMEM_VA_BITS - 1))), 0);
#if UINTPTR_MAX > 0xffffffffu
    assert_int_equal(pagemap_get((void *)((uintptr_t)1 << UMEM_VA_BITS)), 0);
    assert_int_equal(pagemap_get((void *)0xdeadbeefdeadbeef), 0);
#endif
}

static void
test_word(void **state)
{
    uint64_t record;
    uint64_t word = pagemap_word(&record, UMEM_PAGEMAP_LARGE, 4095);

    (void)state;
    assert_ptr_equal(pagemap_pointer(word), &record);
    assert_int_equal(pagemap_kind(word), UMEM_PAGEMAP_LARGE);
    assert_int_equal(pagemap_bin(word), 4095);
}

static void
test_set_clear(void **state)
{
    uint64_t record;
    uint64_t word = pagemap_word(&record, UMEM_PAGEMAP_SLAB, 3);
    /* Across a leaf's end, at an address that nobody maps here. */
    size_t leaf_span = UMEM_PAGEMAP_LEAF_SIZE * UMEM_GRANULE;
    char *base = (char *)(leaf_span * 5 - UMEM_GRANULE * 2);
    size_t size = UMEM_GRANULE * 4;

    (void)state;
    assert_true(pagemap_set(base, size, word));
    for (size_t i = 0; i < size; i += UMEM_GRANULE / 2 - 1)
        assert_int_equal(pagemap_get(base + i), word);
    assert_int_equal(pagemap_get(base + size - 1), word);
    assert_int_equal(pagemap_get(base - 1), 0);
    assert_int_equal(pagemap_get(base + size), 0);
    pagemap_clear(base, UMEM_GRANULE);
    assert_int_equal(pagemap_get(base), 0);
    assert_int_equal(pagemap_get(base + UMEM_GRANULE), word);
    pagemap_clear(base, size);
    assert_int_equal(pagemap_get(base + size - 1), 0);
}

/* One byte is enough to own a granule: what an oversize block does. */
static void
test_one_byte(void **state)
{
    uint64_t record;
    char *base = (char *)(UMEM_GRANULE * 12345);

    (void)state;
    assert_true(pagemap_set(base, 1, pagemap_word(&record, UMEM_PAGEMAP_LARGE, 0)));
    assert_int_not_equal(pagemap_get(base + UMEM_GRANULE - 1), 0);
    assert_int_equal(pagemap_get(base + UMEM_GRANULE), 0);
    pagemap_clear(base, 1);
}

/* The nearest words of an address, across leaves that are not there. */
static void
test_neighbours(void **state)
{
    uint64_t record;
    uint64_t low = pagemap_word(&record, UMEM_PAGEMAP_LARGE, 1);
    uint64_t high = pagemap_word(&record, UMEM_PAGEMAP_SLAB, 2);
    size_t leaf_span = UMEM_PAGEMAP_LEAF_SIZE * UMEM_GRANULE;
    char *below = (char *)(leaf_span * 3 - UMEM_GRANULE), *above = (char *)(leaf_span * 9);
    uintptr_t granule;

    (void)state;
    assert_int_equal(pagemap_below((void *)UINTPTR_MAX, &granule), 0);
    assert_int_equal(pagemap_above(NULL, &granule), 0);
    assert_true(pagemap_set(below, UMEM_GRANULE, low));
    assert_true(pagemap_set(above, 2 * UMEM_GRANULE, high));
    assert_int_equal(pagemap_below(above + 5, &granule), low);
    assert_int_equal(granule, (uintptr_t)below);
    assert_int_equal(pagemap_below(below + UMEM_GRANULE, &granule), low);
    assert_int_equal(granule, (uintptr_t)below);
    assert_int_equal(pagemap_below(below + UMEM_GRANULE - 1, &granule), 0);
    assert_int_equal(pagemap_above(below + UMEM_GRANULE - 1, &granule), high);
    assert_int_equal(granule, (uintptr_t)above);
    assert_int_equal(pagemap_above(above + UMEM_GRANULE - 1, &granule), high);
    assert_int_equal(granule, (uintptr_t)above + UMEM_GRANULE);
    assert_int_equal(pagemap_above(above + UMEM_GRANULE, &granule), 0);
    assert_int_equal(pagemap_below((void *)UINTPTR_MAX, &granule), high);
    assert_int_equal(pagemap_above((void *)UINTPTR_MAX, &granule), 0);
    assert_true(pagemap_has_leaf(below));
    assert_true(pagemap_has_leaf(above + UMEM_GRANULE));
    assert_false(pagemap_has_leaf((char *)(leaf_span * 7)));
    assert_false(pagemap_has_leaf((void *)UINTPTR_MAX));
    pagemap_clear(below, UMEM_GRANULE);
    pagemap_clear(above, 2 * UMEM_GRANULE);
}

#if UINTPTR_MAX > 0xffffffffu
static void
test_beyond(void **state)
{
    uint64_t record;

    (void)state;
    assert_false(pagemap_set((void *)((uintptr_t)1 << UMEM_VA_BITS), UMEM_GRANULE,
                             pagemap_word(&record, UMEM_PAGEMAP_SLAB, 0)));
}
#endif

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_foreign),
        cmocka_unit_test(test_word),
        cmocka_unit_test(test_set_clear),
        cmocka_unit_test(test_one_byte),
        cmocka_unit_test(test_neighbours),
#if UINTPTR_MAX > 0xffffffffu
        cmocka_unit_test(test_beyond),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
