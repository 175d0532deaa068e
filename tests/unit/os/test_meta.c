/* SPDX-License-Identifier: MIT */
/*
 * test_meta.c - records come zeroed, aligned, apart, and are reused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/meta.h"

static bool
all(const char *p, size_t size, char value)
{
    for (size_t i = 0; i < size; i++)
        if (p[i] != value)
            return false;
    return true;
}

static void
test_sizes(void **state)
{
    enum { MANY = 300 };
    static char *block[MANY];
    static size_t size[MANY];

    (void)state;
    for (int i = 0; i < MANY; i++) {
        size[i] = i < 200 ? (size_t)i + 1 : (size_t)(i - 199) * 997;
        block[i] = umem_meta_alloc(size[i]);
        assert_non_null(block[i]);
        assert_int_equal((uintptr_t)block[i] % (size[i] >= 64 ? 64 : 16), 0);
        assert_true(all(block[i], size[i], 0));
        memset(block[i], i, size[i]);
    }
    for (int i = 0; i < MANY; i++)
        assert_true(all(block[i], size[i], (char)i));
    size_t mapped = umem_meta_mapped();
    for (int i = 0; i < MANY; i++)
        umem_meta_free(block[i], size[i]);
    for (int i = 0; i < MANY; i++) {
        block[i] = umem_meta_alloc(size[i]);
        assert_true(all(block[i], size[i], 0));
    }
    assert_int_equal(umem_meta_mapped(), mapped);
    umem_meta_free(NULL, 100);
}

/* Every block lies in a chunk of the list that the analyser reads. */
static void
test_chunks(void **state)
{
    (void)state;
    for (size_t size = 16; size <= 1 << 20; size *= 4) {
        char *block = umem_meta_alloc(size);
        bool found = false;
        size_t sum = 0;
        for (struct umem_meta_chunk *chunk = umem_meta_chunks; chunk != NULL;
             chunk = chunk->chunk_next) {
            found |= block > (char *)chunk && block + size <= (char *)chunk + chunk->chunk_size;
            sum += chunk->chunk_size;
        }
        assert_true(found);
        assert_int_equal(sum, umem_meta_mapped());
    }
}

/* Neighbours that are free become one block: what 1 KiB needed serves 2 to 32 KiB. */
static void
test_merging(void **state)
{
    enum { MANY = 2000 };
    static char *block[MANY];
    size_t mapped = 0;

    (void)state;
    for (size_t size = 1024; size <= 32768; size *= 2) {
        size_t n = MANY * (size_t)1024 / size;
        for (size_t i = 0; i < n; i++) {
            block[i] = umem_meta_alloc(size);
            assert_true(all(block[i], size, 0));
            memset(block[i], (int)i, size);
        }
        for (size_t i = 0; i < n; i++)
            assert_true(all(block[i], size, (char)i));
        for (size_t i = 0; i < n; i++) /* in another order: both neighbours, one, none are free */
            umem_meta_free(block[i * 7 % n], size);
        if (size == 1024)
            mapped = umem_meta_mapped();
    }
    assert_in_range(umem_meta_mapped(), mapped, mapped + mapped / 4);
}

/* Blocks of all sizes come and go at random, none over another. */
static void
test_random(void **state)
{
    enum { LIVE = 500, ROUNDS = 100000 };
    static struct {
        char *p;
        size_t size;
        char tag;
    } slot[LIVE];
    uint64_t x = 1;

    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        size_t at = (x >> 33) % LIVE;
        if (slot[at].p != NULL) {
            assert_true(all(slot[at].p, slot[at].size, slot[at].tag));
            umem_meta_free(slot[at].p, slot[at].size);
        }
        slot[at].size = 1 + (x >> 40) % ((size_t)1 << ((x >> 20) % 17));
        slot[at].tag = (char)i;
        slot[at].p = umem_meta_alloc(slot[at].size);
        assert_true(all(slot[at].p, slot[at].size, 0));
        memset(slot[at].p, i, slot[at].size);
    }
}

static void *
churn(void *arg)
{
    unsigned char tag = (unsigned char)(uintptr_t)arg;

    for (int i = 0; i < 20000; i++) {
        size_t size = 16 + (size_t)(i * 37 % 2000);
        unsigned char *p = umem_meta_alloc(size);
        if (p == NULL || p[0] != 0 || p[size - 1] != 0)
            return arg;
        memset(p, tag, size);
        if (p[size / 2] != tag)
            return arg;
        umem_meta_free(p, size);
    }
    return NULL;
}

static void
test_threads(void **state)
{
    pthread_t threads[4];
    void *bad;

    (void)state;
    for (uintptr_t i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, churn, (void *)(i + 1));
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], &bad);
        assert_null(bad);
    }
}

static void
test_no_memory(void **state)
{
    int status;

    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit limit = {0, 0};
        (void)umem_meta_give_back(); /* nothing is to be unmapped where nothing can be mapped */
        setrlimit(RLIMIT_AS, &limit);
        errno = 0;
        if (umem_meta_alloc((size_t)8 << 20) != NULL || errno != ENOMEM)
            _exit(1);
        void *p = NULL;
        for (int i = 0; i < 100000 && (p = umem_meta_alloc(4096)) != NULL; i++)
            ;
        _exit(p == NULL && errno == ENOMEM ? 0 : 2);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* What one size left is there for another, and the chain of chunks stays whole. */
static void
test_given_back(void **state)
{
    const size_t large = (size_t)256 << 10, kept_size = (size_t)64 << 10;
    (void)state;
    char *kept = umem_meta_alloc(kept_size);
    void *blocks[3];
    for (int i = 0; i < 3; i++)
        blocks[i] = umem_meta_alloc(large);
    (void)umem_meta_give_back(); /* what other tests left */
    size_t mapped = umem_meta_mapped(), sum = 0;
    assert_false(umem_meta_give_back());
    for (int i = 0; i < 3; i++)
        umem_meta_free(blocks[i], large);
    assert_int_equal(umem_meta_mapped(), mapped);
    assert_true(umem_meta_give_back());
    assert_true(umem_meta_mapped() <= mapped - 3 * large);
    for (struct umem_meta_chunk *chunk = umem_meta_chunks; chunk != NULL; chunk = chunk->chunk_next)
        sum += chunk->chunk_size;
    assert_int_equal(sum, umem_meta_mapped());
    memset(kept, 1, kept_size);
    umem_meta_free(kept, kept_size);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),      cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_merging),    cmocka_unit_test(test_random),
        cmocka_unit_test(test_threads),    cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_given_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
