/* SPDX-License-Identifier: MIT */
/*
 * test_pool.c - geometry: how large slabs are, what they waste, how they are
 * coloured; reaping; the verifier sees what is wrong.
 */
#include "support.h"

#include <stdlib.h>

static void
test_waste(void **state)
{
    (void)state;
    for (size_t chunk = 8; chunk <= 200000; chunk += chunk < 2000 ? 8 : 1000) {
        struct slab_geometry geo = heap_geometry(chunk, 8);
        struct slab_pool pool = {0};
        assert_int_equal(slab_pool_init(&pool, &geo), 0);
        assert_true(pool.pool_chunks >= 1);
        assert_int_equal(pool.pool_slab_size % UMEM_GRANULE, 0);
        assert_true(pool.pool_chunks * chunk <= pool.pool_slab_size);
        /* 16 chunks to try: a granule is at most a sixteenth and the waste under an eighth. */
        assert_true(pool.pool_slab_size - pool.pool_chunks * chunk <= pool.pool_slab_size / 8);
    }
}

static void
test_bad_geometry(void **state)
{
    struct slab_geometry geo = heap_geometry(0, 8);
    struct slab_pool pool = {0};

    (void)state;
    assert_int_equal(slab_pool_init(&pool, &geo), -1);
    assert_int_equal(errno, EINVAL);
    geo = heap_geometry(64, UMEM_GRANULE * 2);
    assert_int_equal(slab_pool_init(&pool, &geo), -1);
    geo = heap_geometry(SIZE_MAX - 7, 8);
    assert_int_equal(slab_pool_init(&pool, &geo), -1);
}

/* Slabs with slack start at different cache lines, always aligned, and come round again. */
static void
test_colors(void **state)
{
    struct slab_geometry geo = heap_geometry(7168, 1024);
    struct slab_pool pool = {0};
    size_t seen = 0;

    (void)state;
    assert_int_equal(slab_pool_init(&pool, &geo), 0);
    size_t colors = pool.pool_color_max / pool.pool_color_step + 1;
    assert_true(colors > 1);
    size_t first = 0;
    for (size_t i = 0; i <= colors; i++) {
        struct slab *slab = slab_create(&pool);
        assert_non_null(slab);
        size_t color = (size_t)(slab->slab_base - slab->slab_span);
        assert_int_equal(color % 1024, 0);
        assert_true(color + pool.pool_chunks * 7168 <= pool.pool_slab_size);
        if (i == 0)
            first = color;
        seen += color != first;
        if (i == colors)
            assert_int_equal(color, first);
        slab_destroy(&pool, slab);
    }
    assert_int_equal(seen, colors - 1);
}

static void
test_slab_min(void **state)
{
    struct slab_geometry geo = heap_geometry(64, 64);
    struct slab_pool pool = {0};

    (void)state;
    geo.geo_slab_min = 300000;
    assert_int_equal(slab_pool_init(&pool, &geo), 0);
    assert_true(pool.pool_slab_size >= 300000);
}

static void
test_reap(void **state)
{
    struct slab_geometry geo = heap_geometry(8192, 4096);
    struct slab_pool pool = {0};
    enum slab_status status;
    void *objs[80];
    size_t used = vmem_size(&vmem_heap, VMEM_ALLOC);

    (void)state;
    assert_int_equal(slab_pool_init(&pool, &geo), 0);
    for (unsigned got = 0; got < 80;)
        got += slab_alloc(&pool, objs + got, 80 - got);
    assert_int_equal(slab_pool_reap(&pool, 0), 0);
    memset(objs[0], 1, 8192);
    /* Of objects so large no slab waits for a reap. */
    assert_int_equal(slab_free(&pool, objs, 80, &status), 80);
    assert_int_equal(pool.pool_slabs_empty, 0);
    assert_int_equal(slab_pool_reap(&pool, 0), 0);
    assert_true(slab_pool_verify(&pool));
    assert_int_equal(vmem_size(&vmem_heap, VMEM_ALLOC), used);

    geo = heap_geometry(1024, 64);
    pool = (struct slab_pool){0};
    assert_int_equal(slab_pool_init(&pool, &geo), 0);
    assert_true(pool.pool_chunks <= 80);
    assert_int_equal(slab_alloc(&pool, objs, pool.pool_chunks), pool.pool_chunks);
    assert_int_equal(slab_free(&pool, objs, pool.pool_chunks, &status), pool.pool_chunks);
    assert_int_equal(pool.pool_slabs_empty, 1);
    assert_int_equal(slab_pool_reap(&pool, 1), 0);
    assert_int_equal(slab_pool_reap(&pool, 0), pool.pool_slab_size);
    assert_int_equal(pool.pool_slabs_empty, 0);
    slab_pool_fini(&pool);
    assert_int_equal(vmem_size(&vmem_heap, VMEM_ALLOC), used);
    /* What is gone is foreign. */
    assert_int_equal(pagemap_get(objs[0]), 0);
}

static void
count(void *arg, struct slab *slab, void *obj)
{
    assert_int_equal(slab_check(slab, obj), SLAB_OK);
    ++*(unsigned *)arg;
}

static void
test_walk_and_verify(void **state)
{
    struct slab_geometry geo = heap_geometry(1792, 256);
    struct slab_pool pool = {0};
    enum slab_status status;
    void *objs[100];
    unsigned seen = 0;

    (void)state;
    assert_int_equal(slab_pool_init(&pool, &geo), 0);
    for (unsigned got = 0; got < 100;)
        got += slab_alloc(&pool, objs + got, 100 - got);
    assert_int_equal(slab_free(&pool, objs, 10, &status), 10);
    slab_pool_walk(&pool, count, &seen);
    assert_int_equal(seen, 90);

    struct slab *slab = slab_find(&pool, objs[50]);
    slab->slab_bitmap[0] ^= 2;
    assert_false(slab_pool_verify(&pool));
    slab->slab_bitmap[0] ^= 2;
    slab->slab_free++;
    assert_false(slab_pool_verify(&pool));
    slab->slab_free--;
    pool.pool_allocated++;
    assert_false(slab_pool_verify(&pool));
    pool.pool_allocated--;
    assert_true(slab_pool_verify(&pool));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waste),  cmocka_unit_test(test_bad_geometry),
        cmocka_unit_test(test_colors), cmocka_unit_test(test_slab_min),
        cmocka_unit_test(test_reap),   cmocka_unit_test(test_walk_and_verify),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
