/* SPDX-License-Identifier: MIT */
/*
 * test_depot.c - exchange of magazines, the sizes they may have, the bound of
 * what a depot keeps, and what an update finds unused.
 */
#include "support.h"

/* Of plain objects: what a bounded depot keeps at least. */
enum {
    LEAST_ROUNDS = 2 * 254, /* two of the largest magazines of so small objects */
    REGRETTED_SIZE = 128    /* smaller ones are not regretted */
};

static struct magazine *
filled(const struct depot *depot, uint32_t size, uint32_t rounds)
{
    struct magazine *mag = magazine_create(depot, size);

    assert_non_null(mag);
    mag->mag_rounds = rounds;
    return mag;
}

static void
drop_all(struct depot *depot)
{
    drop(depot);
    assert_true(depot_verify(depot));
    assert_int_equal(depot->depot_rounds, 0);
}

/* A full magazine for mag, or NULL. */
static struct magazine *
full_for(struct depot *depot, struct magazine *mag)
{
    return depot_get_full(depot, &mag) ? mag : NULL;
}

/* An empty one for it, or NULL; nothing is surplus. */
static struct magazine *
empty_for(struct depot *depot, struct magazine *mag)
{
    struct magazine *surplus;

    if (!depot_get_empty(depot, &mag, depot->depot_mag_size, &surplus))
        return NULL;
    assert_null(surplus);
    return mag;
}

static void
test_exchange(void **state)
{
    struct depot depot = {.depot_rounds = 0};

    (void)state;
    depot_init(&depot, OBJECT_SIZE, false);
    assert_null(full_for(&depot, NULL));
    struct magazine *empty = empty_for(&depot, NULL);
    assert_non_null(empty);
    assert_int_equal(empty->mag_rounds, 0);
    /* On failure the caller keeps what it offered. */
    assert_null(full_for(&depot, empty));
    assert_int_equal(depot.depot_empty.list_count, 0);

    struct magazine *full = filled(&depot, 14, 14);
    struct magazine *other = empty_for(&depot, full);
    assert_non_null(other);
    assert_int_equal(depot.depot_rounds, 14);
    assert_true(depot_verify(&depot));
    assert_ptr_equal(full_for(&depot, empty), full);
    assert_int_equal(depot.depot_empty.list_count, 1);
    assert_int_equal(depot.depot_rounds, 0);
    assert_ptr_equal(empty_for(&depot, NULL), empty);
    magazine_destroy(&depot, full);
    magazine_destroy(&depot, empty);
    magazine_destroy(&depot, other);
    drop_all(&depot);
}

/* Who asks for more room than an empty magazine has gets a larger one in its place. */
static void
test_larger(void **state)
{
    struct depot depot = {.depot_rounds = 0};
    struct magazine *mag = NULL, *surplus;

    (void)state;
    depot_init(&depot, OBJECT_SIZE, false);
    depot_put(&depot, filled(&depot, 14, 0));
    depot_put(&depot, filled(&depot, 62, 0));
    assert_true(depot_get_empty(&depot, &mag, 30, &surplus));
    assert_int_equal(mag->mag_size, 62); /* a larger one will do */
    struct magazine *large = NULL;
    assert_true(depot_get_empty(&depot, &large, 126, &surplus));
    assert_int_equal(large->mag_size, 126);
    assert_int_equal(depot.depot_empty.list_count, 0); /* the small one is gone */
    magazine_destroy(&depot, mag);
    magazine_destroy(&depot, large);
    drop_all(&depot);
}

/* A half-filled magazine, as an exiting thread leaves it, counts as full; an empty one not. */
static void
test_put(void **state)
{
    struct depot depot = {.depot_rounds = 0};

    (void)state;
    depot_init(&depot, OBJECT_SIZE, false);
    depot_put(&depot, NULL);
    depot_put(&depot, filled(&depot, 14, 3));
    depot_put(&depot, filled(&depot, 14, 0));
    assert_int_equal(depot.depot_full.list_count, 1);
    assert_int_equal(depot.depot_empty.list_count, 1);
    assert_int_equal(depot.depot_rounds, 3);
    assert_true(depot_verify(&depot));
    drop_all(&depot);
}

/* From the first size each step is larger, up to the bound; a magazine fills a block of 2^n. */
static void
check_steps(const struct depot *depot, bool sways, uint32_t last)
{
    uint32_t size = depot_next_size(depot, 0, sways);

    assert_int_equal(size, depot->depot_mag_size);
    for (uint32_t next; (next = depot_next_size(depot, size, sways)) != size; size = next) {
        assert_true(next > size && next <= last);
        assert_true(umem_is_pow2((next + 2) * 8));
    }
    assert_int_equal(size, last);
}

static void
test_sizes(void **state)
{
    struct depot small = {.depot_rounds = 0}, large = {.depot_rounds = 0};

    (void)state;
    depot_init(&small, 16, false);
    assert_int_equal(small.depot_mag_size, 14);
    assert_int_equal(small.depot_mag_size_max, 254);
    assert_int_equal(small.depot_mag_size_sway, MAGAZINE_ROUNDS_MAX);
    depot_init(&large, 131072, false);
    assert_int_equal(large.depot_mag_size, 1);
    assert_int_equal(large.depot_mag_size_max, 1);
    for (size_t size = 8; size <= 1 << 20; size *= 2) {
        struct depot depot = {.depot_rounds = 0};
        depot_init(&depot, size, false);
        assert_true(depot.depot_mag_size <= depot.depot_mag_size_max);
        assert_true(depot.depot_mag_size_max <= depot.depot_mag_size_sway);
        assert_true(depot.depot_mag_size_max == 1 || depot.depot_mag_size_max * size <= 64 * 1024);
        assert_true(depot.depot_mag_size_sway <= 1 ||
                    depot.depot_mag_size_sway * size <= 256 * 1024);
        check_steps(&depot, false, depot.depot_mag_size_max);
        check_steps(&depot, true, depot.depot_mag_size_sway);
    }
}

/* Two magazines, as a bin has them, hold no more than is allowed; or there is no bin. */
static void
test_bin_bytes(void **state)
{
    static const size_t bounds[] = {0, 1, 15, 16, 4096, 65536, 1 << 20, SIZE_MAX};

    (void)state;
    for (size_t i = 0; i < UMEM_ARRAY_SIZE(bounds); i++)
        for (size_t size = 8; size <= 1 << 20; size *= 2) {
            struct depot depot = {.depot_rounds = 0};
            depot_bin_bytes_max = bounds[i];
            depot_init(&depot, size, false);
            assert_int_equal(depot_suits_bins(&depot), 2 * size <= bounds[i]);
            assert_true(!depot_suits_bins(&depot) || bounds[i] == SIZE_MAX ||
                        2 * depot.depot_mag_size_sway * size <= bounds[i]);
            assert_true(depot.depot_mag_size <= depot.depot_mag_size_max);
            assert_true(depot.depot_mag_size_max <= depot.depot_mag_size_sway);
            check_steps(&depot, true, depot.depot_mag_size_sway);
        }
    depot_bin_bytes_max = SIZE_MAX;
}

/* Where all magazines there are have room for a lot, none grows; where they go, again. */
static void
test_growth_is_bounded(void **state)
{
    enum { MANY = 1100, ROUNDS = 62 };
    struct depot depot = {.depot_rounds = 0};
    struct magazine *mags[MANY];

    (void)state;
    depot_init(&depot, 1024, false);
    assert_int_equal(depot_next_size(&depot, 14, false), 30);
    for (int i = 0; i < MANY; i++) /* 68 MB of objects, in 0.5 MB of magazines */
        mags[i] = filled(&depot, ROUNDS, 0);
    assert_int_equal(depot_next_size(&depot, 14, false), 14);
    assert_int_equal(depot_next_size(&depot, 14, true), 14);
    assert_int_equal(depot_next_size(&depot, 0, false), depot.depot_mag_size);
    for (int i = 0; i < MANY; i++)
        magazine_destroy(&depot, mags[i]);
    assert_int_equal(depot_next_size(&depot, 14, false), 30);
}

static void
test_contention_grows(void **state)
{
    struct depot depot = {.depot_rounds = 0};

    (void)state;
    depot_init(&depot, OBJECT_SIZE, false);
    depot.depot_contention = 100;
    depot_update(&depot);
    assert_int_equal(depot.depot_mag_size, 14);
    assert_int_equal(depot.depot_contention, 0);
    depot_update(&depot);
    assert_int_equal(depot.depot_mag_size, 14);
    for (int i = 0; i < 20; i++) {
        depot.depot_contention = 100;
        depot_update(&depot);
    }
    assert_int_equal(depot.depot_mag_size, depot.depot_mag_size_max);
}

static void
test_contention_max(void **state)
{
    struct depot depot = {.depot_rounds = 0};

    (void)state;
    depot_init(&depot, 16, false);
    depot.depot_contention = DEPOT_CONTENTION_MAX;
    depot_update(&depot);
    assert_int_equal(depot.depot_mag_size, 14);
    depot_contention_max = 0;
    depot.depot_contention = 1;
    depot_update(&depot);
    assert_int_equal(depot.depot_mag_size, 30);
    depot_contention_max = 100;
    depot.depot_contention = 100;
    depot_update(&depot);
    assert_int_equal(depot.depot_mag_size, 30);
    depot_contention_max = DEPOT_CONTENTION_MAX;
}

/* Offers a full magazine; returns whether it was refused. */
static bool
is_surplus(struct depot *depot)
{
    struct magazine *mag = filled(depot, 62, 62), *surplus, *offered = mag;

    assert_true(depot_get_empty(depot, &mag, 62, &surplus));
    assert_true(mag != offered && mag->mag_rounds == 0);
    magazine_destroy(depot, mag);
    if (surplus == NULL)
        return false;
    assert_ptr_equal(surplus, offered);
    assert_int_equal(surplus->mag_rounds, 62);
    magazine_destroy(depot, surplus);
    return true;
}

static int
offer_till_surplus(struct depot *depot)
{
    int kept = 0;

    while (!is_surplus(depot))
        kept++;
    return kept;
}

/* Takes every full magazine there is, and asks for n more. */
static void
want(struct depot *depot, int n)
{
    struct magazine *mag;

    while ((mag = full_for(depot, NULL)) != NULL)
        magazine_destroy(depot, mag);
    while (n-- > 0)
        assert_null(full_for(depot, NULL));
}

static void
test_bound(void **state)
{
    struct depot depot = {.depot_rounds = 0};

    (void)state;
    depot_init(&depot, OBJECT_SIZE, true);
    assert_true(depot_is_bounded(&depot));
    assert_int_equal(depot.depot_rounds_max, LEAST_ROUNDS);
    assert_int_equal(offer_till_surplus(&depot), (LEAST_ROUNDS + 61) / 62);
    assert_true(is_surplus(&depot));
    /* Whatever comes past an exchange stays: an exiting thread cannot empty magazines. */
    size_t before = depot.depot_rounds;
    depot_put(&depot, filled(&depot, 62, 62));
    assert_int_equal(depot.depot_rounds, before + 62);
    assert_true(depot_verify(&depot));
    drop_all(&depot);
}

static void
test_unbounded(void **state)
{
    struct depot depot = {.depot_rounds = 0};

    (void)state;
    depot_init(&depot, OBJECT_SIZE, false);
    assert_false(depot_is_bounded(&depot));
    for (int i = 0; i < 1000; i++)
        assert_false(is_surplus(&depot));
    want(&depot, 10);
    depot_update(&depot);
    assert_true(depot.depot_rounds_max == SIZE_MAX);
}

/* Who sent objects away and then wants as many keeps more of them, as long as that goes on. */
static void
test_regret(void **state)
{
    struct depot depot = {.depot_rounds = 0};

    (void)state;
    depot_init(&depot, REGRETTED_SIZE, true);
    (void)offer_till_surplus(&depot);
    assert_int_equal(depot.depot_sent_away, 62);
    want(&depot, 1);
    assert_int_equal(depot.depot_rounds_max, LEAST_ROUNDS + 62);
    assert_int_equal(depot.depot_sent_away, 0);
    want(&depot, 5); /* nothing more was sent away */
    assert_int_equal(depot.depot_rounds_max, LEAST_ROUNDS + 62);

    (void)offer_till_surplus(&depot);
    for (int i = 0; i < 199; i++)
        assert_true(is_surplus(&depot));
    want(&depot, 1000);
    assert_int_equal(depot.depot_rounds_max, LEAST_ROUNDS + 62 + 200 * 62);
    assert_int_equal(depot.depot_sent_away, 0);

    /* The first update sees the regret, those after it halve the bound. */
    size_t max = depot.depot_rounds_max;
    depot_update(&depot);
    assert_int_equal(depot.depot_rounds_max, max);
    depot_update(&depot);
    assert_int_equal(depot.depot_rounds_max, max / 2);
    for (int i = 0; i < 10; i++)
        depot_update(&depot);
    assert_int_equal(depot.depot_rounds_max, LEAST_ROUNDS);

    /* What was sent away before an update is not regretted after it. */
    (void)offer_till_surplus(&depot);
    depot_update(&depot);
    want(&depot, 10);
    assert_int_equal(depot.depot_rounds_max, LEAST_ROUNDS);
    drop_all(&depot);
}

/* Of small objects as many as a magazine's place is worth, and no more however often. */
static void
test_no_regret_of_small(void **state)
{
    struct depot depot = {.depot_rounds = 0};

    (void)state;
    depot_init(&depot, REGRETTED_SIZE - 16, true);
    (void)offer_till_surplus(&depot);
    for (int i = 0; i < 100; i++)
        assert_true(is_surplus(&depot));
    want(&depot, 100);
    assert_int_equal(depot.depot_rounds_max, LEAST_ROUNDS);
    drop_all(&depot);
}

static size_t
destroy_reapable(struct depot *depot, size_t max)
{
    struct magazine *chain;
    size_t taken = depot_take_reapable(depot, max, &chain), seen = 0;

    for (struct magazine *mag = chain, *next; mag != NULL; mag = next, seen++) {
        next = mag->mag_next;
        magazine_destroy(depot, mag);
    }
    assert_int_equal(seen, taken);
    return taken;
}

static void
test_working_set(void **state)
{
    struct depot depot = {.depot_rounds = 0};

    (void)state;
    depot_init(&depot, OBJECT_SIZE, false);
    depot_update(&depot);
    for (int i = 0; i < 10; i++)
        depot_put(&depot, filled(&depot, 14, 14));
    /* Nothing has lain for a whole interval. */
    depot_update(&depot);
    assert_int_equal(destroy_reapable(&depot, SIZE_MAX), 0);

    /* Three of ten are used in the interval: seven were not needed. */
    struct magazine *used[3];
    for (int i = 0; i < 3; i++)
        used[i] = full_for(&depot, NULL);
    for (int i = 0; i < 3; i++)
        depot_put(&depot, used[i]);
    depot_update(&depot);
    assert_int_equal(destroy_reapable(&depot, 2), 2);
    assert_int_equal(destroy_reapable(&depot, SIZE_MAX), 5);
    assert_int_equal(depot.depot_full.list_count, 3);
    assert_true(depot_verify(&depot));
    drop_all(&depot);
}

/* Full ones are taken first; what was used after the update is not taken. */
static void
test_reapable_is_unused(void **state)
{
    struct depot depot = {.depot_rounds = 0};

    (void)state;
    depot_init(&depot, OBJECT_SIZE, false);
    for (int i = 0; i < 4; i++) {
        depot_put(&depot, filled(&depot, 14, 14));
        depot_put(&depot, filled(&depot, 14, 0));
    }
    depot_update(&depot);
    depot_update(&depot);
    for (int i = 0; i < 3; i++)
        magazine_destroy(&depot, full_for(&depot, NULL));
    assert_int_equal(destroy_reapable(&depot, 1), 1);
    assert_int_equal(depot.depot_rounds, 0);
    assert_int_equal(depot.depot_empty.list_count, 4);
    assert_int_equal(destroy_reapable(&depot, SIZE_MAX), 4);
    assert_true(depot_verify(&depot));
}

/* Empty ones are kept up to 32 KiB, but all of them where nothing may call for memory. */
static void
test_empty_ones(void **state)
{
    struct depot depot = {.depot_rounds = 0};

    (void)state;
    depot_init(&depot, OBJECT_SIZE, false);
    for (int i = 0; i < 1000; i++)
        depot_put(&depot, filled(&depot, 254, 0));
    assert_int_equal(depot.depot_empty.list_count, 32 * 1024 / (16 + 254 * sizeof(void *)));
    depot.depot_pinned = true;
    for (int i = 0; i < 100; i++)
        depot_put(&depot, filled(&depot, 254, 0));
    assert_in_range(depot.depot_empty.list_count, 100, 200);
    drop_all(&depot);
}

static void
test_verify(void **state)
{
    struct depot depot = {.depot_rounds = 0};

    (void)state;
    depot_init(&depot, OBJECT_SIZE, false);
    depot_put(&depot, filled(&depot, 14, 5));
    depot.depot_rounds++;
    assert_false(depot_verify(&depot));
    depot.depot_rounds--;
    depot.depot_full.list_head->mag_rounds = 15;
    assert_false(depot_verify(&depot));
    depot.depot_full.list_head->mag_rounds = 5;
    assert_true(depot_verify(&depot));
    drop_all(&depot);
}

/* Takes the oldest; how many rounds, as they are counted and as they are. */
static size_t
oldest(struct depot *depot, size_t keep, bool idle)
{
    struct magazine *chain;
    size_t taken = depot_take_oldest(depot, keep, idle, &chain), rounds = 0;

    for (struct magazine *mag = chain, *next; mag != NULL; mag = next) {
        next = mag->mag_next;
        rounds += mag->mag_rounds;
        magazine_destroy(depot, mag);
    }
    assert_int_equal(rounds, taken);
    assert_true(depot_verify(depot));
    return taken;
}

static void
test_oldest(void **state)
{
    struct depot depot = {.depot_rounds = 0};

    (void)state;
    depot_init(&depot, OBJECT_SIZE, false);
    assert_int_equal(oldest(&depot, 0, false), 0);
    for (uint32_t i = 1; i <= 10; i++)
        depot_put(&depot, filled(&depot, 14, i));
    /* The last ones, of 10 and 9 rounds, are those that stay. */
    assert_int_equal(oldest(&depot, 55, false), 0);
    assert_int_equal(oldest(&depot, 11, false), 55 - 19);
    assert_int_equal(depot.depot_rounds, 19);
    struct magazine *mag = full_for(&depot, NULL);
    assert_int_equal(mag->mag_rounds, 10);
    depot_put(&depot, mag);
    assert_int_equal(oldest(&depot, 0, false), 19);
}

static void
test_idle_ones(void **state)
{
    struct depot depot = {.depot_rounds = 0};
    struct magazine *mags[3];

    (void)state;
    depot_init(&depot, OBJECT_SIZE, false);
    for (int i = 0; i < 8; i++)
        depot_put(&depot, filled(&depot, 14, 14));
    assert_int_equal(oldest(&depot, 0, true), 0); /* since this call nothing was idle yet */
    for (int i = 0; i < 3; i++)
        assert_non_null(mags[i] = full_for(&depot, NULL));
    for (int i = 0; i < 3; i++)
        depot_put(&depot, mags[i]);
    assert_int_equal(oldest(&depot, 7 * 14, true), 14);
    assert_int_equal(oldest(&depot, 0, true), 7 * 14);
    depot_put(&depot, filled(&depot, 14, 14));
    assert_int_equal(oldest(&depot, 0, true), 0);
    assert_int_equal(oldest(&depot, 0, false), 14);
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
    struct depot depot = {.depot_rounds = 0};
    pthread_t threads[4];

    (void)state;
    depot_init(&depot, OBJECT_SIZE, false);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, trade, &depot), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_true(depot_verify(&depot));
    drop_all(&depot);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exchange),
        cmocka_unit_test(test_larger),
        cmocka_unit_test(test_put),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_bin_bytes),
        cmocka_unit_test(test_growth_is_bounded),
        cmocka_unit_test(test_contention_grows),
        cmocka_unit_test(test_contention_max),
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_unbounded),
        cmocka_unit_test(test_regret),
        cmocka_unit_test(test_no_regret_of_small),
        cmocka_unit_test(test_working_set),
        cmocka_unit_test(test_reapable_is_unused),
        cmocka_unit_test(test_empty_ones),
        cmocka_unit_test(test_oldest),
        cmocka_unit_test(test_idle_ones),
        cmocka_unit_test(test_verify),
        cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
