/* SPDX-License-Identifier: MIT */
/*
 * test_graph.c - direct and indirect leaks, against a closure computed the
 * slow way on random graphs; and marking, which stops at what is not live.
 */
#include "leaks/leaks.h"
#include "leaks/mark.h"
#include "target/target_impl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BASE ((addr_t)0x7f1234500000)
#define CHUNK 64
#define WORDS (CHUNK / 8)
#define BLOCKS 14
#define ALL ((1 << BLOCKS) - 1)
#define GRAPHS 400

struct fixture {
    struct target *target;
    struct heap heap;
    uint64_t memory[BLOCKS * WORDS];
    uint64_t leaked[1];
};

static uint32_t random_state = 12345;

static uint32_t
random_below(uint32_t n)
{
    random_state = random_state * 1103515245 + 12345;
    return (random_state >> 8) % n;
}

static void
set_up(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    f->target = calloc(1, sizeof(*f->target));
    f->target->t_name = strdup("test");
    f->target->t_exe = strdup("");
    f->target->t_mem_fd = -1;
    f->target->t_pagemap_fd = -1;
    target_add_segment(f->target, BASE, BASE + sizeof(f->memory), (const unsigned char *)f->memory);
    target_sort_segments(f->target);
    f->heap.heap_target = f->target;
    f->heap.heap_offsets.off_word = 8;
    assert_int_equal(reader_init(&f->heap.heap_reader, f->target), 0);
    f->heap.heap_caches = calloc(1, sizeof(*f->heap.heap_caches));
    f->heap.heap_cache_count = 1;
    strcpy(f->heap.heap_caches[0].cache_name, "cache");
    f->heap.heap_caches[0].cache_bufsize = CHUNK;
    struct region geometry = {.region_base = BASE,
                              .region_chunk = CHUNK,
                              .region_scan = CHUNK,
                              .region_blocks = BLOCKS,
                              .region_cache = 0,
                              .region_kind = REGION_SLAB};
    assert_non_null(heap_add_region(&f->heap, &geometry));
    assert_int_equal(heap_seal(&f->heap), 0);
}

static void
tear_down(struct fixture *f)
{
    heap_close(&f->heap);
    target_close(f->target);
}

static void
point(struct fixture *f, unsigned from, unsigned word, unsigned to, unsigned offset)
{
    f->memory[from * WORDS + word] = BASE + to * CHUNK + offset;
}

/* Runs graph_sort; bits of the blocks that came out direct and indirect. */
static void
sort(struct fixture *f, bool incomplete, uint64_t kinds[LEAK_POSSIBLE + 1], struct leaks *leaks)
{
    static const struct leak_options options = {.opt_addresses = BLOCKS};
    struct group_table *table = groups_create(&f->heap, &options);
    *leaks = (struct leaks){0};
    assert_int_equal(graph_sort(&f->heap, f->leaked, incomplete, table), 0);
    groups_finish(table, leaks);
    memset(kinds, 0, (LEAK_POSSIBLE + 1) * sizeof(*kinds));
    for (size_t i = 0; i < leaks->lks_group_count; i++)
        for (size_t k = 0; k < leaks->lks_groups[i].grp_address_count; k++)
            kinds[leaks->lks_groups[i].grp_kind] |=
                (uint64_t)1 << (leaks->lks_groups[i].grp_addresses[k] - BASE) / CHUNK;
}

/* reach[i]: bits of the leaked blocks that can be reached from i in one step or more. */
static void
closure(const struct fixture *f, uint64_t reach[BLOCKS])
{
    memset(reach, 0, BLOCKS * sizeof(*reach));
    for (unsigned i = 0; i < BLOCKS; i++)
        for (unsigned w = 0; w < WORDS; w++) {
            uint64_t value = f->memory[i * WORDS + w];
            if (value >= BASE && value < BASE + BLOCKS * CHUNK)
                reach[i] |= (uint64_t)1 << (value - BASE) / CHUNK & f->leaked[0];
        }
    for (unsigned k = 0; k < BLOCKS; k++)
        for (unsigned i = 0; i < BLOCKS; i++)
            if ((reach[i] >> k & 1) && (f->leaked[0] >> k & 1))
                reach[i] |= reach[k];
}

/*
 * Expected: a block is direct if whatever reaches it is also reached by it (a
 * source of the condensed graph) and no such block has a lower address.
 */
static uint64_t
expected_direct(const struct fixture *f)
{
    uint64_t reach[BLOCKS];
    uint64_t direct = 0;
    closure(f, reach);
    for (unsigned i = 0; i < BLOCKS; i++) {
        bool is_direct = f->leaked[0] >> i & 1;
        for (unsigned k = 0; k < BLOCKS && is_direct; k++)
            if (k != i && (f->leaked[0] >> k & 1) && (reach[k] >> i & 1))
                is_direct = (reach[i] >> k & 1) && k > i;
        direct |= (uint64_t)is_direct << i;
    }
    return direct;
}

static void
test_random_graphs(void **state)
{
    struct fixture f;
    struct leaks leaks;
    uint64_t kinds[LEAK_POSSIBLE + 1];
    (void)state;

    set_up(&f);
    for (unsigned n = 0; n < GRAPHS; n++) {
        memset(f.memory, 0, sizeof(f.memory));
        f.leaked[0] = 0;
        for (unsigned i = 0; i < BLOCKS; i++)
            f.leaked[0] |= (uint64_t)(random_below(5) != 0) << i;
        for (unsigned e = random_below(2 * BLOCKS); e > 0; e--)
            point(&f, random_below(BLOCKS), random_below(WORDS), random_below(BLOCKS),
                  random_below(CHUNK));
        sort(&f, false, kinds, &leaks);
        assert_int_equal(kinds[LEAK_DIRECT], expected_direct(&f));
        assert_int_equal(kinds[LEAK_DIRECT] | kinds[LEAK_INDIRECT], f.leaked[0]);
        assert_int_equal(kinds[LEAK_DIRECT] & kinds[LEAK_INDIRECT], 0);
        assert_int_equal(leaks.lks_count, __builtin_popcountll(f.leaked[0]));
        leaks_fini(&leaks);
    }
    tear_down(&f);
}

static void
test_lost_list_hangs_on_its_head(void **state)
{
    struct fixture f;
    struct leaks leaks;
    uint64_t kinds[LEAK_POSSIBLE + 1];
    (void)state;

    set_up(&f);
    f.leaked[0] = 0x3ff;
    for (unsigned i = 9; i > 0; i--)
        point(&f, i, 1, i - 1, 0);
    sort(&f, false, kinds, &leaks);
    assert_int_equal(kinds[LEAK_DIRECT], 1 << 9);
    assert_int_equal(leaks.lks_groups[0].grp_held_count, 9);
    assert_int_equal(leaks.lks_groups[0].grp_held_bytes, 9 * CHUNK);
    leaks_fini(&leaks);
    tear_down(&f);
}

static void
test_incomplete_target_makes_all_possible(void **state)
{
    struct fixture f;
    struct leaks leaks;
    uint64_t kinds[LEAK_POSSIBLE + 1];
    (void)state;

    set_up(&f);
    f.leaked[0] = 7;
    point(&f, 0, 0, 1, 0);
    sort(&f, true, kinds, &leaks);
    assert_int_equal(kinds[LEAK_POSSIBLE], 7);
    assert_int_equal(leaks.lks_kind_count[LEAK_DIRECT], 0);
    leaks_fini(&leaks);
    tear_down(&f);
}

/* From one root word: inner pointers count, free blocks end a chain, start-only is stricter. */
static void
test_marking(void **state)
{
    struct fixture f;
    struct marker m;
    struct root root = {BASE, BASE + 8, ROOT_DATA, 0};
    struct roots roots = {.list = &root, .count = 1};
    (void)state;

    set_up(&f);
    point(&f, 0, 0, 1, 0);
    point(&f, 1, 3, 2, 63);
    point(&f, 2, 7, 3, 0);
    point(&f, 3, 0, 4, 0);
    point(&f, 4, 0, 5, 0);
    bit_clear(f.heap.heap_live, 4);
    assert_int_equal(marker_init(&m, &f.heap, false), 0);
    marker_run(&m, &roots);
    assert_int_equal(~m.m_unreached[0] & (ALL & ~(1 << 4)), 1 << 1 | 1 << 2 | 1 << 3);
    marker_fini(&m);
    assert_int_equal(marker_init(&m, &f.heap, true), 0);
    marker_run(&m, &roots);
    assert_int_equal(~m.m_unreached[0] & (ALL & ~(1 << 4)), 1 << 1);
    marker_fini(&m);
    tear_down(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_graphs),
        cmocka_unit_test(test_lost_list_hangs_on_its_head),
        cmocka_unit_test(test_incomplete_target_makes_all_possible),
        cmocka_unit_test(test_marking),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
