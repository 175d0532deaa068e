/* SPDX-License-Identifier: MIT */
/*
 * test_twin.c - allocations come from the twin while it is active, blocks go
 * back where they came from, and the windows open again when all are back.
 */
#include "support.h"

#include "cache/audit.h"
#include "cache/twin.h"

enum { SIZE = 100, SOME = 500 };

static int constructed;

static int
construct(void *buf, void *private_data, int flags)
{
    (void)private_data;
    (void)flags;
    memset(buf, 0x5a, SIZE);
    constructed++;
    return 0;
}

static void
destruct(void *buf, void *private_data)
{
    (void)buf;
    (void)private_data;
    constructed--;
}

static struct umem_cache *
owner(const void *buf)
{
    return umem_cache_of_slab(pagemap_pointer(pagemap_get(buf)));
}

static unsigned
diverted(const struct umem_cache *cp)
{
    return cp->cache_depot.depot_diverted;
}

static void
test_objects(void **state)
{
    umem_cache_t *cp =
        umem_cache_create("twinned", SIZE, 0, construct, destruct, NULL, NULL, NULL, 0);
    void *before[SOME], *during[SOME];

    (void)state;
    for (int i = 0; i < SOME; i++)
        before[i] = umem_cache_alloc(cp, UMEM_DEFAULT);
    assert_int_equal(umem_audit_start(&(struct umem_audit_spec){.audit_cache = "twinned"}), 0);
    struct umem_cache *twin = umem_twin_first(cp);
    assert_string_equal(twin->cache_name, "twinned+audit");
    for (int i = 0; i < SOME; i++) {
        during[i] = umem_cache_alloc(cp, UMEM_DEFAULT);
        assert_ptr_equal(owner(during[i]), twin);
        assert_int_equal(*(unsigned char *)during[i], 0x5a);
    }
    /* In either state of the switch, and both ways round. */
    for (int i = 0; i < SOME / 2; i++) {
        umem_cache_free(cp, before[i]);
        umem_cache_free(cp, during[i]);
    }
    assert_int_equal(umem_audit_stop(), 0);
    assert_int_equal(diverted(cp), TCACHE_FREE_SIDE);
    void *after = umem_cache_alloc(cp, UMEM_DEFAULT);
    assert_ptr_equal(owner(after), cp);
    umem_cache_free(cp, after);
    for (int i = SOME / 2; i < SOME; i++) {
        umem_cache_free(cp, during[i]);
        umem_cache_free(cp, before[i]);
    }
    assert_int_equal(held(cp), 0);
    assert_int_equal(held(twin), 0);
    umem_reap();
    assert_int_equal(diverted(cp), 0);
    assert_int_equal(constructed, 0);
    assert_true(verify_caches());
    umem_cache_destroy(cp);
}

static void
test_size_classes(void **state)
{
    struct umem_cache *cp = umem_class_cache(umem_class_of(SIZE));
    void *before = umem_alloc(SIZE, UMEM_DEFAULT);

    (void)state;
    assert_int_equal(umem_audit_start(NULL), 0);
    void *during = umem_alloc(SIZE, UMEM_DEFAULT);
    struct umem_cache *twin = umem_twin_first(cp);
    assert_ptr_equal(owner(during), twin);
    assert_ptr_equal(owner(before), cp);
    assert_int_equal(diverted(cp), TCACHE_ALLOC_SIDE);
    assert_true(usable_size(during) >= SIZE);
    umem_free(before, SIZE);
    assert_int_equal(umem_audit_stop(), 0);
    assert_int_equal(diverted(cp), 0);
    void *after = umem_alloc(SIZE, UMEM_DEFAULT);
    assert_ptr_equal(owner(after), cp);
    umem_free(after, SIZE);
    umem_free(during, SIZE);
    assert_int_equal(held(twin), 0);
    /* The same twin the next time. */
    assert_int_equal(umem_audit_start(NULL), 0);
    during = umem_alloc(SIZE, UMEM_DEFAULT);
    assert_ptr_equal(owner(during), twin);
    umem_free(during, SIZE);
    assert_int_equal(umem_audit_stop(), 0);
    assert_true(verify_caches());
}

static void
free_twice(void)
{
    CHECK(umem_audit_start(NULL) == 0);
    void *buf = umem_alloc(SIZE, UMEM_DEFAULT);
    umem_free(buf, SIZE);
    umem_free(buf, SIZE);
}

static void
overrun(void)
{
    struct umem_audit_spec spec = {.audit_flags = UMEM_AUDIT_GUARDS};
    CHECK(umem_audit_start(&spec) == 0);
    char *buf = umem_alloc(SIZE, UMEM_DEFAULT);
    CHECK(umem_audit_stop() == 0);
    buf[SIZE] = 1;
    umem_free(buf, SIZE);
}

static void
wrong_size(void)
{
    CHECK(umem_audit_start(NULL) == 0);
    umem_free(umem_alloc(SIZE, UMEM_DEFAULT), SIZE - 1);
}

static void
test_misuse(void **state)
{
    (void)state;
    assert_dies(free_twice, NULL, "duplicate free: buffer freed twice");
    assert_dies(overrun, NULL, "redzone violation: write past end of buffer");
    assert_dies(wrong_size, NULL, "bad free: free size (99) != alloc size (100)");
}

static void
destroy_with_live_object(void)
{
    umem_cache_t *cp = umem_cache_create("alive", SIZE, 0, NULL, NULL, NULL, NULL, NULL, 0);
    CHECK(umem_audit_start(NULL) == 0);
    void *obj = umem_cache_alloc(cp, UMEM_DEFAULT);
    umem_cache_destroy(cp);
    umem_cache_free(cp, obj);
    CHECK(umem_audit_stop() == 0);
}

static void
test_destroy(void **state)
{
    char text[8192];

    (void)state;
    int status = in_child(destroy_with_live_object, NULL, text, sizeof(text));
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_non_null(strstr(text, "'alive+audit' not empty"));
    assert_non_null(strstr(text, "allocated by thread"));
}

static umem_cache_t *shared;
static _Atomic bool stopped;

/* Objects of either cache, freed in another order. */
static void *
churn(void *arg)
{
    void *mine[32] = {NULL};

    for (unsigned i = 0; !stopped; i = i * 5 + 3) {
        void **slot = &mine[i / 7 % 32];
        if (*slot != NULL)
            umem_cache_free(shared, *slot);
        *slot = umem_cache_alloc(shared, UMEM_NOFAIL);
        umem_free(umem_alloc(i % 2000 + 1, UMEM_NOFAIL), i % 2000 + 1);
    }
    for (int i = 0; i < 32; i++)
        if (mine[i] != NULL)
            umem_cache_free(shared, mine[i]);
    return arg;
}

static void
test_switching_while_busy(void **state)
{
    enum { THREADS = 3, SWITCHES = 100 };
    pthread_t thread[THREADS];

    (void)state;
    shared = umem_cache_create("shared", SIZE, 0, NULL, NULL, NULL, NULL, NULL, 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, churn, NULL), 0);
    for (int i = 0; i < SWITCHES; i++) {
        struct umem_audit_spec spec = {.audit_flags = i % 2 != 0 ? UMEM_AUDIT_GUARDS : 0};
        assert_int_equal(umem_audit_start(&spec), 0);
        os_sleep_ms(2);
        assert_int_equal(umem_audit_stop(), 0);
        if (i % 10 == 0)
            umem_reap();
        os_sleep_ms(1);
    }
    stopped = true;
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    umem_reap();
    assert_int_equal(diverted(shared), 0);
    assert_int_equal(held(shared), 0);
    assert_true(verify_caches());
    umem_cache_destroy(shared);
}

static void
test_seal(void **state)
{
    umem_cache_t *cp = umem_cache_create("sealed", SIZE, 0, NULL, NULL, NULL, NULL, NULL, 0);

    (void)state;
    assert_int_equal(umem_audit_start(NULL), 0);
    void *during = umem_cache_alloc(cp, UMEM_DEFAULT);
    assert_ptr_not_equal(owner(during), cp);
    assert_int_equal(umem_cache_reserve(cp, 10), 0);
    assert_int_equal(umem_cache_seal(cp), 0);
    void *sealed = umem_cache_alloc(cp, UMEM_DEFAULT);
    assert_ptr_equal(owner(sealed), cp);
    umem_cache_free(cp, during);
    umem_cache_free(cp, sealed);
    assert_int_equal(umem_cache_unseal(cp), 0);
    assert_int_equal(umem_audit_stop(), 0);
    umem_reap();
    assert_int_equal(diverted(cp), 0);
    umem_cache_destroy(cp);
}

int
main(void)
{
    /* Those first that need a fresh engine in a child. */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_misuse),  cmocka_unit_test(test_destroy),
        cmocka_unit_test(test_objects), cmocka_unit_test(test_size_classes),
        cmocka_unit_test(test_seal),    cmocka_unit_test(test_switching_while_busy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
