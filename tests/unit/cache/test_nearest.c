/* SPDX-License-Identifier: MIT */
/*
 * test_nearest.c - the blocks next to an address that is none's, and what is
 * said of an access to it: asked without a fault.
 */
#include "support.h"

#include "cache/firewall.h"
#include "cache/nearest.h"

#define LARGE ((size_t)5000003)
#define SMALL ((size_t)100)

/* The first address behind the granule that p is in. */
static uintptr_t
behind(const void *p)
{
    return umem_align_down((uintptr_t)p, UMEM_GRANULE) + UMEM_GRANULE;
}

/* The last block of its slab that is live, or else that was; nothing lies behind the slab yet. */
static void
chunks(void)
{
    struct umem_nearest found;
    char *p = umem_alloc(SMALL, UMEM_DEFAULT), *q = umem_alloc(SMALL, UMEM_DEFAULT);
    char *last = p > q ? p : q, *first = p > q ? q : p;
    uintptr_t addr = behind(last) + 10;

    CHECK(pagemap_get((void *)addr) == 0);
    CHECK(umem_nearest_below(addr, &found) && found.near_buffer.buf_addr == last);
    CHECK(found.near_buffer.buf_space == SMALL && !found.near_guarded);
    CHECK(found.near_start <= (uintptr_t)first && found.near_end == behind(last));
    CHECK(umem_nearest_above(found.near_start - 1, &found));
    CHECK(found.near_buffer.buf_addr == first);
    umem_free(last, SMALL);
    CHECK(umem_nearest_below(addr, &found) && found.near_buffer.buf_addr == first);
    umem_free(first, SMALL);
    CHECK(umem_nearest_below(addr, &found) && found.near_buffer.buf_addr == last);
    _exit(42);
}

/* Without debugging only the slab's bitmap tells, which does not know of magazines. */
static void
chunks_without_states(void)
{
    struct umem_nearest found;
    char *p = umem_alloc(SMALL, UMEM_DEFAULT);

    CHECK(umem_nearest_below(behind(p), &found) && found.near_buffer.buf_bufctl == NULL);
    CHECK(found.near_buffer.buf_addr >= p && (uintptr_t)found.near_buffer.buf_addr < behind(p));
    _exit(42);
}

static void
large(void)
{
    struct umem_nearest found;
    char *p = umem_alloc(LARGE, UMEM_DEFAULT), *q = umem_alloc(LARGE, UMEM_DEFAULT);
    char *last = p > q ? p : q, *first = p > q ? q : p;

    CHECK(umem_nearest_below((uintptr_t)last + 3 * LARGE, &found));
    CHECK(found.near_buffer.buf_addr == last && found.near_buffer.buf_space == LARGE);
    CHECK(found.near_end >= (uintptr_t)last + LARGE);
    CHECK(found.near_end < (uintptr_t)last + LARGE + 2 * UMEM_GRANULE);
    CHECK(umem_nearest_above((uintptr_t)first - UMEM_GRANULE, &found));
    CHECK(found.near_buffer.buf_addr == first && found.near_start <= (uintptr_t)first);
    CHECK(umem_nearest_below((uintptr_t)last - UMEM_GRANULE, &found));
    CHECK(found.near_buffer.buf_addr == first);
    _exit(42);
}

/* In a span the last that was used, whether it is live or not. */
static void
guarded(void)
{
    struct umem_nearest found;
    size_t page = os_page_size();
    char *p = umem_alloc(64, UMEM_DEFAULT), *q = umem_alloc(64, UMEM_DEFAULT);
    uintptr_t addr = (uintptr_t)q + 64 + 10 * page;

    CHECK(umem_nearest_below(addr, &found) && found.near_guarded);
    CHECK(found.near_buffer.buf_addr == q && found.near_buffer.buf_space == 64);
    umem_free(q, 64);
    CHECK(umem_nearest_below(addr, &found) && found.near_buffer.buf_addr == q);
    CHECK(umem_nearest_above((uintptr_t)p - UMEM_GRANULE, &found));
    CHECK(found.near_buffer.buf_addr == p);
    _exit(42);
}

static void
empty(void)
{
    struct umem_nearest found;

    CHECK(!umem_nearest_below(UINTPTR_MAX, &found) && !umem_nearest_above(0, &found));
    _exit(42);
}

static void
test_found(void **state)
{
    (void)state;
    assert_exits(empty, NULL, 42);
    assert_exits(chunks, "audit", 42);
    assert_exits(chunks, "guards", 42);
    assert_exits(chunks_without_states, NULL, 42);
    assert_exits(large, NULL, 42);
    assert_exits(large, "default", 42);
    assert_exits(guarded, "firewall=1", 42);
}

/* --- Accesses --- */

static void
ask(uintptr_t addr, enum os_fault_cause cause, uintptr_t sp)
{
    umem_nearest_explain(&(struct os_fault){
        .fault_addr = addr, .fault_access = OS_ACCESS_READ, .fault_cause = cause, .fault_sp = sp});
}

static char *block;
static uintptr_t block_end; /* of its memory */

static void
allocate(void)
{
    struct umem_nearest found;

    block = umem_alloc(LARGE, UMEM_DEFAULT);
    CHECK(umem_nearest_below((uintptr_t)block + 3 * LARGE, &found));
    CHECK(found.near_buffer.buf_addr == block);
    block_end = found.near_end;
}

static void
past_end(void)
{
    allocate();
    ask(block_end + UMEM_GRANULE - 1, OS_FAULT_UNMAPPED, 0);
    abort();
}

static void
before_start(void)
{
    struct umem_nearest found;

    allocate();
    CHECK(umem_nearest_above((uintptr_t)block - 2 * UMEM_GRANULE, &found));
    ask(found.near_start - 1, OS_FAULT_UNMAPPED, found.near_start);
    abort();
}

static void
next_page(void)
{
    allocate();
    ask(block_end, OS_FAULT_PROTECTED, 0);
    abort();
}

static void
far(void)
{
    allocate();
    ask(block_end + UMEM_GRANULE, OS_FAULT_UNMAPPED, 0);
    abort();
}

/* A guard stands between: whatever was there, nobody ran off the guarded block. */
static void
behind_a_guard(void)
{
    char *p = umem_alloc(64, UMEM_DEFAULT);

    ask((uintptr_t)p + 64 + 3 * os_page_size(), OS_FAULT_UNMAPPED, 0);
    abort();
}

static void
nothing(void)
{
    allocate();
    ask(block_end + os_page_size(), OS_FAULT_PROTECTED, 0); /* somebody else's mapping */
    ask(block_end + 10, OS_FAULT_OTHER, 0);
    ask(block_end + 10, OS_FAULT_PROTECTED, block_end + 100); /* a stack's guard */
    ask(block_end + UMEM_GRANULE, OS_FAULT_UNMAPPED, block_end + UMEM_GRANULE); /* no guard */
    ask((uintptr_t)block, OS_FAULT_PROTECTED, 0);                               /* the program's */
    ask(8, OS_FAULT_UNMAPPED, 0); /* a NULL pointer: the heap is elsewhere */
    ask(UINTPTR_MAX, OS_FAULT_UNMAPPED, 0);
    abort();
}

static void
test_explained(void **state)
{
    char text[8192];

    (void)state;
    assert_dies(past_end, "audit", "umem allocator: read past end of buffer\n");
    assert_dies(past_end, "guards", "requested: 5000003 bytes\naddress 0x");
    assert_dies(before_start, "audit", "umem allocator: read before start of buffer\n");
    assert_dies(next_page, "audit", "umem allocator: read past end of buffer\n");
    assert_dies(far, "audit", "umem allocator: read near no known buffer\n");
    assert_dies(far, "audit", "\nthe nearest buffer below ends ");
    assert_dies(behind_a_guard, "firewall=1", "umem allocator: firewall: read near no known");
    (void)in_child(nothing, "audit", text, sizeof(text));
    assert_string_equal(text, "");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found),
        cmocka_unit_test(test_explained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
