/* SPDX-License-Identifier: MIT */
/*
 * test_object.c - objects: constructed once, kept constructed, given back
 * destructed; the same under debugging, where fills demand it otherwise;
 * memory that must not be touched is not.
 */
#include "support.h"

#include "cache/object_short.h"
#include "cache/quarantine.h"
#include "debug/pattern.h"

#include <sys/mman.h>

static int constructed, destructed, refuse;

static int
construct(void *buf, void *private_data, int flags)
{
    CHECK(private_data == &refuse);
    if (refuse && flags == UMEM_DEFAULT) {
        errno = EAGAIN;
        return -1;
    }
    constructed++;
    memset(buf, 'c', 100);
    return 0;
}

static void
destruct(void *buf, void *private_data)
{
    CHECK(private_data == &refuse && *(char *)buf == 'c');
    destructed++;
}

static umem_cache_t *
new_cache(void)
{
    umem_cache_t *cp =
        umem_cache_create("object", 100, 0, construct, destruct, NULL, &refuse, NULL, 0);

    CHECK(cp != NULL);
    return cp;
}

static void
constructed_once(void)
{
    umem_cache_t *cp = new_cache();
    char *objs[1000];

    for (int turn = 0; turn < 3; turn++) {
        for (int i = 0; i < 1000; i++) {
            objs[i] = umem_cache_alloc(cp, UMEM_DEFAULT);
            CHECK(objs[i][0] == 'c' && objs[i][99] == 'c');
        }
        CHECK(held(cp) == 1000);
        for (int i = 0; i < 1000; i++)
            umem_cache_free(cp, objs[i]);
        CHECK(held(cp) == 0 && constructed == 1000 && destructed == 0);
    }
    umem_reap();
    CHECK(destructed == 1000 && cp->cache_slabs.pool_slabs == 0);
    CHECK(verify_caches());
    umem_cache_destroy(cp);
}

/* Lower addresses go out first: pages are touched in order, as they are needed. */
static void
rising(void)
{
    umem_cache_t *cp = umem_cache_create("rising", 64, 0, NULL, NULL, NULL, NULL, NULL, 0);
    char *last = NULL;

    for (uint32_t i = 0; i < cp->cache_slabs.pool_chunks; i++) {
        char *obj = umem_cache_alloc(cp, UMEM_DEFAULT);
        CHECK(last == NULL || obj == last + 64);
        last = obj;
    }
    CHECK(held(cp) == cp->cache_slabs.pool_chunks);
}

/* A program that needs a few buffers of each size once ends with no page of them. */
static void
large_once(void)
{
    for (unsigned c = 0; c < UMEM_CLASS_COUNT; c++) {
        struct umem_cache *cp = umem_class_cache(c);
        for (int i = 0; i < 3; i++)
            umem_free(umem_alloc(umem_classes[c].class_size, UMEM_DEFAULT),
                      umem_classes[c].class_size);
        CHECK(held(cp) == 0);
        if (umem_classes[c].class_size >= 8192)
            CHECK(cp->cache_slabs.pool_allocated <= cp->cache_slabs.pool_chunks);
    }
    CHECK(verify_caches());
}

static void
constructor_fails(void)
{
    umem_cache_t *cp = new_cache();

    refuse = 1;
    errno = 0;
    CHECK(umem_cache_alloc(cp, UMEM_DEFAULT) == NULL && errno == EAGAIN);
    CHECK(cp->cache_slabs.pool_allocated == 0 || cp->cache_flags != 0);
    refuse = 0;
    void *obj = umem_cache_alloc(cp, UMEM_DEFAULT);
    CHECK(obj != NULL && constructed == 1);
    umem_cache_free(cp, obj);
    umem_cache_destroy(cp);
    CHECK(destructed == 1);
}

static void
constructed_each_time(void)
{
    umem_cache_t *cp = new_cache();

    for (int i = 1; i <= 10; i++) {
        char *obj = umem_cache_alloc(cp, UMEM_DEFAULT);
        CHECK(constructed == i && obj[0] == 'c' && obj[99] == 'c');
        umem_cache_free(cp, obj);
        CHECK(destructed == i);
    }
    umem_cache_destroy(cp);
    CHECK(destructed == 10);
}

/* Audit alone leaves free objects as they are: constructed. */
static void
audited(void)
{
    umem_cache_t *cp = new_cache();

    for (int i = 0; i < 10; i++)
        umem_cache_free(cp, umem_cache_alloc(cp, UMEM_DEFAULT));
    CHECK(constructed == 1 && destructed == 0);
    umem_cache_destroy(cp);
    CHECK(destructed == 1);
}

static void *
import_sealed(vmem_t *vmp, size_t size, int flag)
{
    (void)vmp;
    (void)flag;
    void *p = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static void
return_sealed(vmem_t *vmp, void *addr, size_t size)
{
    (void)vmp;
    munmap(addr, size);
}

/* Memory that nobody may touch goes through every path of a NOTOUCH cache. */
static void
untouched(void)
{
    size_t page = os_page_size();
    vmem_t *arena = vmem_create("sealed", NULL, 0, page, import_sealed, return_sealed, NULL, 0, 0);
    umem_cache_t *cp =
        umem_cache_create("sealed", 10 * page, page, NULL, NULL, NULL, NULL, arena, UMC_NOTOUCH);
    void *objs[300];

    CHECK(arena != NULL && cp != NULL);
    for (int turn = 0; turn < 2; turn++) {
        for (int i = 0; i < 300; i++)
            CHECK((objs[i] = umem_cache_alloc(cp, UMEM_DEFAULT)) != NULL);
        for (int i = 0; i < 300; i++)
            umem_cache_free(cp, objs[(i * 7) % 300]);
    }
    umem_reap();
    CHECK(verify_caches());
    CHECK(vmem_size(arena, VMEM_ALLOC) == 0);
    umem_cache_destroy(cp);
    vmem_destroy(arena);
}

static void
double_free(void)
{
    umem_cache_t *cp = new_cache();
    void *obj = umem_cache_alloc(cp, UMEM_DEFAULT);

    umem_cache_free(cp, obj);
    umem_cache_free(cp, obj);
}

static void
wrong_cache(void)
{
    umem_cache_t *cp = new_cache(), *other = new_cache();

    umem_cache_free(other, umem_cache_alloc(cp, UMEM_DEFAULT));
}

static void
inner(void)
{
    umem_cache_t *cp = new_cache();

    umem_cache_free(cp, (char *)umem_cache_alloc(cp, UMEM_DEFAULT) + 8);
}

/* Without debugging a second free is seen at the latest by the slab. */
static void
double_free_plain(void)
{
    umem_cache_t *cp = new_cache();
    void *obj = umem_cache_alloc(cp, UMEM_DEFAULT);

    umem_cache_free(cp, obj);
    umem_cache_free(cp, obj);
    umem_reap();
}

/* Transactions take room only where they are recorded. */
static void
sidecars(void)
{
    umem_cache_t *cp = new_cache();
    bool audit = (cp->cache_flags & UMF_AUDIT) != 0;

    CHECK(cp->cache_slabs.pool_sidecar == (audit ? 32 : cp->cache_flags != 0 ? 8 : 0));
    umem_cache_destroy(cp);
}

static void
errno_kept(void)
{
    umem_cache_t *cp = new_cache();
    void *objs[2000];

    for (int i = 0; i < 2000; i++)
        objs[i] = umem_cache_alloc(cp, UMEM_DEFAULT);
    errno = 12345;
    for (int i = 0; i < 2000; i++)
        umem_cache_free(cp, objs[i]);
    CHECK(errno == 12345);
}

static void
test_constructed_once(void **state)
{
    (void)state;
    assert_exits(constructed_once, NULL, 0);
    assert_exits(errno_kept, NULL, 0);
}

static void
test_from_slabs(void **state)
{
    (void)state;
    assert_exits(rising, NULL, 0);
    assert_exits(large_once, NULL, 0);
}

static void
test_constructor_fails(void **state)
{
    (void)state;
    assert_exits(constructor_fails, NULL, 0);
    assert_exits(constructor_fails, "audit=4,guards", 0);
}

static void
test_debugging(void **state)
{
    (void)state;
    assert_exits(constructed_each_time, "guards", 0);
    assert_exits(constructed_each_time, "audit=4,guards", 0);
    assert_exits(audited, "audit", 0);
    assert_exits(sidecars, NULL, 0);
    assert_exits(sidecars, "guards", 0);
    assert_exits(sidecars, "audit,guards", 0);
}

static void
test_untouched(void **state)
{
    (void)state;
    assert_exits(untouched, NULL, 0);
    assert_exits(untouched, "default", 0);
}

static void
test_misuse(void **state)
{
    (void)state;
    assert_dies(double_free, "guards", "duplicate free: buffer freed twice");
    assert_dies(double_free, "audit", "duplicate free: buffer freed twice");
    assert_dies(double_free_plain, NULL, "duplicate free: buffer freed twice");
    assert_dies(wrong_cache, "guards", "buffer freed to wrong cache");
    assert_dies(inner, "guards", "bad free: free address");
}

/* A source that keeps records in caches of its own, so many that thread caches must grow. */
enum { RECORD_CACHES = 2 * TCACHE_STATIC_BINS };
static umem_cache_t *record_cache[RECORD_CACHES];

static void *
source_alloc(vmem_t *source, size_t size, int vmflag)
{
    for (int i = 0; i < RECORD_CACHES; i++) {
        if (record_cache[i] == NULL)
            record_cache[i] = umem_cache_create("record", 64, 0, NULL, NULL, NULL, NULL, NULL, 0);
        CHECK(umem_cache_alloc(record_cache[i], UMEM_DEFAULT) != NULL);
    }
    return vmem_alloc(source, size, vmflag);
}

static void
source_allocates(void)
{
    vmem_t *heap = vmem_heap_arena(NULL, NULL);
    vmem_t *arena =
        vmem_create("arena", NULL, 0, 4096, source_alloc, vmem_free, heap, 0, VM_NOSLEEP);
    umem_cache_t *cp = umem_cache_create("object", 100, 0, NULL, NULL, NULL, NULL, arena, 0);
    void *objs[200];

    for (size_t i = 0; i < 200; i++) {
        CHECK((objs[i] = umem_cache_alloc(cp, UMEM_DEFAULT)) != NULL);
        CHECK(held(cp) == i + 1);
    }
    for (size_t i = 0; i < 200; i++)
        umem_cache_free(cp, objs[i]);
    (void)umem_quarantine_empty();
    CHECK(held(cp) == 0);
    CHECK(verify_caches());
}

static void
test_source_allocates(void **state)
{
    (void)state;
    assert_exits(source_allocates, NULL, 0);
    assert_exits(source_allocates, "guards", 0);
}

static struct slab *
slab_of(const void *buf)
{
    return pagemap_pointer(pagemap_get(buf));
}

/* A block that is as it should be, the others of its slab around it. */
static char *
middle_block(void)
{
    char *buf = NULL;

    for (int i = 0; i < 5; i++)
        CHECK((buf = umem_alloc_sized(100, UMEM_ALIGNED_16)) != NULL);
    CHECK(umem_cache_of_slab(slab_of(buf))->cache_short);
    return buf;
}

/* What is not as usual is left as it was found. */
static void
short_way_leaves_damage(void)
{
    char *buf = middle_block();
    struct slab *slab = slab_of(buf);
    struct umem_cache *cp = umem_cache_of_slab(slab);
    struct umem_buffer found;
    const ptrdiff_t places[] = {100, 111, 112, 127, -1, -16};

    CHECK(umem_cache_describe(cp, buf, &found));
    for (size_t i = 0; i < UMEM_ARRAY_SIZE(places); i++) {
        buf[places[i]] ^= 1;
        CHECK(!umem_short_free(cp, slab, buf, SIZE_MAX, NULL));
        buf[places[i]] ^= 1;
        CHECK(found.buf_bufctl->bc_state == UMEM_BUFFER_ALLOCATED);
    }
    CHECK(!umem_short_free(cp, slab, buf, 99, NULL));
    CHECK(!umem_short_free(cp, slab, buf + 1, SIZE_MAX, NULL));
    memset(buf, 'x', 100);
    CHECK(!umem_short_leave(cp, buf, found.buf_bufctl));
    CHECK(umem_short_free(cp, slab, buf, 100, NULL));
    CHECK(!umem_short_free(cp, slab, buf, 100, NULL));
    for (size_t i = 0; i < cp->cache_slabs.pool_chunk_size; i++) {
        buf[i] ^= 1;
        CHECK(!umem_short_leave(cp, buf, found.buf_bufctl));
        buf[i] ^= 1;
    }
    CHECK(umem_quarantine_empty() && verify_caches());
}

/* A block of before is handed out by the short way, if it was not damaged. */
static void
short_way_takes_sound_ones(void)
{
    char *buf = middle_block();

    umem_free(buf, 100);
    (void)umem_quarantine_empty();
    errno = ERANGE;
    CHECK(umem_alloc_sized(97, UMEM_ALIGNED_16) == buf && errno == ERANGE);
    CHECK(umem_load_word(buf + 88) == UMEM_UNINITIALIZED_WORD && usable_size(buf) == 97);
    CHECK((unsigned char)buf[97] == UMEM_SLACK_BYTE(buf + 97));
    umem_free(buf, 97);
    (void)umem_quarantine_empty();
    buf[17]++;
    (void)umem_alloc_sized(97, UMEM_ALIGNED_16);
}

/* Settings under which every operation has to be seen by the long way. */
static void
long_way_only(void)
{
    for (int i = 0; i < 100; i++)
        umem_free(umem_alloc(100, UMEM_NOFAIL), 100);
    for (unsigned c = 0; c < UMEM_CLASS_COUNT; c++)
        CHECK(!umem_class_cache(c)->cache_short);
    CHECK(!new_cache()->cache_short);
}

static void
test_short_way(void **state)
{
    const char *settings[] = {NULL,         "lite",           "sample=9,guards",
                              "firewall=1", "nosignal,audit", "fail=1000000,guards"};

    (void)state;
    assert_exits(short_way_leaves_damage, "guards", 0);
    assert_exits(short_way_leaves_damage, "default", 0);
    assert_dies(short_way_takes_sound_ones, "guards", "modified after being freed");
    assert_dies(short_way_takes_sound_ones, "default", "offset 0x10");
    for (size_t i = 0; i < UMEM_ARRAY_SIZE(settings); i++)
        assert_exits(long_way_only, settings[i], 0);
}

static int reclaimed;

static void
reclaim(void *unused)
{
    (void)unused;
    reclaimed++;
}

/* Each reason to see every allocation, and its end. */
static void
watched(void)
{
    umem_cache_t *cp = umem_cache_create("object", 100, 0, NULL, NULL, reclaim, NULL, NULL, 0);
    struct umem_audit_spec other = {.audit_cache = "umem_alloc_64"};
    bool debugged = umem_options.opt_flags != 0;

    CHECK((umem_cache_watched(cp) != 0) == debugged);
    if (debugged)
        return;
    umem_setmtbf(1);
    CHECK(umem_cache_watched(cp) != 0);
    umem_setmtbf(0);
    CHECK(umem_cache_seal(cp) == 0 && umem_cache_watched(cp) != 0);
    CHECK(umem_cache_unseal(cp) == 0 && umem_cache_watched(cp) == 0);
    CHECK(umem_audit_start(NULL) == 0 && umem_cache_watched(cp) != 0 && reclaimed == 1);
    CHECK(umem_audit_stop() == 0 && umem_cache_watched(cp) == 0);
    CHECK(umem_audit_start(&other) == 0 && umem_cache_watched(cp) == 0 && reclaimed == 1);
    CHECK(umem_audit_stop() == 0);
    cp = umem_cache_create("object", 100, 0, NULL, NULL, NULL, NULL, NULL, UMC_NOMAGAZINE);
    CHECK(umem_cache_watched(cp) != 0);
}

static void
test_watched(void **state)
{
    (void)state;
    assert_exits(watched, NULL, 0);
    assert_exits(watched, "audit", 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_constructed_once),  cmocka_unit_test(test_from_slabs),
        cmocka_unit_test(test_constructor_fails), cmocka_unit_test(test_debugging),
        cmocka_unit_test(test_untouched),         cmocka_unit_test(test_misuse),
        cmocka_unit_test(test_source_allocates),  cmocka_unit_test(test_short_way),
        cmocka_unit_test(test_watched),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
