/* SPDX-License-Identifier: MIT */
/*
 * test_slab_hash.c - slabs at any quantum's multiple are found from any
 * address in them, while the table grows and slabs come and go.
 */
#include "support.h"

enum { QUANTUM = 16, CHUNK = 48, OBJECTS = 3000 };

static void
test_grow_and_shrink(void **state)
{
    static void *objs[OBJECTS];
    /* An odd start, so that slabs straddle the hash's blocks. */
    vmem_t *arena =
        vmem_create("odd", (void *)0x7010, 0x100000, QUANTUM, NULL, NULL, NULL, 0, VM_NOSLEEP);
    struct slab_geometry geo = number_geometry(arena, QUANTUM, CHUNK);
    struct slab_pool pool = {0};
    enum slab_status status;

    (void)state;
    assert_int_equal(slab_pool_init(&pool, &geo), 0);
    for (int i = 0; i < OBJECTS; i++)
        assert_int_equal(slab_alloc(&pool, &objs[i], 1), 1);
    assert_true(pool.pool_slabs > 500);
    assert_true(pool.pool_hash_size * 2 >= pool.pool_slabs);
    assert_true(slab_pool_verify(&pool));
    for (int i = 0; i < OBJECTS; i++)
        for (int offset = 0; offset < CHUNK; offset += CHUNK - 1) {
            struct slab *slab = slab_find(&pool, (char *)objs[i] + offset);
            assert_non_null(slab);
            assert_ptr_equal(slab_chunk(slab, slab_chunk_index(slab, objs[i])), objs[i]);
        }
    for (int i = 0; i < OBJECTS; i += 2)
        assert_int_equal(free_one(&pool, objs[i], &status), 1);
    (void)slab_pool_reap(&pool, 0);
    assert_true(slab_pool_verify(&pool));
    for (int i = 1; i < OBJECTS; i += 2)
        assert_non_null(slab_find(&pool, objs[i]));
    for (int i = 1; i < OBJECTS; i += 2)
        assert_int_equal(free_one(&pool, objs[i], &status), 1);
    slab_pool_fini(&pool);
    assert_null(slab_find(&pool, objs[0]));
    assert_int_equal(vmem_size(arena, VMEM_ALLOC), 0);
    vmem_destroy(arena);
}

static void
test_empty(void **state)
{
    struct slab_pool pool = {0};

    (void)state;
    assert_null(slab_find_locked(&pool, &pool));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grow_and_shrink),
        cmocka_unit_test(test_empty),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
