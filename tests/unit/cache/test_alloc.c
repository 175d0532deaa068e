/* SPDX-License-Identifier: MIT */
/*
 * test_alloc.c - umem_alloc and its family: sizes, alignment, zeroes, frees of
 * what is not ours, fault injection.
 */
#include "support.h"

#include <sys/mman.h>

static void
test_sizes(void **state)
{
    (void)state;
    for (size_t size = 1; size <= 300000; size += size < 5000 ? 1 : 997) {
        char *p = umem_alloc(size, UMEM_DEFAULT);
        assert_non_null(p);
        size_t align = size % 4096 == 0 ? 4096 : size % 64 == 0 ? 64 : size >= 16 ? 16 : 8;
        assert_int_equal((uintptr_t)p % align, 0);
        assert_true(usable_size(p) >= size);
        memset(p, 0xee, size);
        umem_free(p, size);
        p = umem_zalloc(size, UMEM_DEFAULT);
        for (size_t i = 0; i < size; i += size < 5000 ? 1 : 61)
            assert_int_equal(p[i], 0);
        umem_free(p, size);
    }
    assert_true(verify_caches());
}

static void
test_nothing(void **state)
{
    (void)state;
    errno = 0;
    assert_null(umem_alloc(0, UMEM_DEFAULT));
    assert_null(umem_zalloc(0, UMEM_DEFAULT));
    assert_null(umem_alloc_align(0, 64, UMEM_DEFAULT));
    assert_int_equal(errno, 0);
    umem_free(NULL, 0);
    umem_free_align(NULL, 0);
    assert_int_equal(usable_size(NULL), 0);
}

static void
test_align(void **state)
{
    (void)state;
    for (size_t align = 1; align <= (size_t)1 << 22; align *= 2)
        for (size_t size = 1; size < 300000; size = size * 5 / 2 + 1) {
            char *p = umem_alloc_align(size, align, UMEM_DEFAULT);
            assert_non_null(p);
            assert_int_equal((uintptr_t)p % (align < 8 ? 8 : align), 0);
            p[0] = p[size - 1] = 1;
            umem_free_align(p, size);
        }
    static const size_t bad[] = {0, 3, 24, SIZE_MAX};
    for (size_t i = 0; i < UMEM_ARRAY_SIZE(bad); i++) {
        errno = 0;
        assert_null(umem_alloc_align(100, bad[i], UMEM_DEFAULT));
        assert_int_equal(errno, EINVAL);
    }
    assert_true(verify_caches());
}

static void
test_too_much(void **state)
{
    static const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 100, (size_t)PTRDIFF_MAX + 1,
                                   (size_t)PTRDIFF_MAX, (size_t)1 << 50};

    (void)state;
    for (size_t i = 0; i < UMEM_ARRAY_SIZE(sizes); i++) {
        errno = 0;
        assert_null(umem_alloc(sizes[i], UMEM_DEFAULT));
        assert_int_equal(errno, ENOMEM);
        assert_null(umem_alloc_align(sizes[i], 1 << 20, UMEM_DEFAULT));
    }
    assert_true(verify_caches());
}

static void
test_resize(void **state)
{
    (void)state;
    char *p = umem_alloc(100, UMEM_DEFAULT); /* of 112 */
    assert_true(umem_resize(p, 112));
    assert_false(umem_resize(p, 113));
    assert_true(umem_resize(p, 57));
    assert_false(umem_resize(p, 56)); /* half would lie idle */
    umem_free(p, 100);
    assert_false(umem_resize(&p, 10));
}

static void
injected(void)
{
    void *p = umem_alloc(100, UMEM_DEFAULT);

    umem_free(p, 100);
    umem_setmtbf(1);
    for (int i = 0; i < 100; i++) {
        errno = 0;
        CHECK(umem_alloc(100, UMEM_DEFAULT) == NULL && errno == ENOMEM);
        CHECK(umem_alloc(1000000, UMEM_DEFAULT) == NULL && errno == ENOMEM);
        p = umem_alloc(100, UMEM_NOFAIL);
        CHECK(p != NULL);
        umem_free(p, 100);
    }
    umem_setmtbf(10);
    int failed = 0;
    for (int i = 0; i < 10000; i++) {
        p = umem_alloc(64, UMEM_DEFAULT);
        failed += p == NULL;
        umem_free(p, p == NULL ? 0 : 64);
    }
    CHECK(failed > 500 && failed < 2000);
    umem_setmtbf(0);
    for (int i = 0; i < 1000; i++)
        CHECK(umem_alloc(64, UMEM_DEFAULT) != NULL);
    CHECK(verify_caches());
}

static void
test_injected(void **state)
{
    (void)state;
    assert_exits(injected, NULL, 0);
    assert_exits(injected, "audit=4,guards", 0);
}

static int variable;
static void
free_static(void)
{
    umem_free(&variable, 4);
}
static void
free_wild(void)
{
    umem_free((void *)0x123456789000, 4);
}
static void
free_inner(void)
{
    umem_free((char *)umem_alloc(100, 0) + 16, 100);
}
static void
wrong_size(void)
{
    umem_free(umem_alloc(100, 0), 90);
}
static void
wrong_size_large(void)
{
    umem_free(umem_alloc(1000000, 0), 1000001);
}

static void
object_freed(void)
{
    umem_cache_t *cp = umem_cache_create("owner", 64, 0, NULL, NULL, NULL, NULL, NULL, 0);

    umem_free(umem_cache_alloc(cp, 0), 64);
}

/* An oversize block of zeroes takes no memory before it is used. */
static void
test_zeroed_sparsely(void **state)
{
    enum { PAGES = 3 };
    size_t size = (size_t)64 << 20;
    unsigned char resident[PAGES];

    (void)state;
    char *p = umem_zalloc(size, UMEM_DEFAULT);
    assert_non_null(p);
    assert_int_equal(mincore(p + size / 2, PAGES * os_page_size(), resident), 0);
    for (int i = 0; i < PAGES; i++)
        assert_false(resident[i] & 1);
    assert_int_equal(p[size / 2], 0);
    memset(p, 1, size / 4);
    umem_free(p, size);
    p = umem_zalloc(size, UMEM_DEFAULT);
    assert_int_equal(p[0] | p[size / 4 - 1], 0);
    umem_free(p, size);
}

/* Sizes near the end of the address space are computed without going round it. */
static void
test_vast_quantum(void **state)
{
    size_t quantum = (SIZE_MAX >> 2) + 1;
    vmem_t *arena = vmem_create("vast", NULL, 2 * quantum, quantum, NULL, NULL, NULL, 0, 0);

    (void)state;
    assert_non_null(arena);
    umem_cache_t *cp = umem_cache_create("vast", quantum / 2 + 8, 0, NULL, NULL, NULL, NULL, arena,
                                         UMC_NOTOUCH | UMC_NODEBUG);
    assert_non_null(cp);
    assert_true(cp->cache_slabs.pool_slab_size >= quantum);
    assert_true(cp->cache_slabs.pool_chunks > 0);
    umem_cache_destroy(cp);
    vmem_destroy(arena);
}

static umem_cache_t *far_cache;

static void *
take_far(void *arg)
{
    (void)arg;
    return umem_cache_alloc(far_cache, UMEM_DEFAULT);
}

/* An object whose bin this thread does not have. */
static void
far_object_freed(void)
{
    pthread_t thread;
    void *obj;

    for (int i = 0; i < 2 * TCACHE_STATIC_BINS; i++)
        far_cache = umem_cache_create("far", 40, 0, NULL, NULL, NULL, NULL, NULL, 0);
    umem_free(umem_alloc(40, UMEM_DEFAULT), 40);
    CHECK(pthread_create(&thread, NULL, take_far, NULL) == 0);
    CHECK(pthread_join(thread, &obj) == 0);
    umem_free(obj, 40);
}

static void
test_misuse(void **state)
{
    static const char *const modes[] = {NULL, "audit", "guards", "default"};

    (void)state;
    for (size_t i = 0; i < UMEM_ARRAY_SIZE(modes); i++) {
        assert_dies(free_static, modes[i], "invalid free: buffer not in cache");
        assert_dies(free_wild, modes[i], "invalid free: buffer not in cache");
        assert_dies(object_freed, modes[i], "buffer freed to wrong cache");
        assert_dies(far_object_freed, modes[i], "buffer freed to wrong cache");
        if (modes[i] == NULL)
            continue; /* the fast path asks nothing */
        assert_dies(free_inner, modes[i], "bad free: free address");
        assert_dies(wrong_size, modes[i], "bad free: free size (90) != alloc size (100)");
        assert_dies(wrong_size_large, modes[i], "bad free: free size (1000001)");
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_injected), /* first: their children are fresh engines */
        cmocka_unit_test(test_misuse),          cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_nothing),         cmocka_unit_test(test_align),
        cmocka_unit_test(test_too_much),        cmocka_unit_test(test_resize),
        cmocka_unit_test(test_zeroed_sparsely), cmocka_unit_test(test_vast_quantum),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
