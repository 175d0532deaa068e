/* SPDX-License-Identifier: MIT */
/*
 * test_large.c - oversize blocks: recorded, found by the page map, resized in
 * place, given back; misuse told apart.
 */
#include "support.h"

#include <sys/mman.h>

static size_t
recorded(void)
{
    size_t count = 0;

    UMEM_LIST_FOR (node, &umem_larges)
        count++;
    return count;
}

static void
test_record(void **state)
{
    (void)state;
    assert_true(umem_ready());
    size_t before = recorded(), used = vmem_size(&vmem_heap, VMEM_ALLOC);
    char *p = umem_alloc(UMEM_MAX_CLASS_SIZE + 1, UMEM_DEFAULT);
    assert_int_equal(recorded(), before + 1);
    uint64_t word = pagemap_get(p);
    assert_int_equal(pagemap_kind(word), UMEM_PAGEMAP_LARGE);
    struct umem_large *large = pagemap_pointer(word);
    assert_ptr_equal(large->large_base, p);
    assert_int_equal(large->large_size, UMEM_MAX_CLASS_SIZE + 1);
    memset(p, 1, large->large_span_size);
    umem_free(p, UMEM_MAX_CLASS_SIZE + 1);
    assert_int_equal(recorded(), before);
    assert_int_equal(pagemap_get(p), 0);
    assert_int_equal(vmem_size(&vmem_heap, VMEM_ALLOC), used);
}

static void
test_aligned(void **state)
{
    (void)state;
    for (size_t align = 8192; align <= (size_t)1 << 24; align *= 2) {
        char *p = umem_large_alloc(10, align, UMEM_DEFAULT);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % align, 0);
        p[9] = 1;
        umem_large_free(p, SIZE_MAX);
    }
    char *p = umem_large_alloc(0, 8192, UMEM_DEFAULT);
    assert_non_null(p);
    umem_large_free(p, SIZE_MAX);
}

static void
test_resize(void **state)
{
    (void)state;
    char *p = umem_alloc(1000000, UMEM_DEFAULT);
    struct umem_large *large = pagemap_pointer(pagemap_get(p));
    memset(p, 5, 1000000);
    size_t span = large->large_span_size;
    assert_true(umem_large_resize(large, span));   /* to the end of its span */
    assert_true(umem_large_resize(large, 200000)); /* shrinks where it lies */
    assert_true(large->large_span_size < span);
    unsigned char resident;
    vmem_reap(&vmem_heap);
    assert_int_equal(mincore(p + large->large_span_size, os_page_size(), &resident), 0);
    assert_false(resident & 1);                    /* what was cut off went to the heap */
    assert_true(umem_large_resize(large, 400000)); /* what it gave back is free */
    assert_int_equal(p[199999], 5);
    assert_false(umem_resize(p + 16, 300000)); /* no block starts there */
    assert_int_equal(usable_size(p + 16), 0);
    assert_false(umem_large_resize(large, 1000)); /* now a matter of classes */
    assert_false(umem_large_resize(large, SIZE_MAX - 1));
    umem_free(p, 400000);
    assert_true(vmem_verify(&vmem_heap));
}

static void
double_free(void)
{
    void *p = umem_alloc(1000000, UMEM_DEFAULT);

    umem_free(p, 1000000);
    umem_free(p, 1000000);
}

static void
inner_free(void)
{
    umem_free((char *)umem_alloc(1000000, UMEM_DEFAULT) + 500000, 1000000);
}

static void
overrun(void)
{
    char *p = umem_alloc(1000000, UMEM_DEFAULT);

    p[1000000] = 1;
    umem_free(p, 1000000);
}

static void
test_misuse(void **state)
{
    (void)state;
    assert_dies(double_free, NULL, "invalid free: buffer not in cache");
    assert_dies(double_free, "audit", "duplicate free: buffer freed twice");
    assert_dies(inner_free, NULL, "bad free: free address");
    assert_dies(inner_free, "guards", "bad free: free address");
    assert_dies(overrun, "guards", "redzone violation: write past end of buffer");
}

static bool
all_are(const char *p, size_t size, char c)
{
    for (size_t i = 0; i < size; i++)
        if (p[i] != c)
            return false;
    return true;
}

/* Zeroes, from clean memory and from dirty, below and above what is written. */
static void
test_zero(void **state)
{
    (void)state;
    for (size_t size = UMEM_MAX_CLASS_SIZE + 1; size <= (size_t)40 << 20; size *= 3)
        for (int i = 0; i < 3; i++) {
            char *p = umem_large_zalloc(size, UMEM_DEFAULT);
            assert_true(all_are(p, size, 0));
            memset(p, 1, size);
            umem_large_free(p, size);
            if (i == 1)
                vmem_reap(&vmem_heap);
        }
    assert_true(vmem_verify(&vmem_heap));
}

/* A block that grows moves with its pages, its record and its place in the page map. */
static void
test_move(void **state)
{
    size_t size = (size_t)1 << 20, before = recorded();
    char *p = umem_alloc(size, UMEM_DEFAULT);

    (void)state;
    memset(p, 1, size);
    struct umem_large *large = pagemap_pointer(pagemap_get(p));
    assert_null(umem_large_move(large, size)); /* no need to */
    for (int i = 0; i < 12; i++) {
        size_t next = size + size / 4;
        errno = 4711;
        char *q = umem_move(p, next);
        assert_int_equal(errno, 4711);
        assert_non_null(q);
        assert_ptr_not_equal(q, p);
        assert_int_equal(pagemap_get(p), 0);
        assert_ptr_equal(pagemap_pointer(pagemap_get(q)), large);
        assert_true(all_are(q, size, 1));
        assert_true(all_are(q + size, next - size, 0));
        assert_true(usable_size(q) >= next + next / 10); /* room to grow, which it keeps */
        assert_true(umem_resize(q, next + next / 10));
        assert_true(umem_resize(q, next + next / 9));
        memset(q, 1, next);
        size = next;
        p = q;
        assert_int_equal(recorded(), before + 1);
        assert_true(umem_resize(p, size)); /* gives the room back */
    }
    assert_true(vmem_verify(&vmem_heap));
    assert_null(umem_move(p + UMEM_GRANULE, 2 * size)); /* no block starts there */
    umem_free(p, size);
    p = umem_alloc(UMEM_MAX_CLASS_SIZE + 1, UMEM_DEFAULT);
    assert_null(umem_move(p, 2 * size)); /* is cheaper to copy */
    umem_free(p, UMEM_MAX_CLASS_SIZE + 1);
    p = umem_alloc(100, UMEM_DEFAULT);
    assert_null(umem_move(p, 2 * size));
    umem_free(p, 100);
    assert_int_equal(recorded(), before);
    assert_true(vmem_verify(&vmem_heap));
}

struct race {
    void *block;
    pthread_barrier_t barrier;
};

static void *
free_it(void *arg)
{
    struct race *race = arg;

    pthread_barrier_wait(&race->barrier);
    umem_free(race->block, 1000000);
    return NULL;
}

static void
racing(void)
{
    struct race race = {umem_alloc(1000000, UMEM_DEFAULT), {{0}}};
    pthread_t threads[2];

    pthread_barrier_init(&race.barrier, NULL, 2);
    for (int i = 0; i < 2; i++)
        CHECK(pthread_create(&threads[i], NULL, free_it, &race) == 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
}

/* Of two frees at once one wins and the other is reported. */
static void
test_racing_frees(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++)
        assert_dies(racing, "audit", "duplicate free: buffer freed twice");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_misuse), cmocka_unit_test(test_racing_frees),
        cmocka_unit_test(test_record), cmocka_unit_test(test_aligned),
        cmocka_unit_test(test_resize), cmocka_unit_test(test_zero),
        cmocka_unit_test(test_move),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
