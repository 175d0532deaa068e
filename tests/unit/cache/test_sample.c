/* SPDX-License-Identifier: MIT */
/*
 * test_sample.c - which allocations are sampled, how many live at once, and
 * that the others come from windows.
 */
#include "support.h"

#include "cache/firewall.h"

enum { EVERY = 50, TURNS = 100000 };

static bool
is_guarded(const void *p)
{
    return pagemap_kind(pagemap_get(p)) == UMEM_PAGEMAP_FIREWALL;
}

static void
sized(void)
{
    size_t guarded = 0;

    for (size_t i = 0; i < TURNS; i++) {
        size_t size = 1 + i % 700;
        char *p = umem_alloc(size, UMEM_DEFAULT);
        memset(p, 1, size);
        if (is_guarded(p)) {
            guarded++;
            CHECK(usable_size(p) == size);
        }
        umem_free(p, size);
    }
    CHECK(guarded > TURNS / EVERY * 8 / 10 && guarded < TURNS / EVERY * 12 / 10);
    CHECK(umem_firewall_verify() && umem_firewall_stats().fws_blocks == 0 && verify_caches());
    _exit(77);
}

static void
oversize(void)
{
    size_t guarded = 0;

    for (size_t i = 0; i < TURNS / 20; i++) {
        char *p = umem_alloc(200000, UMEM_DEFAULT);
        guarded += is_guarded(p);
        umem_free(p, 200000);
    }
    CHECK(guarded > TURNS / 20 / EVERY / 2 && guarded < TURNS / 20 / EVERY * 2);
    _exit(77);
}

/* umem_cache_free() would put them into a window without a look at them. */
static void
objects(void)
{
    umem_cache_t *cp = umem_cache_create("c", 64, 0, NULL, NULL, NULL, NULL, NULL, 0);

    for (size_t i = 0; i < TURNS; i++) {
        void *p = umem_cache_alloc(cp, UMEM_DEFAULT);
        CHECK(!is_guarded(p));
        umem_cache_free(cp, p);
    }
    umem_cache_destroy(cp);
    _exit(77);
}

static void
bounded(void)
{
    static void *held[20000];

    for (int turn = 0; turn < 2; turn++) {
        size_t guarded = 0;
        for (size_t i = 0; i < UMEM_ARRAY_SIZE(held); i++)
            guarded += is_guarded(held[i] = umem_alloc(64, UMEM_DEFAULT));
        CHECK(guarded == 4096 && umem_firewall_stats().fws_blocks == 4096);
        for (size_t i = 0; i < UMEM_ARRAY_SIZE(held); i++)
            umem_free(held[i], 64);
        CHECK(umem_firewall_stats().fws_blocks == 0);
    }
    _exit(77);
}

/* The window of a class is open, and nearly always has the next round. */
static void
windows(void)
{
    unsigned bin = umem_class_of(64) + 1, open = 0;

    for (size_t i = 0; i < TURNS; i++) {
        umem_free(umem_alloc(64, UMEM_DEFAULT), 64);
        const struct tbin *b = &tcache_self->tc_bin[bin];
        open += b->bin_loaded != NULL && b->bin_cur > b->bin_base && b->bin_credit > 0;
    }
    CHECK(umem_class_cache(bin - 1)->cache_bin == bin && open > TURNS * 9 / 10);
    _exit(77);
}

/* A destructor of the thread's that runs again when those of the library have run. */
static pthread_key_t late;

static void
check_late(void *round)
{
    static char rounds[2];

    if (round != &rounds[1]) {
        pthread_setspecific(late, &rounds[1]);
        return;
    }
    CHECK(!tcache_is_live(tcache_self));
    for (size_t i = 1; i < 1000; i++) {
        void *p = umem_alloc(i, UMEM_DEFAULT);
        CHECK(is_guarded(p));
        umem_free(p, i);
    }
}

/* With one in one: the first of the process, of each thread and of each size, however asked for. */
static void *
check_all(void *arg)
{
    (void)arg;
    for (size_t size = 1; size < 300000; size += size / 3 + 1) {
        char *blocks[] = {umem_alloc(size, UMEM_DEFAULT), umem_zalloc(size, UMEM_DEFAULT),
                          umem_alloc_align(size, 256, UMEM_DEFAULT)};
        for (size_t i = 0; i < UMEM_ARRAY_SIZE(blocks); i++) {
            CHECK(is_guarded(blocks[i]));
            umem_free(blocks[i], size);
        }
    }
    pthread_setspecific(late, &late);
    return NULL;
}

static void
all(void)
{
    pthread_t thread[3];

    pthread_key_create(&late, check_late);
    (void)check_all(NULL);
    for (int i = 0; i < 3; i++)
        pthread_create(&thread[i], NULL, check_all, NULL);
    for (int i = 0; i < 3; i++)
        pthread_join(thread[i], NULL);
    _exit(77);
}

static void *
churn(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < TURNS; i++)
        umem_free(umem_alloc(64, UMEM_DEFAULT), 64);
    return NULL;
}

static void
threads(void)
{
    pthread_t thread[4];

    for (int i = 0; i < 4; i++)
        pthread_create(&thread[i], NULL, churn, NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    size_t guarded = umem_firewall_stats().fws_quarantined;
    CHECK(guarded > 4 * TURNS / EVERY * 8 / 10 && guarded < 4 * TURNS / EVERY * 12 / 10);
    _exit(77);
}

/* As many while audit is on, when the windows are diverted: of what the twins would give. */
static void
audited(void)
{
    static const unsigned flags[] = {0, UMEM_AUDIT_GUARDS};

    for (size_t turn = 0; turn < UMEM_ARRAY_SIZE(flags); turn++) {
        struct umem_audit_spec spec = {.audit_flags = flags[turn]};
        CHECK(umem_audit_start(&spec) == 0);
        size_t guarded = 0;
        for (size_t i = 0; i < TURNS; i++) {
            size_t size = 1 + i % 700;
            char *p = umem_alloc(size, UMEM_DEFAULT);
            guarded += is_guarded(p);
            umem_free(p, size);
        }
        CHECK(umem_audit_stop() == 0);
        CHECK(guarded > TURNS / EVERY * 8 / 10 && guarded < TURNS / EVERY * 12 / 10);
    }
    sized(); /* and when it is off again */
}

static void
test_sampled(void **state)
{
    (void)state;
    assert_exits(all, "sample=1", 77);
    assert_exits(all, "sample=1,default", 77);
    assert_exits(all, "sample=1,mtbf=1000000000", 77);
    assert_exits(audited, "sample=50", 77);
    assert_exits(audited, "sample=50,audit", 77);
    assert_exits(sized, "sample=50", 77);
    assert_exits(sized, "sample=50,default", 77);
    assert_exits(oversize, "sample=50", 77);
    assert_exits(objects, "sample=50", 77);
    assert_exits(bounded, "sample=1", 77);
    assert_exits(windows, "sample=1000", 77);
    assert_exits(threads, "sample=50", 77);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sampled)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
