/* SPDX-License-Identifier: MIT */
/*
 * test_init.c - nothing happens before first use; then everything does, once,
 * whoever comes first.
 */
#include "support.h"

static void
asleep(void)
{
    CHECK(umem_state == UMEM_STATE_NEW);
    CHECK(umem_list_empty(&umem_caches));
    CHECK(umem_meta_chunks == NULL);
    CHECK(!tcache_is_live(tcache_self));
}

/* How many caches there are, all of them classes, by size. */
static unsigned
classes_listed(void)
{
    unsigned count = 0;
    size_t last = 0;

    UMEM_LIST_FOR (node, &umem_caches) {
        const struct umem_cache *cp = UMEM_CONTAINER_OF(node, struct umem_cache, cache_link);
        CHECK(umem_is_class_cache(cp) && cp->cache_bufsize > last);
        last = cp->cache_bufsize;
        count++;
    }
    return count;
}

static void
awake(void)
{
    CHECK(umem_alloc(10, UMEM_DEFAULT) != NULL);
    CHECK(umem_state == UMEM_STATE_READY);
    /* Of that size, and of the one that race() asked for. */
    CHECK(classes_listed() <= 2);
    /* In whatever order they are made, the list has them by size. */
    for (unsigned i = 0; i < UMEM_CLASS_COUNT; i++) {
        unsigned c = (i * 7 + 3) % UMEM_CLASS_COUNT;
        struct umem_cache *cp = umem_class_cache(c);
        CHECK(cp == umem_class_cache(c) && cp->cache_class == c && cp->cache_bin == c + 1);
        CHECK(cp->cache_bufsize == umem_classes[c].class_size);
    }
    CHECK(classes_listed() == UMEM_CLASS_COUNT);
    CHECK(strcmp(umem_class_cache(0)->cache_name, "umem_alloc_8") == 0);
    CHECK(strcmp(umem_class_cache(UMEM_CLASS_COUNT - 1)->cache_name, "umem_alloc_131072") == 0);
}

static pthread_barrier_t barrier;

static void *
first(void *arg)
{
    (void)arg;
    pthread_barrier_wait(&barrier);
    return umem_alloc(100, UMEM_DEFAULT);
}

static void
meet(void)
{
    pthread_t threads[8];
    void *block[8];

    pthread_barrier_init(&barrier, NULL, 8);
    for (int i = 0; i < 8; i++)
        CHECK(pthread_create(&threads[i], NULL, first, NULL) == 0);
    for (int i = 0; i < 8; i++) {
        CHECK(pthread_join(threads[i], &block[i]) == 0 && block[i] != NULL);
        for (int j = 0; j < i; j++)
            CHECK(block[i] != block[j]);
    }
    CHECK(verify_caches());
}

static void
race(void)
{
    meet();
    awake();
}

/* Under debugging the fast path's bins stay closed for good. */
static void
debugged(void)
{
    for (int i = 0; i < 1000; i++)
        umem_free(umem_alloc(100, UMEM_DEFAULT), 100);
    for (unsigned c = 0; c < UMEM_CLASS_COUNT; c++) {
        CHECK(umem_class_cache(c)->cache_bin == 0);
        CHECK(umem_class_cache(c)->cache_slow_bin >= TCACHE_STATIC_BINS);
        CHECK(tcache_self->tc_bin[c + 1].bin_limit == NULL);
    }
}

/* A tag takes of the class's size: chunks are as large, and as aligned, as without. */
static void
guarded(void)
{
    CHECK(umem_ready());
    for (unsigned c = 2; c < UMEM_CLASS_COUNT - 1; c++) {
        struct umem_cache *cp = umem_class_cache(c);
        CHECK(cp->cache_slabs.pool_chunk_size == umem_classes[c].class_size);
        CHECK(cp->cache_bufspace == umem_classes[c].class_size - sizeof(struct umem_buftag));
    }
    for (size_t size = 1; size <= UMEM_MAX_CLASS_SIZE; size += 1 + size / 100) {
        char *plain = umem_alloc_sized(size, UMEM_ALIGNED_16), *buf = umem_alloc(size, 0);
        struct umem_cache *cp = umem_cache_of_slab(pagemap_pointer(pagemap_get(plain)));
        unsigned class = umem_class_of(umem_min(size + 16, UMEM_MAX_CLASS_SIZE));
        CHECK(cp == umem_class_cache(size <= 16 ? 1 : class));
        CHECK((uintptr_t)plain % 16 == 0);
        CHECK((uintptr_t)buf % umem_natural_align(umem_class_cache(size > 8), size) == 0);
        memset(plain, 'x', size);
        memset(buf, 'x', size);
        umem_free(plain, size);
        umem_free(buf, size);
    }
    for (size_t size = 64; size <= UMEM_MAX_CLASS_SIZE; size *= 2) {
        char *buf = umem_alloc(size, UMEM_DEFAULT);
        CHECK((uintptr_t)buf % (size < 4096 ? 64 : 4096) == 0);
        umem_free(buf, size);
        for (size_t align = 16; align <= 4096; align *= 2) {
            buf = umem_alloc_align(size, align, UMEM_DEFAULT);
            CHECK((uintptr_t)buf % align == 0);
            umem_free_align(buf, size);
        }
    }
    CHECK(verify_caches());
}

/* What a thread keeps of each size is no more than it may. */
static void
small_threads(void)
{
    enum { MANY = 4000 };
    static void *blocks[MANY];

    for (unsigned c = 0; c < UMEM_CLASS_COUNT; c++) {
        size_t size = umem_classes[c].class_size;
        for (int turn = 0; turn < 3; turn++) {
            for (int i = 0; i < MANY; i++)
                CHECK((blocks[i] = umem_alloc(size, UMEM_DEFAULT)) != NULL);
            for (int i = 0; i < MANY; i++)
                umem_free(blocks[i], size);
        }
        CHECK((umem_class_cache(c)->cache_bin == c + 1) == (size <= 2048));
        size_t kept = size > 2048 ? 0 : tcache_bin_rounds(c + 1) * size;
        CHECK(kept <= 4096 && (kept != 0) == (size <= 2048));
    }
    CHECK(depot_contention_max == 7);
    CHECK(verify_caches());
}

static void
no_magazines(void)
{
    umem_free(umem_alloc(100, UMEM_DEFAULT), 100);
    for (unsigned c = 0; c < UMEM_CLASS_COUNT; c++)
        CHECK(umem_class_cache(c)->cache_slow_bin == 0);
}

static void
test_tuned(void **state)
{
    (void)state;
    setenv("UMEM_OPTIONS", "perthread_cache=4k,max_contention=7", 1);
    assert_exits(small_threads, NULL, 0);
    setenv("UMEM_OPTIONS", "perthread_cache=0", 1);
    assert_exits(no_magazines, NULL, 0);
    setenv("UMEM_OPTIONS", "nomagazines", 1);
    assert_exits(no_magazines, NULL, 0);
    unsetenv("UMEM_OPTIONS");
}

static void
test_asleep(void **state)
{
    (void)state;
    assert_exits(asleep, NULL, 0);
}

static void
test_awake(void **state)
{
    (void)state;
    assert_exits(awake, NULL, 0);
}

static void
test_race(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        assert_exits(race, NULL, 0);
        assert_exits(meet, "guards", 0);
    }
}

static void
test_debugged(void **state)
{
    (void)state;
    assert_exits(debugged, "audit=8,guards", 0);
    assert_exits(debugged, "audit", 0);
    assert_exits(guarded, "guards", 0);
    assert_exits(guarded, "lite", 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_asleep),   cmocka_unit_test(test_awake), cmocka_unit_test(test_race),
        cmocka_unit_test(test_debugged), cmocka_unit_test(test_tuned),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
