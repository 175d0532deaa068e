/* SPDX-License-Identifier: MIT */
/*
 * test_table.c - the address table: every granule has one slot of its own,
 * unknown addresses have none, racing threads get the same.
 */
#include "stacktest.h"

#include <pthread.h>

#include "table.h"

#define GRANULE ((uintptr_t)1 << TABLE_GRANULE_SHIFT)

static void
test_unknown_addresses_have_no_slot(void **state)
{
    (void)state;
    const uintptr_t far = (uintptr_t)1 << (TABLE_VA_BITS - 1);
    assert_null(table_find((void *)far));
    assert_null(table_find(NULL));
    assert_null(table_find((void *)UINTPTR_MAX));
#if UINTPTR_MAX > 0xffffffffu
    assert_null(table_reserve((void *)((uintptr_t)1 << TABLE_VA_BITS)));
    assert_int_equal(errno, ENOMEM);
    /* No alias: bits above are not cut off. */
    assert_non_null(table_reserve((void *)far));
    assert_null(table_find((void *)(far | (uintptr_t)1 << TABLE_VA_BITS)));
#endif
}

static void
test_a_granule_is_a_slot(void **state)
{
    (void)state;
    /* Across leaves and middle nodes, forth and back. */
    const uintptr_t strides[] = {GRANULE, GRANULE << TABLE_LEAF_BITS,
                                 GRANULE << (TABLE_LEAF_BITS + TABLE_MIDDLE_BITS)};
    enum { COUNT = 40 };
    for (size_t s = 0; s < 3; s++) {
        struct table_slot *slots[COUNT];
        for (uintptr_t i = 0; i < COUNT; i++) {
            uintptr_t address = (i + 1) * strides[s] + 5 * GRANULE * (s + 1) * 100;
            slots[i] = table_reserve((void *)address);
            assert_non_null(slots[i]);
            assert_int_equal((uintptr_t)slots[i] % TABLE_SLOT_SIZE, 0);
            assert_ptr_equal(table_find((void *)address), slots[i]);
            assert_ptr_equal(table_reserve((void *)address), slots[i]);
            assert_ptr_equal(table_find((void *)(address | (GRANULE - 1))), slots[i]);
            for (uintptr_t j = 0; j < i; j++)
                assert_ptr_not_equal(slots[j], slots[i]);
            assert_int_equal(slots[i]->slot_word, STACK_NONE);
        }
    }
}

static void
test_a_word_tells_offset_class_and_state(void **state)
{
    (void)state;
    const uintptr_t base = 64 * GRANULE;
    uint32_t seen[8 * STACK_CLASSES * 2];
    size_t n = 0;
    for (uintptr_t offset = 0; offset < GRANULE; offset += STACK_PAGE_MIN)
        for (unsigned class = 0; class < STACK_CLASSES; class ++)
            for (unsigned used = STACK_CACHED; used <= STACK_USED; used++) {
                uint32_t word = table_word((void *)(base + offset), class, used);
                assert_int_not_equal(word, STACK_NONE);
                for (size_t i = 0; i < n; i++)
                    assert_int_not_equal(seen[i], word);
                seen[n++] = word;
            }
    assert_int_equal(n, 8 * STACK_CLASSES * 2);
}

#define RACE_COUNT 200
#define RACERS 4
static pthread_barrier_t barrier;

static void *
reserver(void *arg)
{
    struct table_slot **found = arg;
    for (uintptr_t i = 0; i < RACE_COUNT; i++) {
        pthread_barrier_wait(&barrier);
        found[i] = table_reserve((void *)((i + 3000) * (GRANULE << TABLE_LEAF_BITS)));
    }
    return NULL;
}

static void
test_racers_get_the_same_slot(void **state)
{
    (void)state;
    static struct table_slot *found[RACERS][RACE_COUNT];
    pthread_t threads[RACERS];
    pthread_barrier_init(&barrier, NULL, RACERS);
    for (int i = 0; i < RACERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, reserver, found[i]), 0);
    for (int i = 0; i < RACERS; i++)
        pthread_join(threads[i], NULL);
    for (int k = 0; k < RACE_COUNT; k++) {
        assert_non_null(found[0][k]);
        for (int i = 1; i < RACERS; i++)
            assert_ptr_equal(found[i][k], found[0][k]);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unknown_addresses_have_no_slot),
        cmocka_unit_test(test_a_granule_is_a_slot),
        cmocka_unit_test(test_a_word_tells_offset_class_and_state),
        cmocka_unit_test(test_racers_get_the_same_slot),
    };
    return cmocka_run_group_tests_name("stackalloc/table", tests, NULL, NULL);
}
