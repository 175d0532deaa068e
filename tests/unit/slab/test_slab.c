/* SPDX-License-Identifier: MIT */
/*
 * test_slab.c - chunks come out once, in rising order, aligned and apart; they
 * go back once; what is no allocated chunk is named as what it is.
 */
#include "support.h"

#include <stdlib.h>

enum { SIDECAR = 48 };

/* Chunk sizes that the size classes have, and some that only a user would choose. */
static const size_t chunk_sizes[] = {8,     16,    24,     48,     56,    80,
                                     112,   1024,  1280,   1792,   4096,  5120,
                                     12288, 40960, 131072, 393216, 65544, 3000008};

static void
test_every_chunk(void **state)
{
    (void)state;
    for (size_t i = 0; i < UMEM_ARRAY_SIZE(chunk_sizes); i++) {
        struct slab_geometry geo = heap_geometry(chunk_sizes[i], 8);
        struct slab_pool pool = {0};
        assert_int_equal(slab_pool_init(&pool, &geo), 0);
        unsigned n = pool.pool_chunks * 2 + 1;
        void **objs = calloc(n, sizeof(*objs));
        for (unsigned got = 0; got < n;) {
            unsigned more = slab_alloc(&pool, objs + got, n - got);
            assert_true(more > 0);
            got += more;
        }
        assert_true(slab_pool_verify(&pool));
        assert_int_equal(pool.pool_allocated, n);
        assert_int_equal(pool.pool_slabs, 3);
        for (unsigned j = 0; j < n; j++) {
            struct slab *slab = slab_find(&pool, objs[j]);
            assert_non_null(slab);
            assert_int_equal(slab_check(slab, objs[j]), SLAB_OK);
            size_t index = (size_t)((char *)objs[j] - slab->slab_base) / chunk_sizes[i];
            assert_int_equal(slab_chunk_index(slab, objs[j]), index);
            assert_int_equal(slab_chunk_index(slab, (char *)objs[j] + chunk_sizes[i] - 1), index);
            if (j % pool.pool_chunks != 0)
                assert_ptr_equal(objs[j], (char *)objs[j - 1] + chunk_sizes[i]);
        }
        enum slab_status status;
        assert_int_equal(slab_free(&pool, objs, n, &status), n);
        assert_int_equal(status, SLAB_OK);
        assert_true(slab_pool_verify(&pool));
        assert_int_equal(pool.pool_slabs_empty, pool.pool_chunks > 16 ? 1 : 0);
        assert_int_equal(pool.pool_slabs, pool.pool_slabs_empty);
        slab_pool_fini(&pool);
        assert_int_equal(pool.pool_slabs, 0);
        free(objs);
    }
}

/* Fills n slabs, n * chunks objects. */
static unsigned
fill(struct slab_pool *pool, void **objs, unsigned n)
{
    unsigned total = n * pool->pool_chunks;

    for (unsigned got = 0; got < total;)
        got += slab_alloc(pool, objs + got, total - got);
    assert_int_equal(pool->pool_slabs, n);
    return total;
}

/* Of the heap's empty slabs one and a sixteenth stay; others go as they come. */
static void
test_empty_slabs_go(void **state)
{
    enum { SLABS = 40 };
    struct slab_geometry geo = heap_geometry(1024, 64);
    struct slab_pool pool = {0};
    enum slab_status status;

    (void)state;
    assert_int_equal(slab_pool_init(&pool, &geo), 0);
    void **objs = calloc((size_t)SLABS * pool.pool_chunks, sizeof(*objs));
    unsigned n = fill(&pool, objs, SLABS);
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(free_one(&pool, objs[i], &status), 1);
        assert_true(pool.pool_slabs_empty <= 1 + pool.pool_slabs / 16 + 1);
    }
    assert_int_equal(pool.pool_slabs, 1);
    assert_true(slab_pool_verify(&pool));

    /* All at once: what stays is a part of what there was. */
    n = fill(&pool, objs, SLABS);
    assert_int_equal(slab_free(&pool, objs, n, &status), n);
    assert_int_equal(pool.pool_slabs, 1 + SLABS / 16);
    assert_true(slab_pool_verify(&pool));

    /* Over the edge of a slab, to and fro: none is made and unmade. */
    n = fill(&pool, objs, 3);
    size_t creates = pool.pool_creates;
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(slab_free(&pool, objs, pool.pool_chunks, &status), pool.pool_chunks);
        for (unsigned got = 0; got < pool.pool_chunks;)
            got += slab_alloc(&pool, objs + got, pool.pool_chunks - got);
    }
    assert_int_equal(pool.pool_creates, creates);
    assert_int_equal(slab_free(&pool, objs, n, &status), n);
    slab_pool_fini(&pool);
    free(objs);
}

/* An arena of the program's is asked for nothing back but in a reap. */
static void
test_empty_slabs_stay(void **state)
{
    enum { SLABS = 40 };
    vmem_t *arena =
        vmem_create("kept", (void *)0x10000, 0x1000000, 0x1000, NULL, NULL, NULL, 0, VM_NOSLEEP);
    struct slab_geometry geo = number_geometry(arena, 0x1000, 0x1000);
    struct slab_pool pool = {0};
    enum slab_status status;

    (void)state;
    assert_int_equal(slab_pool_init(&pool, &geo), 0);
    void **objs = calloc((size_t)SLABS * pool.pool_chunks, sizeof(*objs));
    unsigned n = fill(&pool, objs, SLABS);
    assert_int_equal(slab_free(&pool, objs, n, &status), n);
    assert_int_equal(pool.pool_slabs_empty, SLABS);
    assert_int_equal(slab_pool_reap(&pool, 4), (SLABS - 4) * pool.pool_slab_size);
    assert_int_equal(pool.pool_slabs_empty, 4);
    assert_true(slab_pool_verify(&pool));
    slab_pool_fini(&pool);
    vmem_destroy(arena);
    free(objs);
}

static void
test_lowest_first(void **state)
{
    struct slab_geometry geo = heap_geometry(64, 64);
    struct slab_pool pool = {0};
    enum slab_status status;
    void *objs[200];
    void *again[3];

    (void)state;
    assert_int_equal(slab_pool_init(&pool, &geo), 0);
    assert_int_equal(slab_alloc(&pool, objs, 200), 200);
    assert_int_equal(free_one(&pool, objs[150], &status), 1);
    assert_int_equal(free_one(&pool, objs[3], &status), 1);
    assert_int_equal(free_one(&pool, objs[70], &status), 1);
    assert_int_equal(slab_alloc(&pool, again, 3), 3);
    assert_ptr_equal(again[0], objs[3]);
    assert_ptr_equal(again[1], objs[70]);
    assert_ptr_equal(again[2], objs[150]);
    assert_int_equal(slab_free(&pool, objs, 200, &status), 200);
    slab_pool_fini(&pool);
}

static void
test_bad_frees(void **state)
{
    struct slab_geometry geo = heap_geometry(96, 32);
    struct slab_pool pool = {0}, other = {0};
    enum slab_status status;
    void *objs[4], *foreign;
    int local = 0;

    (void)state;
    assert_int_equal(slab_pool_init(&pool, &geo), 0);
    assert_int_equal(slab_pool_init(&other, &geo), 0);
    assert_int_equal(slab_alloc(&pool, objs, 4), 4);
    assert_int_equal(slab_alloc(&other, &foreign, 1), 1);

    assert_int_equal(free_one(&pool, (char *)objs[1] + 32, &status), 0);
    assert_int_equal(status, SLAB_NOT_A_CHUNK);
    assert_int_equal(free_one(&pool, foreign, &status), 0);
    assert_int_equal(status, SLAB_NOT_OURS);
    assert_int_equal(free_one(&pool, &local, &status), 0);
    assert_int_equal(status, SLAB_NOT_OURS);
    assert_int_equal(free_one(&pool, objs[1], &status), 1);
    assert_int_equal(free_one(&pool, objs[1], &status), 0);
    assert_int_equal(status, SLAB_ALREADY_FREE);
    /* The batch stops at the bad one and says where. */
    void *batch[3] = {objs[0], objs[1], objs[2]};
    assert_int_equal(slab_free(&pool, batch, 3, &status), 1);
    assert_int_equal(status, SLAB_ALREADY_FREE);
    assert_int_equal(pool.pool_allocated, 2);
    assert_true(slab_pool_verify(&pool));

    /* Past the last chunk of the slab, where its slack is. */
    struct slab *slab = slab_find(&pool, objs[0]);
    char *past = slab->slab_base + (size_t)slab->slab_chunks * 96;
    if (past < slab->slab_span + pool.pool_slab_size)
        assert_int_equal(slab_check(slab, past), SLAB_NOT_A_CHUNK);
}

/* What comes back in one batch, of whichever slabs, in runs and one by one. */
static void
test_runs(void **state)
{
    struct slab_geometry geo = heap_geometry(4096, 64);
    struct slab_pool pool = {0};
    enum slab_status status;
    void *objs[48];

    (void)state;
    assert_int_equal(slab_pool_init(&pool, &geo), 0);
    assert_int_equal(fill(&pool, objs, 3), UMEM_ARRAY_SIZE(objs));
    void *runs[] = {objs[14], objs[15], objs[16], objs[17], objs[2], objs[40], objs[3], objs[15]};
    assert_int_equal(slab_free(&pool, runs, 8, &status), 7);
    assert_int_equal(status, SLAB_ALREADY_FREE);
    assert_int_equal(slab_find(&pool, objs[0])->slab_free, 4);
    assert_int_equal(slab_find(&pool, objs[16])->slab_free, 2);
    assert_int_equal(slab_find(&pool, objs[40])->slab_free, 1);
    assert_int_equal(pool.pool_allocated, 41);
    assert_true(slab_pool_verify(&pool));

    /* Twice in one run; what went before it counts. */
    void *twice[] = {objs[20], objs[21], objs[20]};
    assert_int_equal(slab_free(&pool, twice, 3, &status), 2);
    assert_int_equal(status, SLAB_ALREADY_FREE);
    assert_int_equal(pool.pool_allocated, 39);
    assert_true(slab_pool_verify(&pool));
}

/* Nothing is written into a free chunk: the memory of a pool may be PROT_NONE. */
static void
test_untouched(void **state)
{
    vmem_t *arena =
        vmem_create("numbers", (void *)0x10000, 0x1000000, 0x1000, NULL, NULL, NULL, 0, VM_NOSLEEP);
    struct slab_geometry geo = number_geometry(arena, 0x1000, 0x5000);
    struct slab_pool pool = {0};
    enum slab_status status;
    void *objs[500];
    unsigned n = 0;

    (void)state;
    assert_int_equal(slab_pool_init(&pool, &geo), 0);
    while (n < 500 && slab_alloc(&pool, &objs[n], 1) == 1)
        n++;
    assert_int_equal(n, 500);
    for (unsigned i = 0; i < n; i++)
        assert_non_null(slab_find(&pool, (char *)objs[i] + 0x4fff));
    assert_null(slab_find(&pool, (void *)0x20000000));
    assert_true(slab_pool_verify(&pool));
    assert_int_equal(slab_free(&pool, objs, n, &status), n);
    slab_pool_fini(&pool);
    assert_int_equal(vmem_size(arena, VMEM_ALLOC), 0);
    vmem_destroy(arena);
}

static void
test_out_of_memory(void **state)
{
    vmem_t *arena =
        vmem_create("small", (void *)0x10000, 0x4000, 0x1000, NULL, NULL, NULL, 0, VM_NOSLEEP);
    struct slab_geometry geo = number_geometry(arena, 0x1000, 0x1000);
    struct slab_pool pool = {0};
    void *objs[8];

    (void)state;
    assert_int_equal(slab_pool_init(&pool, &geo), 0);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(slab_alloc(&pool, &objs[i], 1), 1);
    errno = 0;
    assert_int_equal(slab_alloc(&pool, &objs[4], 1), 0);
    assert_int_equal(errno, ENOMEM);
    assert_int_equal(pool.pool_fails, 1);
    enum slab_status status;
    assert_int_equal(free_one(&pool, objs[2], &status), 1);
    assert_int_equal(slab_alloc(&pool, &objs[4], 1), 1);
    assert_ptr_equal(objs[4], objs[2]);
}

static void
test_sidecar(void **state)
{
    struct slab_geometry geo = heap_geometry(80, 16);
    struct slab_pool pool = {0};
    void *objs[100];

    (void)state;
    geo.geo_sidecar = SIDECAR;
    assert_int_equal(slab_pool_init(&pool, &geo), 0);
    assert_int_equal(slab_alloc(&pool, objs, 100), 100);
    struct slab *slab = slab_find(&pool, objs[0]);
    assert_int_equal((uintptr_t)slab_sidecar(slab, 0) % SLAB_SIDECAR_ALIGN, 0);
    for (uint32_t i = 0; i < slab->slab_chunks; i++)
        memset(slab_sidecar(slab, i), 0xff, SIDECAR);
    /* Sidecars lie apart from bitmap, lists and neighbours. */
    assert_true(slab_pool_verify(&pool));
    assert_int_equal((char *)slab_sidecar(slab, 1) - (char *)slab_sidecar(slab, 0), SIDECAR);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_chunk),      cmocka_unit_test(test_empty_slabs_go),
        cmocka_unit_test(test_empty_slabs_stay), cmocka_unit_test(test_lowest_first),
        cmocka_unit_test(test_bad_frees),        cmocka_unit_test(test_runs),
        cmocka_unit_test(test_untouched),        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_sidecar),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
