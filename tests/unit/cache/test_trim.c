/* SPDX-License-Identifier: MIT */
/*
 * test_trim.c - umem_cache_trim(): how many objects it leaves constructed, which
 * ones, and where it does nothing.
 */
#include "support.h"

enum { OBJECTS = 100, SIZE = 40000 };

static umem_cache_t *cache;
static int constructed;
static size_t trimmed_within;

static int
construct(void *buf, void *private_data, int flags)
{
    (void)private_data;
    (void)flags;
    *(int *)buf = 7;
    constructed++;
    return 0;
}

static void
destruct(void *buf, void *private_data)
{
    (void)private_data;
    assert_int_equal(*(int *)buf, 7);
    constructed--;
    trimmed_within += umem_cache_trim(cache, 0, 0);
}

/* As many as there are, all free, none in this thread's magazines. */
static void
fill(void)
{
    void *objs[OBJECTS];

    for (int i = 0; i < OBJECTS; i++)
        assert_non_null(objs[i] = umem_cache_alloc(cache, UMEM_DEFAULT));
    for (int i = 0; i < OBJECTS; i++)
        umem_cache_free(cache, objs[i]);
    assert_int_equal(constructed, OBJECTS);
    tcache_flush_self();
}

static int
setup(void **state)
{
    (void)state;
    constructed = 0;
    cache = umem_cache_create("trim", SIZE, 0, construct, destruct, NULL, NULL, NULL, 0);
    return cache == NULL;
}

static int
teardown(void **state)
{
    (void)state;
    umem_cache_destroy(cache);
    return constructed;
}

static void
test_all_but_some(void **state)
{
    (void)state;
    fill();
    errno = 5;
    assert_int_equal(umem_cache_trim(cache, OBJECTS, 0), 0);
    assert_int_equal(umem_cache_trim(cache, 30, 0), OBJECTS - 30);
    assert_int_equal(constructed, 30);
    assert_int_equal(umem_cache_trim(cache, 30, 0), 0);
    assert_int_equal(umem_cache_trim(cache, 0, 0), 30);
    assert_int_equal(constructed, 0);
    assert_int_equal(cache->cache_slabs.pool_slabs, 0);
    assert_int_equal(trimmed_within, 0); /* by a destructor */
    assert_int_equal(errno, 5);
}

static void
test_own_magazines(void **state)
{
    (void)state;
    fill();
    umem_cache_free(cache, umem_cache_alloc(cache, UMEM_DEFAULT)); /* in a magazine now */
    assert_int_equal(umem_cache_trim(cache, 1, 0), OBJECTS - 2);
    assert_int_equal(umem_cache_trim(cache, 0, UMEM_TRIM_IDLE), 0);
    assert_int_equal(umem_cache_trim(cache, 0, 0), 2);
}

static void
test_idle_objects(void **state)
{
    void *objs[10];

    (void)state;
    fill();
    assert_int_equal(umem_cache_trim(cache, 0, UMEM_TRIM_IDLE), 0);
    for (int i = 0; i < 10; i++)
        objs[i] = umem_cache_alloc(cache, UMEM_DEFAULT);
    for (int i = 0; i < 10; i++)
        umem_cache_free(cache, objs[i]);
    size_t idle = umem_cache_trim(cache, 0, UMEM_TRIM_IDLE);
    assert_int_equal(idle, OBJECTS - 10);
    assert_int_equal(constructed, 10);
}

static void
test_reserved_and_sealed(void **state)
{
    (void)state;
    fill();
    assert_int_equal(umem_cache_reserve(cache, 10), 0);
    assert_int_equal(umem_cache_trim(cache, 0, 0), 0);
    assert_int_equal(umem_cache_seal(cache), 0);
    assert_int_equal(umem_cache_trim(cache, 0, 0), 0);
    assert_int_equal(umem_cache_unseal(cache), 0);
    assert_int_equal(umem_cache_reserve(cache, 0), 0);
    assert_int_equal(umem_cache_trim(cache, 0, 0), OBJECTS);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_all_but_some, setup, teardown),
        cmocka_unit_test_setup_teardown(test_own_magazines, setup, teardown),
        cmocka_unit_test_setup_teardown(test_idle_objects, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reserved_and_sealed, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
