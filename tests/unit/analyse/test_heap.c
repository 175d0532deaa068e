/* SPDX-License-Identifier: MIT */
/*
 * test_heap.c - the model of the heap: ranges, regions, blocks and the index,
 * without a target.
 */
#include "heap/heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BASE ((addr_t)0x7f0000000000)

static struct heap *
empty_heap(void)
{
    struct heap *h = calloc(1, sizeof(*h));
    h->heap_caches = calloc(4, sizeof(*h->heap_caches));
    h->heap_cache_count = 4;
    return h;
}

static void
free_heap(struct heap *h)
{
    heap_close(h);
    free(h);
}

static struct region *
add(struct heap *h, addr_t base, uint64_t chunk, uint32_t blocks, uint32_t cache)
{
    struct region geometry = {.region_base = base,
                              .region_chunk = chunk,
                              .region_scan = chunk,
                              .region_blocks = blocks,
                              .region_cache = cache,
                              .region_kind = REGION_SLAB};
    return heap_add_region(h, &geometry);
}

static void
test_ranges_merge_and_find(void **state)
{
    struct ranges r = {0};
    (void)state;

    ranges_add(&r, 300, 400);
    ranges_add(&r, 100, 200);
    ranges_add(&r, 200, 250); /* touches */
    ranges_add(&r, 120, 130); /* inside */
    ranges_add(&r, 50, 50);   /* empty */
    ranges_sort(&r);
    assert_int_equal(r.count, 2);
    assert_int_equal(r.list[0].range_start, 100);
    assert_int_equal(r.list[0].range_end, 250);
    assert_int_equal(ranges_find(&r, 0), 0);
    assert_int_equal(ranges_find(&r, 249), 0);
    assert_int_equal(ranges_find(&r, 250), 1);
    assert_int_equal(ranges_find(&r, 400), 2);
    ranges_fini(&r);
}

static void
test_every_address_finds_its_block(void **state)
{
    static const uint64_t sizes[] = {8, 24, 112, 1000, 4096, 70000};
    struct heap *h = empty_heap();
    struct block b = {0, 0};
    (void)state;

    for (uint32_t i = 0; i < 6; i++)
        assert_non_null(add(h, BASE + i * 0x100000 + 64, sizes[i], 5 + i, 0));
    assert_int_equal(heap_seal(h), 0);
    for (uint32_t i = 0; i < 6; i++) {
        addr_t base = BASE + i * 0x100000 + 64;
        for (addr_t at = 0; at < sizes[i] * (5 + i); at++) {
            assert_true(heap_find(h, base + at, &b));
            assert_int_equal(b.block_index, at / sizes[i]);
            assert_int_equal(heap_block_addr(h, b), base + at / sizes[i] * sizes[i]);
            assert_true(heap_is_live(h, b));
        }
        assert_false(heap_find(h, base - 1, &b));
        assert_false(heap_find(h, base + sizes[i] * (5 + i), &b));
    }
    assert_false(heap_find(h, 0, &b));
    assert_false(heap_find(h, UINT64_MAX, &b));
    assert_int_equal(h->heap_problem_count, 0);
    free_heap(h);
}

/* Slabs of a page each: sixteen lie in one granule of the index. */
static void
test_many_regions_in_a_granule(void **state)
{
    struct heap *h = empty_heap();
    struct block b = {0, 0};
    (void)state;

    for (uint32_t i = 16; i-- > 0;)
        add(h, BASE + i * 4096 + 96, 400, 10, 0);
    heap_seal(h);
    for (uint32_t i = 0; i < 16; i++) {
        assert_true(heap_find(h, BASE + i * 4096 + 96 + 3999, &b));
        assert_int_equal(heap_block_addr(h, b), BASE + i * 4096 + 96 + 3600);
        assert_false(heap_find(h, BASE + i * 4096 + 4096, &b) && i == 15);
        assert_false(heap_find(h, BASE + i * 4096 + 95, &b));
    }
    free_heap(h);
}

/* A block number keeps its bit through a second sort. */
static void
test_bits_survive_sealing(void **state)
{
    struct heap *h = empty_heap();
    struct block b = {0, 0};
    (void)state;

    bit_clear(h->heap_live, add(h, BASE + 0x10000, 16, 100, 1)->region_first + 7);
    heap_seal(h);
    add(h, BASE, 32, 100, 2);
    heap_seal(h);
    assert_true(heap_find(h, BASE + 0x10000 + 7 * 16, &b));
    assert_false(heap_is_live(h, b));
    assert_true(heap_find(h, BASE + 0x10000 + 8 * 16, &b));
    assert_true(heap_is_live(h, b));
    heap_count(h);
    assert_int_equal(h->heap_caches[1].cache_inuse, 99);
    assert_int_equal(h->heap_caches[2].cache_inuse, 100);
    assert_int_equal(h->heap_live_buffers, 199);
    free_heap(h);
}

/* A quantum cache's block is made a slab of: the inner blocks are found there, the others stay. */
static void
test_slab_inside_a_block(void **state)
{
    struct heap *h = empty_heap();
    struct block b = {0, 0};
    (void)state;

    add(h, BASE, 4096, 8, 0);
    add(h, BASE + 2 * 4096, 64, 64, 1);
    add(h, BASE + 5 * 4096, 4096, 1, 2);
    heap_seal(h);
    assert_int_equal(h->heap_problem_count, 0);
    assert_true(heap_find(h, BASE + 4096 + 5, &b));
    assert_int_equal(h->heap_regions[b.block_region].region_cache, 0);
    assert_true(heap_find(h, BASE + 2 * 4096 + 65, &b));
    assert_int_equal(h->heap_regions[b.block_region].region_cache, 1);
    assert_int_equal(heap_block_addr(h, b), BASE + 2 * 4096 + 64);
    assert_true(heap_find(h, BASE + 5 * 4096, &b));
    assert_int_equal(h->heap_regions[b.block_region].region_cache, 2);
    assert_true(heap_find(h, BASE + 7 * 4096, &b));
    assert_int_equal(h->heap_regions[b.block_region].region_cache, 0);
    heap_count(h);
    assert_int_equal(h->heap_caches[0].cache_inuse, 6);
    free_heap(h);
}

/* Two slabs that overlap: damage, told once, one of them kept. */
static void
test_overlap_is_a_problem(void **state)
{
    struct heap *h = empty_heap();
    struct block b = {0, 0};
    (void)state;

    add(h, BASE, 100, 50, 0);
    add(h, BASE + 1050, 100, 50, 1);
    heap_seal(h);
    assert_int_equal(h->heap_problem_count, 1);
    assert_true(heap_find(h, BASE + 1100, &b));
    assert_int_equal(h->heap_regions[b.block_region].region_cache, 0);
    free_heap(h);
}

static void
test_impossible_regions_are_refused(void **state)
{
    struct heap *h = empty_heap();
    (void)state;

    assert_null(add(h, BASE, 0, 5, 0));
    assert_null(add(h, BASE, 8, 0, 0));
    assert_null(add(h, 0, 8, 8, 0));
    assert_null(add(h, UINT64_MAX - 100, 64, 4, 0));
    assert_null(add(h, BASE, UINT64_MAX / 2, 4, 0));
    assert_int_equal(h->heap_region_count, 0);
    free_heap(h);
}

/*
 * Blocks of terabytes, which a damaged record may tell of: an index of all their granules would
 * take gigabytes.  Their neighbours share the granules that they begin and end in.
 */
static void
test_huge_regions(void **state)
{
    const uint64_t huge = ((uint64_t)1 << 45) + 4096;
    struct heap *h = empty_heap();
    struct block b;
    (void)state;

    assert_non_null(add(h, BASE, 64, 8, 0));
    assert_non_null(add(h, BASE + 512, huge, 1, 0));
    assert_non_null(add(h, BASE + 512 + huge, 64, 8, 0));
    assert_int_equal(heap_seal(h), 0);
    assert_int_equal(h->heap_huge, 1);
    const struct {
        addr_t addr;
        uint32_t region;
    } wanted[] = {{BASE, 0},
                  {BASE + 511, 0},
                  {BASE + 512, 1},
                  {BASE + ((addr_t)1 << 20), 1},
                  {BASE + huge / 2, 1},
                  {BASE + 511 + huge, 1},
                  {BASE + 512 + huge, 2},
                  {BASE + 1023 + huge, 2}};
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        assert_true(heap_find(h, wanted[i].addr, &b));
        assert_int_equal(b.block_region, wanted[i].region);
    }
    assert_false(heap_find(h, BASE - 1, &b));
    assert_false(heap_find(h, BASE + 1024 + huge, &b));
    free_heap(h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranges_merge_and_find),
        cmocka_unit_test(test_every_address_finds_its_block),
        cmocka_unit_test(test_many_regions_in_a_granule),
        cmocka_unit_test(test_bits_survive_sealing),
        cmocka_unit_test(test_slab_inside_a_block),
        cmocka_unit_test(test_overlap_is_a_problem),
        cmocka_unit_test(test_impossible_regions_are_refused),
        cmocka_unit_test(test_huge_regions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
