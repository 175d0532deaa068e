/* SPDX-License-Identifier: MIT */
/*
 * test_firewall.c - which blocks are guarded, where they lie, what is checked
 * when they are freed.  Each case runs in a child, whose engine reads the option.
 */
#include "support.h"

#include <umem.h>

#include "cache/firewall.h"

static bool
is_guarded(const void *p)
{
    return pagemap_kind(pagemap_get(p)) == UMEM_PAGEMAP_FIREWALL;
}

/* Whether the page that holds p can be read. */
static bool
is_readable(const char *p)
{
    int pair[2];
    CHECK(pipe(pair) == 0);
    bool readable = write(pair[1], p, 1) == 1;
    close(pair[0]);
    close(pair[1]);
    return readable;
}

static char *
page_after(const char *p, size_t size)
{
    return (char *)umem_align_up((uintptr_t)p + size, os_page_size());
}

static void
sizes(void)
{
    static const size_t size[] = {100,  101,    112,    128,    1000,   4096,
                                  5000, 100000, 131072, 131073, 5000000};

    CHECK(!is_guarded(umem_alloc(99, UMEM_DEFAULT)) && !is_guarded(umem_alloc(8, UMEM_DEFAULT)));
    for (unsigned i = 0; i < UMEM_ARRAY_SIZE(size); i++) {
        char *p = umem_alloc(size[i], UMEM_DEFAULT);
        CHECK(is_guarded(p) && usable_size(p) == size[i]);
        CHECK((uintptr_t)p % (size[i] % 4096 == 0 ? 4096 : size[i] % 64 == 0 ? 64 : 16) == 0);
        size_t slack = (size_t)(page_after(p, size[i]) - (p + size[i]));
        CHECK(slack < 16);
        CHECK(is_readable(p + size[i] + slack - 1) && !is_readable(p + size[i] + slack));
        memset(p, 1, size[i]);
        umem_free(p, size[i]);
        CHECK(!is_readable(p) && !is_readable(p + size[i] - 1) && usable_size(p) == 0);
    }
    CHECK(umem_firewall_stats().fws_blocks == 0 && umem_firewall_stats().fws_bytes == 0);
    CHECK(umem_firewall_stats().fws_quarantined == UMEM_ARRAY_SIZE(size));
    CHECK(umem_firewall_verify() && verify_caches());
    _exit(77);
}

static void
alignments(void)
{
    for (size_t align = 8; align <= (size_t)1 << 20; align *= 2)
        for (size_t size = 1; size < 300000; size = size * 3 + 1) {
            char *p = umem_alloc_align(size, align, UMEM_DEFAULT);
            CHECK(is_guarded(p) && (uintptr_t)p % align == 0);
            CHECK(!is_readable(page_after(p, size)) && is_readable(p + size - 1));
            CHECK((size_t)(page_after(p, size) - (p + size)) < umem_max(align, 16));
            umem_free_align(p, size);
        }
    CHECK(umem_firewall_verify());
    _exit(77);
}

static void
below(void)
{
    for (size_t size = 64; size < 1000000; size = size * 3 + 1) {
        char *p = umem_alloc(size, UMEM_DEFAULT);
        CHECK(is_guarded(p) && (uintptr_t)p % os_page_size() == 0 && !is_readable(p - 1));
        umem_free(p, size);
    }
    _exit(77);
}

static void
zeroed(void)
{
    char *p = umem_zalloc(300000, UMEM_DEFAULT), *q = umem_alloc(64, UMEM_DEFAULT);

    for (size_t i = 0; i < 300000; i++)
        CHECK(p[i] == 0);
    CHECK(*(uint32_t *)(void *)q == UMEM_UNINITIALIZED_PATTERN);
    umem_free(p, 300000);
    _exit(77);
}

static int made, unmade;

static int
make(void *p, void *arg, int flags)
{
    (void)flags;
    *(void **)p = arg;
    return arg != NULL && ++made >= 3 ? -1 : 0;
}

static void
unmake(void *p, void *arg)
{
    CHECK(*(void **)p == arg);
    unmade++;
}

static void
objects(void)
{
    int private;
    umem_cache_t *cp = umem_cache_create("c", 75, 0, make, unmake, NULL, &private, NULL, 0);
    char *p = umem_cache_alloc(cp, UMEM_DEFAULT), *q = umem_cache_alloc(cp, UMEM_DEFAULT);

    CHECK(is_guarded(p) && is_guarded(q) && made == 2);
    errno = 0;
    CHECK(umem_cache_alloc(cp, UMEM_DEFAULT) == NULL && made >= 3 && errno == ENOMEM);
    umem_cache_free(cp, p);
    CHECK(unmade == 1 && !is_readable(p));
    umem_cache_free(cp, q);
    umem_cache_destroy(cp);
    static const int apart[] = {UMC_NOTOUCH, UMC_NODEBUG, UMC_NOHASH};
    for (unsigned i = 0; i < UMEM_ARRAY_SIZE(apart); i++) {
        cp = umem_cache_create("apart", 75, 0, NULL, NULL, NULL, NULL, NULL, apart[i]);
        CHECK(!is_guarded(p = umem_cache_alloc(cp, UMEM_DEFAULT)));
        umem_cache_free(cp, p);
        umem_cache_destroy(cp);
    }
    _exit(77);
}

static void
destroyed(void)
{
    umem_cache_t *cp = umem_cache_create("doomed", 75, 0, NULL, NULL, NULL, NULL, NULL, 0);

    umem_cache_free(cp, umem_cache_alloc(cp, UMEM_DEFAULT));
    (void)!umem_cache_alloc(cp, UMEM_DEFAULT);
    umem_cache_destroy(cp);
    abort();
}

static void
slack_written(void)
{
    char *p = umem_alloc(101, UMEM_DEFAULT);
    p[101 + 10] = 1;
    umem_free(p, 101);
}

static void
head_written(void)
{
    char *p = umem_alloc(101, UMEM_DEFAULT);
    p[-20] = p[-33] = 1;
    umem_free(p, 101);
}

static void
freed_twice(void)
{
    void *p = umem_alloc(101, UMEM_DEFAULT);
    umem_free(p, 101);
    for (int i = 0; i < 1000; i++)
        umem_free(umem_alloc(101, UMEM_DEFAULT), 101);
    umem_free(p, 101);
}

static void
freed_inside(void)
{
    umem_free((char *)umem_alloc(500000, UMEM_DEFAULT) + 8, SIZE_MAX);
}

static void
freed_guard(void)
{
    umem_free((char *)umem_alloc(4096, UMEM_DEFAULT) + 4096, SIZE_MAX);
}

static void
freed_with_size(void)
{
    umem_free(umem_alloc(101, UMEM_DEFAULT), 102);
}

static void
freed_to_cache(void)
{
    umem_cache_t *cp = umem_cache_create("anvils", 75, 0, NULL, NULL, NULL, NULL, NULL, 0);
    umem_cache_free(cp, umem_alloc(101, UMEM_DEFAULT));
}

static void
object_freed(void)
{
    umem_cache_t *cp = umem_cache_create("anvils", 75, 0, NULL, NULL, NULL, NULL, NULL, 0);
    umem_free(umem_cache_alloc(cp, UMEM_DEFAULT), 75);
}

static void
test_placed(void **state)
{
    (void)state;
    assert_exits(sizes, "firewall=100", 77);
    assert_exits(sizes, "firewall=100,audit=64,guards,contents", 77);
    assert_exits(alignments, "firewall=1", 77);
    assert_exits(below, "firewall=below:64", 77);
    assert_exits(zeroed, "firewall=64,guards", 77);
}

static void
test_objects(void **state)
{
    (void)state;
    assert_exits(objects, "firewall=75", 77);
    assert_exits(objects, "firewall=1,default", 77);
    assert_dies(destroyed, "firewall=1", "cache 'doomed' not empty: 1 objects");
}

static void
test_misuse(void **state)
{
    (void)state;
    assert_dies(slack_written, "firewall=64", "byte at offset 0x6f is 0x01, should be 0xb");
    assert_dies(head_written, "firewall=64", "redzone violation: write before start of buffer");
    assert_dies(head_written, "firewall=64", "byte at offset -0x14 is 0x01, should be 0x00");
    assert_dies(freed_twice, "firewall=64", "duplicate free: buffer freed twice");
    assert_dies(freed_inside, "firewall=64", "bad free: free address");
    assert_dies(freed_guard, "firewall=64", "invalid free: buffer not in cache");
    assert_dies(freed_with_size, "firewall=64", "bad free: free size (102) != alloc size (101)");
    assert_dies(freed_to_cache, "firewall=64", "buffer freed to wrong cache");
    assert_dies(object_freed, "firewall=64", "buffer freed to wrong cache");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_placed),
        cmocka_unit_test(test_objects),
        cmocka_unit_test(test_misuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
