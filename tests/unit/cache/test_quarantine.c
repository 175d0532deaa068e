/* SPDX-License-Identifier: MIT */
/*
 * test_quarantine.c - freed blocks wait, in order and within the bound; who
 * takes them back; threads, fork, and caches that go.
 */
#include "support.h"

#include "cache/quarantine.h"

#define BOUND "65536"
#define DEBUG "guards,quarantine=" BOUND

static umem_cache_t *
new_cache(const char *name, size_t size)
{
    return umem_cache_create(name, size, 0, NULL, NULL, NULL, NULL, NULL, 0);
}

/* Frees blocks of size until block is handed out again; how many bytes that took. */
static size_t
bytes_until_reuse(void *block, size_t size)
{
    size_t bytes = 0;

    umem_free(block, size);
    for (;;) {
        void *p = umem_alloc(size, UMEM_NOFAIL);
        if (p == block)
            return bytes;
        umem_free(p, size);
        bytes += size;
        CHECK(bytes < 10u * 65536);
    }
}

static void
reuse_is_late(void)
{
    CHECK(bytes_until_reuse(umem_alloc(100, UMEM_NOFAIL), 100) >= 65536 / 2);
    CHECK(bytes_until_reuse(umem_alloc(5000, UMEM_NOFAIL), 5000) >= 65536 / 4);
    CHECK(umem_quarantine_verify() && verify_caches());
}

static bool
all(const struct umem_cache *cp)
{
    return cp != NULL;
}

static void
counted(void)
{
    umem_cache_t *cp = new_cache("counted", 40);
    void *objs[10];

    CHECK(umem_quarantine_bytes(all) == 0);
    for (int i = 0; i < 10; i++)
        CHECK((objs[i] = umem_cache_alloc(cp, UMEM_DEFAULT)) != NULL);
    for (int i = 0; i < 10; i++)
        umem_cache_free(cp, objs[i]);
    size_t bytes = 10 * cp->cache_slabs.pool_chunk_size;
    CHECK(umem_quarantine_bytes(all) == bytes && umem_quarantine_bytes(umem_serves_free) == 0);
    umem_free(umem_alloc(100, UMEM_NOFAIL), 100);
    CHECK(umem_quarantine_bytes(all) > bytes && umem_quarantine_bytes(umem_serves_free) >= 100);
    umem_reap();
    CHECK(umem_quarantine_bytes(all) == 0);
}

static void
larger_than_the_bound(void)
{
    void *small = umem_alloc(100, UMEM_NOFAIL), *large = umem_alloc(200000, UMEM_NOFAIL);

    umem_free(small, 100);
    umem_free(large, 200000);
    CHECK(umem_quarantine_verify());
    CHECK(umem_alloc(200000, UMEM_NOFAIL) == large); /* did not wait */
    CHECK(umem_quarantine_empty());                  /* nor take another's place */
    CHECK(!umem_quarantine_empty());
}

static void
off(void)
{
    void *p = umem_alloc(100, UMEM_NOFAIL);

    umem_free(p, 100);
    CHECK(!umem_quarantine_empty() && umem_alloc(100, UMEM_NOFAIL) == p);
}

static void
oversize(void)
{
    char *p = umem_alloc(200000, UMEM_NOFAIL), *q = umem_alloc(200000, UMEM_NOFAIL);

    umem_free(p, 200000);
    CHECK((unsigned char)p[100000] == 0xef && (unsigned char)p[100001] == 0xbe);
    char *r = umem_alloc(200000, UMEM_NOFAIL);
    CHECK(r != p);
    CHECK(umem_quarantine_verify());
    umem_reap();
    umem_free(q, 200000);
    umem_free(r, 200000);
    CHECK(umem_quarantine_verify() && umem_quarantine_empty() && verify_caches());
}

static void
oversize_freed_twice(void)
{
    void *p = umem_alloc(200000, UMEM_NOFAIL);

    umem_free(p, 200000);
    umem_free(p, 200000);
}

static void
oversize_written(void)
{
    char *p = umem_alloc(200000, UMEM_NOFAIL);

    umem_free(p, 200000);
    p[199999] = 'A';
    umem_reap();
}

static void
written(void)
{
    char *p = umem_alloc(100, UMEM_NOFAIL);

    umem_free(p, 100);
    p[50] = 'A';
    umem_reap();
}

/* A corrupt object is said and left alone; the others go on. */
static void
written_noabort(void)
{
    char *p = umem_alloc(100, UMEM_NOFAIL), *q = umem_alloc(100, UMEM_NOFAIL);

    umem_free(p, 100);
    umem_free(q, 100);
    p[50] = 'A';
    umem_reap();
    for (int i = 0; i < 1000; i++)
        CHECK(umem_alloc(100, UMEM_NOFAIL) != p);
    CHECK(umem_quarantine_verify());
}

/* A destroyed cache takes its own back and leaves the others'. */
static void
cache_goes(void)
{
    umem_cache_t *cp = new_cache("goes", 40), *other = new_cache("stays", 40);
    void *objs[200];

    for (int i = 0; i < 200; i++)
        CHECK((objs[i] = umem_cache_alloc(i % 2 != 0 ? cp : other, UMEM_DEFAULT)) != NULL);
    for (int i = 0; i < 200; i++)
        umem_cache_free(i % 2 != 0 ? cp : other, objs[i]);
    CHECK(held(cp) == 100 && held(other) == 100);
    umem_quarantine_take_back(cp);
    CHECK(held(cp) == 0 && held(other) == 100 && umem_quarantine_verify());
    umem_cache_destroy(cp);
    umem_cache_destroy(other);
    CHECK(!umem_quarantine_empty() && umem_quarantine_verify() && verify_caches());
}

/* Objects that are to be ready do not wait. */
static void
ready_ones(void)
{
    umem_cache_t *pinned = new_cache("pinned", 40), *sealed = new_cache("sealed", 40);
    void *p = umem_cache_alloc(sealed, UMEM_DEFAULT);

    umem_cache_free(sealed, p);
    CHECK(umem_cache_seal(sealed) == 0);
    p = umem_cache_alloc(sealed, UMEM_DEFAULT);
    CHECK(p != NULL && umem_cache_breaches(sealed) == 0);
    umem_cache_free(sealed, p);
    CHECK(umem_cache_reserve(pinned, 10) == 0);
    p = umem_cache_alloc(pinned, UMEM_DEFAULT);
    umem_cache_free(pinned, p);
    CHECK(held(pinned) == 0 && !umem_quarantine_empty());
}

/* --- Threads --- */

enum { THREADS = 6, ROUNDS = 20000, HELD = 32 };
static _Atomic bool done;

static void *
work(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    struct {
        void *p;
        size_t size;
    } live[HELD] = {{NULL, 0}};

    for (int i = 0; i < ROUNDS; i++) {
        seed = seed * 1103515245 + 12345;
        size_t slot = seed >> 16 & (HELD - 1);
        if (live[slot].p != NULL)
            umem_free(live[slot].p, live[slot].size);
        live[slot].size = seed % 101 == 0 ? 140000 : seed % 2000 + 1;
        live[slot].p = umem_alloc(live[slot].size, UMEM_NOFAIL);
    }
    for (size_t slot = 0; slot < HELD; slot++)
        umem_free(live[slot].p, live[slot].size);
    return NULL;
}

/* Makes caches, fills the quarantine with their objects, and destroys them. */
static void *
make_and_destroy(void *arg)
{
    while (!atomic_load(&done)) {
        umem_cache_t *cp = new_cache("brief", 200);
        void *objs[20];
        for (int i = 0; i < 20; i++)
            CHECK((objs[i] = umem_cache_alloc(cp, UMEM_DEFAULT)) != NULL);
        for (int i = 0; i < 20; i++)
            umem_cache_free(cp, objs[i]);
        umem_cache_destroy(cp);
        umem_reap();
    }
    return arg;
}

static void
threads(void)
{
    pthread_t worker[THREADS], destroyer;

    CHECK(pthread_create(&destroyer, NULL, make_and_destroy, NULL) == 0);
    for (uintptr_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&worker[i], NULL, work, (void *)(i + 1)) == 0);
    for (int i = 0; i < 5; i++) {
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            void *p = umem_alloc(100, UMEM_NOFAIL);
            umem_free(p, 100);
            umem_cache_t *cp = new_cache("child", 40);
            umem_cache_free(cp, umem_cache_alloc(cp, UMEM_NOFAIL));
            umem_cache_destroy(cp);
            umem_reap();
            _exit(umem_quarantine_verify() ? 0 : 1);
        }
        int status;
        CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    }
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(worker[i], NULL) == 0);
    atomic_store(&done, true);
    CHECK(pthread_join(destroyer, NULL) == 0);
    CHECK(umem_quarantine_verify());
    umem_reap();
    CHECK(umem_quarantine_verify() && !umem_quarantine_empty() && verify_caches());
}

static void
test_waits(void **state)
{
    (void)state;
    assert_exits(reuse_is_late, DEBUG, 0);
    assert_exits(counted, DEBUG, 0);
    assert_exits(larger_than_the_bound, DEBUG, 0);
    assert_exits(off, "guards,quarantine=0", 0);
    assert_exits(off, "audit", 0);
    assert_exits(oversize, "guards", 0);
    assert_exits(oversize, "default", 0);
    assert_exits(ready_ones, "guards", 0);
}

static void
test_checks(void **state)
{
    (void)state;
    assert_dies(written, "guards", "buffer modified after being freed");
    assert_dies(oversize_written, "guards", "modification occurred at offset 0x30d3c");
    assert_dies(oversize_freed_twice, "guards", "duplicate free: buffer freed twice");
    assert_exits(written_noabort, "guards,noabort", 0);
}

static void
test_cache_goes(void **state)
{
    (void)state;
    assert_exits(cache_goes, "guards", 0);
}

static void
test_threads(void **state)
{
    (void)state;
    assert_exits(threads, "guards", 0);
    assert_exits(threads, "guards,quarantine=300k", 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waits),
        cmocka_unit_test(test_checks),
        cmocka_unit_test(test_cache_goes),
        cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
