/* SPDX-License-Identifier: MIT */
/*
 * test_purge.c - pages without a chunk in use go, once, from slabs that are
 * calm; what is in use stays; a pass takes any number of calls, whatever
 * happens to the slab that it comes to next.
 */
#include "support.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHUNK = 1024, SLABS = 4, MAX = SLABS * 64 };

static struct slab_pool the_pool;
static char *objs[MAX];

static size_t
page(void)
{
    return os_page_size();
}

static bool
resident(const char *addr)
{
    unsigned char present = 0;

    assert_int_equal(mincore((void *)umem_align_down((uintptr_t)addr, page()), page(), &present),
                     0);
    return present & 1;
}

static unsigned
resident_pages(const struct slab *slab)
{
    unsigned pages = 0;

    for (size_t at = 0; at < the_pool.pool_slab_size; at += page())
        pages += resident(slab->slab_span + at);
    return pages;
}

/* Four slabs, every chunk written to. */
static int
set_up(void **state)
{
    struct slab_geometry geo = heap_geometry(CHUNK, 8);

    (void)state;
    memset(&the_pool, 0, sizeof(the_pool));
    assert_int_equal(slab_pool_init(&the_pool, &geo), 0);
    assert_int_equal(the_pool.pool_chunks, 64);
    for (unsigned got = 0; got < MAX;)
        got += slab_alloc(&the_pool, (void **)objs + got, MAX - got);
    for (unsigned i = 0; i < MAX; i++)
        memset(objs[i], (int)i, CHUNK);
    return 0;
}

static int
tear_down(void **state)
{
    enum slab_status status;

    (void)state;
    for (unsigned i = 0; i < MAX; i++)
        if (objs[i] != NULL)
            assert_int_equal(free_one(&the_pool, objs[i], &status), 1);
    slab_pool_fini(&the_pool);
    return 0;
}

static void
give_back(unsigned i)
{
    enum slab_status status;

    assert_int_equal(free_one(&the_pool, objs[i], &status), 1);
    objs[i] = NULL;
}

/* All of slab n but its chunk that is kept. */
static struct slab *
thin_out(unsigned n, unsigned kept)
{
    for (unsigned i = n * 64; i < (n + 1) * 64; i++)
        if (i != n * 64 + kept)
            give_back(i);
    return slab_find(&the_pool, objs[n * 64 + kept]);
}

static bool
pass(bool all)
{
    size_t budget = SIZE_MAX;
    bool over = slab_pool_purge(&the_pool, all, &budget);

    assert_true(slab_pool_verify(&the_pool));
    return over;
}

static void
check_contents(void)
{
    for (unsigned i = 0; i < MAX; i++)
        for (size_t at = 0; objs[i] != NULL && at < CHUNK; at++)
            assert_int_equal((unsigned char)objs[i][at], i & 0xff);
}

/* Not before a pass has seen it unchanged, and not twice. */
static void
test_calm(void **state)
{
    (void)state;
    struct slab *slab = thin_out(1, 10);
    unsigned pages = (unsigned)(the_pool.pool_slab_size / page());
    assert_true(pass(false));
    assert_int_equal(resident_pages(slab), pages);
    assert_true(pass(false));
    assert_int_equal(resident_pages(slab), 1);
    assert_true(resident(objs[64 + 10]));
    check_contents();
    slab->slab_span[0] = 1; /* who looks away is not seen */
    assert_true(pass(true));
    assert_int_equal(resident_pages(slab), 2);

    /* What comes and goes makes it due again, after a pass in between. */
    void *again;
    enum slab_status status;
    assert_int_equal(slab_alloc(&the_pool, &again, 1), 1);
    assert_ptr_equal(slab_find(&the_pool, again), slab);
    assert_int_equal(free_one(&the_pool, again, &status), 1);
    assert_true(pass(false));
    assert_int_equal(resident_pages(slab), 2);
    assert_true(pass(false));
    assert_int_equal(resident_pages(slab), 1);
    check_contents();
}

/* What an update does at once for umem_reap(); pages that are shared with a chunk in use stay. */
static void
test_all(void **state)
{
    (void)state;
    for (unsigned i = 0; i < MAX; i += 2)
        give_back(i); /* every page keeps a chunk */
    assert_true(pass(true));
    for (unsigned i = 1; i < MAX; i += 2)
        assert_true(resident(objs[i]));
    check_contents();
    for (unsigned i = 1; i < MAX; i += 2)
        if (i % 8 == 1)
            give_back(i); /* with pages of 4 KiB every other one is free now */
    assert_true(pass(true));
    check_contents();
    if (page() == 4096) {
        struct slab *slab = slab_find(&the_pool, objs[3]);
        assert_int_equal(resident_pages(slab), 16);
        give_back(3);
        assert_true(pass(true));
        assert_int_equal(resident_pages(slab), 15);
    }
}

/* An empty slab that the pool keeps goes as a whole, and can be had again. */
static void
test_empty(void **state)
{
    (void)state;
    struct slab *slab = thin_out(2, 0);
    give_back(2 * 64);
    assert_int_equal(the_pool.pool_slabs_empty, 1);
    assert_true(pass(true));
    assert_int_equal(the_pool.pool_slabs_empty, 1);
    assert_int_equal(resident_pages(slab), 0);
    for (unsigned i = 2 * 64; i < 3 * 64; i++) {
        assert_int_equal(slab_alloc(&the_pool, (void **)&objs[i], 1), 1);
        memset(objs[i], (int)i, CHUNK);
    }
    assert_ptr_equal(slab_find(&the_pool, objs[2 * 64]), slab);
    assert_true(slab_pool_verify(&the_pool));
    check_contents();
}

/* A call stops at its budget; the next one goes on, though the slab at that place has gone. */
static void
test_budget(void **state)
{
    struct slab *slabs[SLABS];
    size_t budget = 1;

    (void)state;
    for (unsigned n = 0; n < SLABS; n++)
        slabs[n] = thin_out(n, 63);
    assert_true(pass(false));
    assert_false(slab_pool_purge(&the_pool, false, &budget));
    assert_int_equal(budget, 0);
    struct slab *next = UMEM_CONTAINER_OF(the_pool.pool_purge, struct slab, slab_link);
    unsigned n = 0;
    while (slabs[n] != next)
        n++;
    give_back(n * 64 + 63); /* empty: on another list, or none */
    assert_true(slab_pool_verify(&the_pool));
    assert_true(the_pool.pool_purge != &next->slab_link);
    for (budget = 1; !slab_pool_purge(&the_pool, false, &budget); budget = 1)
        assert_true(slab_pool_verify(&the_pool));
    for (unsigned i = 0; i < SLABS; i++)
        if (i != n)
            assert_int_equal(resident_pages(slabs[i]), 1);
    check_contents();
}

/* Chunks that are freed, and a fork, while the pages of a slab go. */
static void
test_meanwhile(void **state)
{
    (void)state;
    struct slab *slab = thin_out(0, 5);
    umem_list_remove(&slab->slab_link);
    umem_list_push_back(&the_pool.pool_full, &slab->slab_link);
    slab->slab_purging = true;
    the_pool.pool_purging = slab;
    assert_true(slab_pool_verify(&the_pool));
    give_back(5);
    assert_int_equal(the_pool.pool_slabs_empty, 0); /* not yet counted as such */
    assert_true(slab_pool_verify(&the_pool));
    slab_pool_fork_child(&the_pool);
    assert_false(slab->slab_purging);
    assert_null(the_pool.pool_purging);
    assert_int_equal(the_pool.pool_slabs_empty, 1);
    assert_true(slab_pool_verify(&the_pool));
    slab_pool_fork_child(&the_pool);
    assert_int_equal(the_pool.pool_slabs_empty, 1);
}

/* Locked pages stay, and nobody asks again before the slab changes. */
static void
test_locked(void **state)
{
    (void)state;
    struct slab *slab = thin_out(3, 7);
    if (UNDER_SANITIZER || mlock(slab->slab_span, the_pool.pool_slab_size) != 0)
        skip();
    assert_true(pass(true));
    assert_int_equal(resident_pages(slab), the_pool.pool_slab_size / page());
    munlock(slab->slab_span, the_pool.pool_slab_size);
    assert_true(pass(true));
    assert_int_equal(resident_pages(slab), the_pool.pool_slab_size / page());
}

/* Elsewhere free chunks hold something, or are no memory. */
static void
test_not_ours(void **state)
{
    struct slab_geometry geo = heap_geometry(CHUNK, 8);
    struct slab_pool pool = {0};
    size_t budget = 100;

    (void)state;
    geo.geo_sidecar = 48;
    assert_int_equal(slab_pool_init(&pool, &geo), 0);
    void *obj;
    enum slab_status status;
    assert_int_equal(slab_alloc(&pool, &obj, 1), 1);
    assert_true(slab_pool_purge(&pool, true, &budget));
    assert_int_equal(budget, 100);
    assert_int_equal(free_one(&pool, obj, &status), 1);
    slab_pool_fini(&pool);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_calm, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_all, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_empty, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_budget, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_meanwhile, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_locked, set_up, tear_down),
        cmocka_unit_test(test_not_ours),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
