/* SPDX-License-Identifier: MIT */
/*
 * test_reap.c - what a reap and an update give back, and what happens when
 * destructors and reclaim functions use the allocator meanwhile.
 */
#include "support.h"

static umem_cache_t *cache, *made;
static int reclaimed;

static void
test_reap(void **state)
{
    enum { MANY = 20000 };
    static void *objs[MANY];

    (void)state;
    cache = umem_cache_create("reap", 200, 0, NULL, NULL, NULL, NULL, NULL, 0);
    for (int i = 0; i < MANY; i++)
        objs[i] = umem_cache_alloc(cache, UMEM_DEFAULT);
    size_t peak = vmem_size(&vmem_heap, VMEM_ALLOC);
    for (int i = 0; i < MANY; i++)
        umem_cache_free(cache, objs[i]);
    assert_true(cache->cache_depot.depot_rounds > MANY / 2);
    umem_reap();
    assert_int_equal(cache->cache_depot.depot_rounds, 0);
    assert_int_equal(cache->cache_slabs.pool_slabs, 0);
    assert_true(vmem_size(&vmem_heap, VMEM_ALLOC) + MANY * 200 <= peak);
    assert_true(verify_caches());
    umem_cache_destroy(cache);
}

static void
use_all(void *private_data)
{
    (void)private_data;
    reclaimed++;
    umem_reap(); /* recursive: returns at once */
    umem_free(umem_alloc(1000, UMEM_DEFAULT), 1000);
    made = umem_cache_create("made by reclaim", 64, 0, NULL, NULL, NULL, NULL, NULL, 0);
    umem_cache_destroy(made);
}

static void
destructor_uses_all(void *buf, void *private_data)
{
    (void)buf;
    use_all(private_data);
}

static void
test_reclaim(void **state)
{
    (void)state;
    cache = umem_cache_create("reclaim", 64, 0, NULL, NULL, use_all, NULL, NULL, 0);
    reclaimed = 0;
    umem_reap();
    assert_int_equal(reclaimed, 1);
    umem_cache_destroy(cache);
    umem_reap();
    assert_int_equal(reclaimed, 1);
}

static void
test_destructors(void **state)
{
    void *objs[100];

    (void)state;
    cache = umem_cache_create("destructor", 64, 0, NULL, destructor_uses_all, NULL, NULL, NULL, 0);
    for (int i = 0; i < 100; i++)
        objs[i] = umem_cache_alloc(cache, UMEM_DEFAULT);
    for (int i = 0; i < 100; i++)
        umem_cache_free(cache, objs[i]);
    reclaimed = 0;
    umem_reap();
    assert_int_equal(reclaimed, 100);
    assert_true(verify_caches());
    umem_cache_destroy(cache);
}

/* An update takes what lay unused for an interval, in steps, on an allocation's way. */
static void
updating(void)
{
    enum { MANY = 50000 };
    static void *objs[MANY];

    umem_cache_t *cp = umem_cache_create("update", 256, 0, NULL, NULL, NULL, NULL, NULL, 0);
    umem_options.opt_reap_interval_s = 0;
    for (int i = 0; i < MANY; i++)
        objs[i] = umem_cache_alloc(cp, UMEM_DEFAULT);
    for (int i = 0; i < MANY; i++)
        umem_cache_free(cp, objs[i]);
    size_t rounds = cp->cache_depot.depot_rounds, slabs = cp->cache_slabs.pool_slabs;
    CHECK(rounds > MANY / 2);
    umem_update_if_due(cp); /* the first sets the clock or measures */
    umem_update_if_due(cp);
    umem_update_if_due(cp);
    CHECK(cp->cache_depot.depot_rounds < rounds);
    CHECK(cp->cache_depot.depot_rounds > 0); /* a bounded step */
    for (int i = 0; i < 100; i++)
        umem_update_if_due(cp);
    CHECK(cp->cache_depot.depot_rounds == 0);
    CHECK(cp->cache_slabs.pool_slabs < slabs / 2);
    CHECK(verify_caches());
}

static int destroyed;

static void
count_destroyed(void *buf, void *private_data)
{
    (void)buf;
    (void)private_data;
    destroyed++;
}

/* The thread may hold locks that a destructor takes, unless it allocates from that cache. */
static void
update_elsewhere(void)
{
    umem_options.opt_reap_interval_s = 0;
    umem_cache_t *cp =
        umem_cache_create("mine", 256, 0, NULL, count_destroyed, NULL, NULL, NULL, 0);
    umem_cache_t *other = umem_cache_create("other", 64, 0, NULL, NULL, NULL, NULL, NULL, 0);
    void *objs[500];

    for (int i = 0; i < 500; i++)
        CHECK((objs[i] = umem_cache_alloc(cp, UMEM_DEFAULT)) != NULL);
    for (int i = 0; i < 500; i++)
        umem_cache_free(cp, objs[i]);
    for (int i = 0; i < 5; i++)
        umem_update_if_due(other);
    CHECK(destroyed == 0);
    umem_update_if_due(cp);
    umem_update_if_due(cp);
    CHECK(destroyed > 0);
    _exit(0);
}

static void
test_update_elsewhere(void **state)
{
    (void)state;
    assert_exits(update_elsewhere, NULL, 0);
}

static void
test_update(void **state)
{
    (void)state;
    assert_exits(updating, NULL, 0);
}

static _Atomic bool stop;

static void *
churn(void *arg)
{
    while (!stop) {
        void *objs[50];
        for (int i = 0; i < 50; i++)
            objs[i] = umem_cache_alloc(arg, UMEM_DEFAULT);
        for (int i = 0; i < 50; i++)
            umem_cache_free(arg, objs[i]);
    }
    return NULL;
}

/* Caches come and go, others are busy, while reaps walk the list. */
static void
test_reap_races(void **state)
{
    pthread_t threads[2];

    (void)state;
    cache = umem_cache_create("busy", 64, 0, NULL, NULL, NULL, NULL, NULL, 0);
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, churn, cache);
    for (int i = 0; i < 300; i++) {
        umem_cache_t *cp = umem_cache_create("brief", 64, 0, NULL, NULL, NULL, NULL, NULL, 0);
        umem_cache_free(cp, umem_cache_alloc(cp, UMEM_DEFAULT));
        umem_reap();
        umem_cache_destroy(cp);
    }
    stop = true;
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    umem_reap();
    assert_int_equal(held(cache), 0);
    umem_cache_destroy(cache);
    assert_true(verify_caches());
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_update_elsewhere), /* children first, of a fresh engine */
        cmocka_unit_test(test_update),           /* first: its child is a fresh engine */
        cmocka_unit_test(test_reap),
        cmocka_unit_test(test_reclaim),
        cmocka_unit_test(test_destructors),
        cmocka_unit_test(test_reap_races),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
