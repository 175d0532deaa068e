/* SPDX-License-Identifier: MIT */
/*
 * test_cache.c - creating caches, with every bad argument, and destroying
 * them, also with objects alive and with objects cached elsewhere.
 */
#include "support.h"

static umem_cache_t *
plain(const char *name, size_t size, size_t align, int cflags)
{
    return umem_cache_create(name, size, align, NULL, NULL, NULL, NULL, NULL, cflags);
}

#define REFUSED(error, ...)                                                                        \
    do {                                                                                           \
        errno = 0;                                                                                 \
        assert_null(plain(__VA_ARGS__));                                                           \
        assert_int_equal(errno, error);                                                            \
    } while (0)

static void
test_refused(void **state)
{
    (void)state;
    REFUSED(EINVAL, NULL, 64, 0, 0);
    REFUSED(EINVAL, "zero", 0, 0, 0);
    REFUSED(EINVAL, "align", 64, 24, 0);
    REFUSED(EINVAL, "above the quantum", 64, UMEM_GRANULE * 2, 0);
    REFUSED(EINVAL, "both", 64, 0, UMC_NOHASH | UMC_NOTOUCH);
    REFUSED(EINVAL, "no slab", UMEM_GRANULE * 4, 0, UMC_NOHASH);
    REFUSED(ENOMEM, "overflow", SIZE_MAX, 0, 0);
    REFUSED(ENOMEM, "overflow", SIZE_MAX - 4000, 4096, 0);
    REFUSED(ENOMEM, "half of all", (size_t)PTRDIFF_MAX + 1, 0, 0);
}

static void
test_alignment(void **state)
{
    (void)state;
    for (size_t size = 1; size < 5000; size = size * 3 / 2 + 1)
        for (size_t align = 0; align <= UMEM_GRANULE; align = align == 0 ? 1 : align * 2) {
            umem_cache_t *cp = plain("aligned", size, align, 0);
            assert_non_null(cp);
            size_t least = align != 0 ? align : size >= 16 ? 16 : 8;
            void *objs[5];
            for (int i = 0; i < 5; i++) {
                objs[i] = umem_cache_alloc(cp, UMEM_DEFAULT);
                assert_non_null(objs[i]);
                assert_int_equal((uintptr_t)objs[i] % least, 0);
                memset(objs[i], 1, size);
            }
            for (int i = 0; i < 5; i++)
                umem_cache_free(cp, objs[i]);
            umem_cache_destroy(cp);
        }
    assert_true(verify_caches());
}

static void
test_name(void **state)
{
    umem_cache_t *cp = plain("a name of more than thirty-one characters", 8, 0, 0);

    (void)state;
    assert_string_equal(cp->cache_name, "a name of more than thirty-one ");
    umem_cache_destroy(cp);
    umem_cache_destroy(NULL);
}

/* Many caches at once, more than thread caches have bins for: the last go without. */
static void
test_many(void **state)
{
    enum { MANY = TCACHE_MAX_BINS + 10 };
    static umem_cache_t *caches[MANY];
    static void *objs[MANY];

    (void)state;
    for (int i = 0; i < MANY; i++) {
        caches[i] = plain("many", 32, 0, 0);
        assert_non_null(caches[i]);
    }
    assert_int_equal(caches[MANY - 1]->cache_bin, 0);
    for (int i = 0; i < MANY; i += 97) {
        objs[i] = umem_cache_alloc(caches[i], UMEM_DEFAULT);
        *(int *)objs[i] = i;
    }
    objs[MANY - 1] = umem_cache_alloc(caches[MANY - 1], UMEM_DEFAULT);
    umem_cache_free(caches[MANY - 1], objs[MANY - 1]);
    for (int i = 0; i < MANY; i += 97) {
        assert_int_equal(*(int *)objs[i], i);
        umem_cache_free(caches[i], objs[i]);
    }
    for (int i = 0; i < MANY; i++)
        umem_cache_destroy(caches[i]);
    assert_true(verify_caches());
}

static int constructed, destructed;

static int
construct(void *buf, void *private_data, int flags)
{
    (void)private_data;
    (void)flags;
    __atomic_add_fetch(&constructed, 1, __ATOMIC_RELAXED);
    *(int *)buf = 77;
    return 0;
}

static void
destruct(void *buf, void *private_data)
{
    (void)private_data;
    assert_int_equal(*(int *)buf, 77);
    __atomic_add_fetch(&destructed, 1, __ATOMIC_RELAXED);
}

struct worker {
    umem_cache_t *cache;
    pthread_barrier_t ready, leave;
};

static void *
cache_some(void *arg)
{
    struct worker *worker = arg;
    void *objs[100];

    for (int i = 0; i < 100; i++)
        objs[i] = umem_cache_alloc(worker->cache, UMEM_DEFAULT);
    for (int i = 0; i < 100; i++)
        umem_cache_free(worker->cache, objs[i]);
    pthread_barrier_wait(&worker->ready);
    pthread_barrier_wait(&worker->leave);
    return NULL;
}

/* Objects in the magazines of a thread that lives on are destroyed with the cache. */
static void
test_destroy_cached_elsewhere(void **state)
{
    struct worker worker;
    pthread_t thread;

    (void)state;
    worker.cache = umem_cache_create("else", 100, 0, construct, destruct, NULL, NULL, NULL, 0);
    pthread_barrier_init(&worker.ready, NULL, 2);
    pthread_barrier_init(&worker.leave, NULL, 2);
    pthread_create(&thread, NULL, cache_some, &worker);
    pthread_barrier_wait(&worker.ready);
    assert_int_equal(constructed, 100);
    assert_int_equal(destructed, 0);
    size_t before = vmem_size(&vmem_heap, VMEM_ALLOC);
    umem_cache_destroy(worker.cache);
    assert_int_equal(destructed, 100);
    assert_true(vmem_size(&vmem_heap, VMEM_ALLOC) < before);
    pthread_barrier_wait(&worker.leave);
    pthread_join(thread, NULL);
    assert_true(verify_caches());
}

static void
destroy_not_empty(void)
{
    umem_cache_t *cp = plain("not_empty_cache", 100, 0, 0);
    char *obj = umem_cache_alloc(cp, UMEM_DEFAULT);

    umem_cache_destroy(cp);
    obj[99] = 1; /* its memory stays */
}

static void
test_destroy_not_empty(void **state)
{
    char text[8192];

    (void)state;
    assert_int_equal(in_child(destroy_not_empty, NULL, text, sizeof(text)), 0);
    assert_non_null(strstr(text, "not empty"));
    assert_non_null(strstr(text, "not_empty_cache"));
}

static void
test_nomagazine(void **state)
{
    umem_cache_t *cp = plain("direct", 64, 0, UMC_NOMAGAZINE);

    (void)state;
    void *obj = umem_cache_alloc(cp, UMEM_DEFAULT);
    assert_int_equal(cp->cache_slabs.pool_allocated, 1);
    umem_cache_free(cp, obj);
    assert_int_equal(cp->cache_slabs.pool_allocated, 0);
    umem_cache_destroy(cp);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_destroy_not_empty), /* first: its child is a fresh engine */
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_alignment),
        cmocka_unit_test(test_name),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_destroy_cached_elsewhere),
        cmocka_unit_test(test_nomagazine),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
