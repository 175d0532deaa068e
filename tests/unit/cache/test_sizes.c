/* SPDX-License-Identifier: MIT */
/*
 * test_sizes.c - the classes rise, waste little, and are found by table and by
 * shifts alike.
 */
#include "support.h"

static void
test_table(void **state)
{
    (void)state;
    for (unsigned c = 0; c < UMEM_CLASS_COUNT; c++) {
        size_t size = umem_classes[c].class_size, align = umem_classes[c].class_align;
        assert_true(c == 0 || size > umem_classes[c - 1].class_size);
        assert_int_equal(size % align, 0);
        assert_true(umem_is_pow2(align) && align <= 4096);
        assert_true(align == 4096 || size % (align * 2) != 0);
    }
    assert_int_equal(umem_classes[UMEM_CLASS_COUNT - 1].class_size, UMEM_MAX_CLASS_SIZE);
    assert_int_equal(umem_classes[0].class_size, 8);
    assert_true(UMEM_CLASS_COUNT + 1 <= TCACHE_STATIC_BINS);
}

/* What rounding may add: the distance of two classes, less one. */
static size_t
most_lost(size_t size)
{
    size_t doubling = (size_t)1 << umem_log2((size - 1) | 1);
    size_t classes = size <= 1024 ? 8 : size <= 2048 ? 16 : size <= 16384 ? 8 : 4;

    /* An eighth part of a slab is a ninth, and an eighth of that. */
    if (umem_class_is_share(size))
        return 8192 / 9 + 16;
    return umem_max(doubling / classes, 16) - 1;
}

static void
test_every_size(void **state)
{
    (void)state;
    for (size_t size = 1; size <= UMEM_MAX_CLASS_SIZE; size++) {
        unsigned c = umem_class_of(size);
        size_t class_size = umem_classes[c].class_size;
        assert_true(c < UMEM_CLASS_COUNT && class_size >= size);
        /* 16-aligned, and the smallest such. */
        assert_int_equal(umem_classes[c].class_align % 16, 0);
        assert_true(c == 1 || umem_classes[c - 1].class_size < size);
        assert_true(class_size - size <= most_lost(size));
        /* What umem_alloc() promises of alignment; of shares of a slab it takes another class. */
        if (size % 64 == 0 && !umem_class_is_share(size))
            assert_int_equal(umem_classes[c].class_align % 64, 0);
        if (size % 4096 == 0) /* a whole number of pages, where pages are the smallest there are */
            assert_int_equal(umem_classes[c].class_align, 4096);
    }
    assert_int_equal(umem_class_of_small[0], TCACHE_BIN_AT(1));
}

/* The classes from 4 to 8 KiB leave of a slab of 64 KiB less than 16 bytes for each object. */
static void
test_shares(void **state)
{
    (void)state;
    for (unsigned c = 0; c < UMEM_CLASS_COUNT; c++) {
        size_t size = umem_classes[c].class_size;
        if (umem_class_is_share(size))
            assert_true(UMEM_SHARED_SLAB % size < UMEM_SHARED_SLAB / size * 16);
    }
    /* A database's page and its header, as sqlite3 asks for. */
    assert_int_equal(umem_classes[umem_class_of(4368)].class_size, 4368);
    assert_int_equal(umem_classes[umem_class_of(8192)].class_align, 4096);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_every_size),
        cmocka_unit_test(test_shares),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
