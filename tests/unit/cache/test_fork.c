/* SPDX-License-Identifier: MIT */
/*
 * test_fork.c - forks while other threads allocate: the child's engine is
 * whole, and what the other threads had cached is the child's.
 */
#include "support.h"

enum { THREADS = 4, FORKS = 100 };

static _Atomic bool stop;
static umem_cache_t *cache;

static void *
churn(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;

    while (!stop) {
        void *blocks[40];
        size_t sizes[40];
        for (int i = 0; i < 40; i++) {
            seed = seed * 1664525 + 1013904223;
            sizes[i] = (seed >> 16) % (i == 0 ? 400000 : 3000) + 1;
            blocks[i] = umem_alloc(sizes[i], UMEM_DEFAULT);
        }
        void *obj = umem_cache_alloc(cache, UMEM_DEFAULT);
        for (int i = 0; i < 40; i++)
            umem_free(blocks[i], sizes[i]);
        umem_cache_free(cache, obj);
        if (seed % 64 == 0)
            umem_reap();
    }
    return NULL;
}

static void
use_in_child(void)
{
    for (size_t size = 8; size < 500000; size = size * 3 / 2) {
        char *p = umem_alloc(size, UMEM_DEFAULT);
        CHECK(p != NULL);
        memset(p, 1, size);
        umem_free(p, size);
    }
    CHECK(verify_caches());
    size_t threads = 0;
    UMEM_LIST_FOR (node, &umem_tcaches)
        threads++;
    CHECK(threads == 1);
    umem_reap();
    umem_cache_t *cp = umem_cache_create("child's", 64, 0, NULL, NULL, NULL, NULL, NULL, 0);
    umem_cache_free(cp, umem_cache_alloc(cp, UMEM_DEFAULT));
    umem_cache_destroy(cp);
    _exit(0);
}

static void
storm(void)
{
    pthread_t threads[THREADS];
    int status;

    cache = umem_cache_create("storm", 72, 0, NULL, NULL, NULL, NULL, NULL, 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, churn, (void *)(uintptr_t)(i + 1)) == 0);
    for (int i = 0; i < FORKS; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            alarm(20);
            use_in_child();
        }
        CHECK(waitpid(pid, &status, 0) == pid);
        CHECK(status == 0);
    }
    stop = true;
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    CHECK(verify_caches());
    umem_reap();
    CHECK(held(cache) == 0);
}

static void
test_storm(void **state)
{
    (void)state;
    assert_exits(storm, NULL, 0);
}

static void
test_storm_debugged(void **state)
{
    (void)state;
    assert_exits(storm, "audit=8,guards,contents", 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_storm),
        cmocka_unit_test(test_storm_debugged),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
