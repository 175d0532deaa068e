/* SPDX-License-Identifier: MIT */
/*
 * test_audit.c - what umem_audit_start() records and what it leaves out, its
 * errors, its cap, and what a child of a fork has of it.
 */
#include "support.h"

#include "cache/audit.h"
#include "cache/twin.h"
#include "debug/ring.h"

#define KIB ((size_t)1024)

/* Whether the allocation of a block is on record. */
static bool
is_recorded(void *buf)
{
    uint64_t word = pagemap_get(buf);
    struct umem_buffer found;

    if (pagemap_kind(word) == UMEM_PAGEMAP_LARGE)
        return ((struct umem_large *)pagemap_pointer(word))->large_bufctl.bc_last.txn_stack != 0;
    return umem_cache_describe(umem_cache_of_slab(pagemap_pointer(word)), buf, &found) &&
           found.buf_bufctl != NULL && found.buf_bufctl->bc_last.txn_stack != 0;
}

static bool
records(size_t size)
{
    void *buf = umem_alloc(size, UMEM_NOFAIL);
    bool recorded = is_recorded(buf);

    umem_free(buf, size);
    return recorded;
}

static bool
is_refused(const struct umem_audit_spec *spec, int error)
{
    errno = 0;
    return umem_audit_start(spec) == -1 && errno == error;
}

static void
start(struct umem_audit_spec spec)
{
    assert_int_equal(umem_audit_start(&spec), 0);
}

static void
stop(void)
{
    assert_int_equal(umem_audit_stop(), 0);
    assert_false(records(40) || records(1000) || records(200 * KIB));
}

static void
test_errors(void **state)
{
    (void)state;
    errno = 0;
    assert_true(umem_audit_stop() == -1 && errno == EALREADY);
    assert_true(is_refused(&(struct umem_audit_spec){.audit_frames = 256}, EINVAL));
    assert_true(is_refused(&(struct umem_audit_spec){.audit_flags = 2}, EINVAL));
    assert_true(
        is_refused(&(struct umem_audit_spec){.audit_size_min = 9, .audit_size_max = 8}, EINVAL));
    assert_true(is_refused(&(struct umem_audit_spec){.audit_thread_count = 1}, EINVAL));
    assert_true(is_refused(&(struct umem_audit_spec){.audit_cache = "no such"}, ENOENT));
    errno = EXDEV;
    start((struct umem_audit_spec){.audit_frames = 3});
    assert_true(is_refused(NULL, EALREADY));
    struct umem_audit_status status;
    umem_audit_status(&status);
    assert_true(status.audit_on && !status.audit_cap_met && status.audit_frames == 3);
    stop();
    umem_audit_status(&status);
    assert_true(!status.audit_on && status.audit_frames == UMEM_AUDIT_FRAMES_DEFAULT);
}

static void
test_all(void **state)
{
    (void)state;
    assert_int_equal(umem_audit_start(NULL), 0);
    for (size_t size = 1; size < 300 * KIB; size += size / 3 + 1)
        assert_true(records(size));
    void *aligned = umem_alloc_align(100, 256 * KIB, UMEM_NOFAIL);
    assert_true(is_recorded(aligned));
    umem_free_align(aligned, 100);
    stop();
}

static void
test_by_cache(void **state)
{
    (void)state;
    start((struct umem_audit_spec){.audit_cache = "umem_alloc_48"});
    assert_true(records(40) && !records(50) && !records(30) && !records(200 * KIB));
    stop();
    start((struct umem_audit_spec){.audit_cache = "umem_oversize"});
    assert_true(!records(40) && records(200 * KIB));
    stop();
    /* A cache that comes later. */
    assert_int_equal(umem_audit_start(NULL), 0);
    umem_cache_t *late = umem_cache_create("late", 70, 0, NULL, NULL, NULL, NULL, NULL, 0);
    void *obj = umem_cache_alloc(late, UMEM_DEFAULT);
    assert_true(is_recorded(obj));
    umem_cache_t *bare =
        umem_cache_create("bare", 70, 0, NULL, NULL, NULL, NULL, NULL, UMC_NODEBUG);
    void *left_out = umem_cache_alloc(bare, UMEM_DEFAULT);
    assert_false(is_recorded(left_out));
    umem_cache_free(bare, left_out);
    umem_cache_free(late, obj);
    umem_cache_destroy(bare);
    umem_cache_destroy(late);
    stop();
}

static void
test_by_size(void **state)
{
    (void)state;
    start((struct umem_audit_spec){.audit_size_min = 100, .audit_size_max = 120});
    assert_true(!records(99) && records(100) && records(112) && records(113) && records(120));
    assert_true(!records(121) && !records(40) && !records(1000) && !records(200 * KIB));
    assert_int_equal(umem_class_cache(umem_class_of(1000))->cache_depot.depot_diverted, 0);
    stop();
    start((struct umem_audit_spec){.audit_size_max = 8});
    assert_true(records(1) && records(8) && !records(9));
    stop();
    start((struct umem_audit_spec){.audit_size_min = 200 * KIB});
    assert_true(!records(1000) && !records(199 * KIB) && records(200 * KIB) && records(900 * KIB));
    stop();
}

static void *
record_there(void *arg)
{
    int *ids = arg;
    bool before = records(64) && records(64);

    ids[1] = (int)os_thread_id();
    ids[2] = before;
    return NULL;
}

static void
test_by_thread(void **state)
{
    int ids[3] = {(int)os_thread_id()};
    pthread_t thread;

    (void)state;
    start((struct umem_audit_spec){.audit_threads = ids, .audit_thread_count = 1});
    assert_int_equal(pthread_create(&thread, NULL, record_there, ids), 0);
    pthread_join(thread, NULL);
    assert_true(records(64) && records(200 * KIB) && !ids[2]);
    stop();
    start((struct umem_audit_spec){.audit_threads = ids + 1, .audit_thread_count = 1});
    assert_true(!records(64) && !records(64) && !records(200 * KIB));
    stop();
}

static void
test_cap(void **state)
{
    struct umem_audit_status status;
    void *held[300];

    (void)state;
    umem_reap();
    umem_audit_status(&status);
    start((struct umem_audit_spec){.audit_size_min = 1000,
                                   .audit_size_max = 1000,
                                   .audit_cap = status.audit_record_bytes + 8 * KIB});
    for (int i = 0; i < 300; i++)
        held[i] = umem_alloc(1000, UMEM_NOFAIL);
    /* The records of two slabs fit, of some 60 blocks each; the third meets the cap. */
    assert_true(is_recorded(held[0]) && is_recorded(held[100]) && !is_recorded(held[199]));
    for (int i = 0; i < 300; i++)
        umem_free(held[i], 1000);
    stop();
}

static void
meet_cap(void)
{
    struct umem_audit_status status;
    struct umem_cache *cp = umem_class_cache(umem_class_of(1000));

    CHECK(umem_audit_start(&(struct umem_audit_spec){.audit_cap = 1}) == 0);
    CHECK(records(1000)); /* there were no records at all before */
    CHECK(!records(1000) && !records(500) && !records(200 * KIB));
    umem_audit_status(&status);
    CHECK(status.audit_on && status.audit_cap_met && status.audit_cap == 1);
    CHECK(status.audit_record_bytes > 1);
    CHECK(strstr(umem_ring.ring_text, "audit: the cap of 1 bytes of records is met") != NULL);
    CHECK(cp->cache_depot.depot_diverted == TCACHE_ALLOC_SIDE);
    umem_reap();
    CHECK(cp->cache_depot.depot_diverted == 0);
    CHECK(umem_audit_start(NULL) == -1 && errno == EALREADY);
    CHECK(umem_audit_stop() == 0);
}

static void
test_cap_is_met(void **state)
{
    (void)state;
    assert_exits(meet_cap, NULL, 0);
}

static void
in_the_child(void)
{
    CHECK(records(64));
    CHECK(umem_audit_stop() == 0 && !records(64));
}

static void
test_fork(void **state)
{
    int self = (int)os_thread_id();

    (void)state;
    start((struct umem_audit_spec){.audit_threads = &self, .audit_thread_count = 1});
    assert_exits(in_the_child, NULL, 0);
    assert_true(records(64));
    stop();
}

static void
with_debugging(void)
{
    CHECK(records(64));
    CHECK(umem_audit_start(&(struct umem_audit_spec){.audit_frames = 2}) == 0 && records(64));
    CHECK(umem_audit_stop() == 0 && records(64) && records(200 * KIB));
}

static void
with_guards(void)
{
    CHECK(!records(64));
    CHECK(umem_audit_start(NULL) == 0 && records(64) && records(200 * KIB));
    CHECK(umem_audit_stop() == 0 && !records(64));
}

static void
test_under_umem_debug(void **state)
{
    (void)state;
    assert_exits(with_debugging, "audit", 0);
    assert_exits(with_guards, "guards", 0);
}

int
main(void)
{
    /* Those first that need a fresh engine in a child. */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_under_umem_debug),
        cmocka_unit_test(test_cap_is_met),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_all),
        cmocka_unit_test(test_by_cache),
        cmocka_unit_test(test_by_size),
        cmocka_unit_test(test_by_thread),
        cmocka_unit_test(test_cap),
        cmocka_unit_test(test_fork),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
