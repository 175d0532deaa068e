/* SPDX-License-Identifier: MIT */
/*
 * test_depot.c - exchange of magazines, their growth, and what an update finds
 * unused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>

#include "magazine/depot.h"

static struct magazine *
filled(uint32_t size, uint32_t rounds)
{
    struct magazine *mag = magazine_create(size);

    assert_non_null(mag);
    mag->mag_rounds = rounds;
    return mag;
}

static void
drop(struct depot *depot)
{
    for (struct magazine *mag = depot_take_all(depot), *next; mag != NULL; mag = next) {
        next = mag->mag_next;
        magazine_destroy(mag);
    }
    assert_true(depot_verify(depot));
    assert_int_equal(depot->depot_rounds, 0);
}

/* A full magazine for mag, or NULL. */
static struct magazine *
full_for(struct depot *depot, struct magazine *mag)
{
    return depot_get_full(depot, &mag) ? mag : NULL;
}

static struct magazine *
empty_for(struct depot *depot, struct magazine *mag)
{
    return depot_get_empty(depot, &mag) ? mag : NULL;
}

static void
test_exchange(void **state)
{
    struct depot depot = {0};

    (void)state;
    depot_init(&depot, 64);
    assert_null(full_for(&depot, NULL));
    struct magazine *empty = empty_for(&depot, NULL);
    assert_non_null(empty);
    assert_int_equal(empty->mag_rounds, 0);
    /* On failure the caller keeps what it offered. */
    assert_null(full_for(&depot, empty));
    assert_int_equal(depot.depot_empty.list_count, 0);

    struct magazine *full = filled(14, 14);
    struct magazine *other = empty_for(&depot, full);
    assert_non_null(other);
    assert_int_equal(depot.depot_rounds, 14);
    assert_true(depot_verify(&depot));
    assert_ptr_equal(full_for(&depot, empty), full);
    assert_int_equal(depot.depot_empty.list_count, 1);
    assert_int_equal(depot.depot_rounds, 0);
    assert_ptr_equal(empty_for(&depot, NULL), empty);
    magazine_destroy(full);
    magazine_destroy(empty);
    magazine_destroy(other);
    drop(&depot);
}

/* A half-filled magazine, as an exiting thread leaves it, counts as full; an empty one not. */
static void
test_put(void **state)
{
    struct depot depot = {0};

    (void)state;
    depot_init(&depot, 64);
    depot_put(&depot, NULL);
    depot_put(&depot, filled(14, 3));
    depot_put(&depot, filled(14, 0));
    assert_int_equal(depot.depot_full.list_count, 1);
    assert_int_equal(depot.depot_empty.list_count, 1);
    assert_int_equal(depot.depot_rounds, 3);
    assert_true(depot_verify(&depot));
    drop(&depot);
}

static void
test_sizes(void **state)
{
    struct depot small = {0}, large = {0};

    (void)state;
    depot_init(&small, 16);
    assert_int_equal(small.depot_mag_size, 14);
    assert_int_equal(small.depot_mag_size_max, MAGAZINE_ROUNDS_MAX);
    depot_init(&large, 131072);
    assert_true(large.depot_mag_size <= 2);
    for (size_t size = 8; size <= 1 << 20; size *= 2) {
        struct depot depot = {0};
        depot_init(&depot, size);
        assert_true(depot.depot_mag_size <= depot.depot_mag_size_max);
        assert_true(depot.depot_mag_size_max <= 2 || depot.depot_mag_size_max * size <= 128 * 1024);
    }
}

/* A cache that keeps needing magazines gets larger ones, up to its bound. */
static void
test_growth(void **state)
{
    struct depot depot = {0};
    struct magazine *mags[200];
    uint32_t last = 0;

    (void)state;
    depot_init(&depot, 512);
    for (int i = 0; i < 200; i++) {
        mags[i] = empty_for(&depot, NULL);
        assert_true(mags[i]->mag_size >= last);
        assert_true(mags[i]->mag_size <= depot.depot_mag_size_max);
        last = mags[i]->mag_size;
    }
    assert_int_equal(last, depot.depot_mag_size_max);
    for (int i = 0; i < 200; i++)
        magazine_destroy(mags[i]);
}

static void
test_contention_grows(void **state)
{
    struct depot depot = {0};

    (void)state;
    depot_init(&depot, 64);
    depot.depot_contention = 100;
    depot_update(&depot);
    assert_int_equal(depot.depot_mag_size, 30);
    assert_int_equal(depot.depot_contention, 0);
    depot_update(&depot);
    assert_int_equal(depot.depot_mag_size, 30);
}

static void
test_working_set(void **state)
{
    struct depot depot = {0};

    (void)state;
    depot_init(&depot, 64);
    depot_update(&depot);
    for (int i = 0; i < 10; i++)
        depot_put(&depot, filled(14, 14));
    /* Nothing has lain for a whole interval. */
    depot_update(&depot);
    assert_null(depot_take_reapable(&depot, SIZE_MAX));

    /* Three of ten are used in the interval: seven were not needed. */
    struct magazine *used[3];
    for (int i = 0; i < 3; i++)
        used[i] = full_for(&depot, NULL);
    for (int i = 0; i < 3; i++)
        depot_put(&depot, used[i]);
    depot_update(&depot);
    struct magazine *two = depot_take_reapable(&depot, 2);
    int taken = 0;
    for (struct magazine *mag = two, *next; mag != NULL; mag = next, taken++) {
        next = mag->mag_next;
        magazine_destroy(mag);
    }
    assert_int_equal(taken, 2);
    for (struct magazine *mag = depot_take_reapable(&depot, SIZE_MAX), *next; mag != NULL;
         mag = next, taken++) {
        next = mag->mag_next;
        magazine_destroy(mag);
    }
    assert_int_equal(taken, 7);
    assert_int_equal(depot.depot_full.list_count, 3);
    assert_true(depot_verify(&depot));
    drop(&depot);
}

static void
test_verify(void **state)
{
    struct depot depot = {0};

    (void)state;
    depot_init(&depot, 64);
    depot_put(&depot, filled(14, 5));
    depot.depot_rounds++;
    assert_false(depot_verify(&depot));
    depot.depot_rounds--;
    depot.depot_full.list_head->mag_rounds = 15;
    assert_false(depot_verify(&depot));
    depot.depot_full.list_head->mag_rounds = 5;
    assert_true(depot_verify(&depot));
    drop(&depot);
}

static void *
trade(void *arg)
{
    struct depot *depot = arg;
    struct magazine *mag = empty_for(depot, NULL);

    for (int i = 0; i < 50000; i++) {
        mag->mag_rounds = mag->mag_size;
        mag = empty_for(depot, mag);
        struct magazine *full = full_for(depot, mag);
        if (full != NULL)
            mag = full;
        mag->mag_rounds = 0;
    }
    depot_put(depot, mag);
    return NULL;
}

static void
test_threads(void **state)
{
    struct depot depot = {0};
    pthread_t threads[4];

    (void)state;
    depot_init(&depot, 64);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, trade, &depot), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_true(depot_verify(&depot));
    drop(&depot);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exchange),
        cmocka_unit_test(test_put),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_growth),
        cmocka_unit_test(test_contention_grows),
        cmocka_unit_test(test_working_set),
        cmocka_unit_test(test_verify),
        cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
