/* SPDX-License-Identifier: MIT */
/*
 * test_uneven.c - rows of blocks of different sizes: every address finds its
 * block.
 */
#include "heap/heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BASE ((addr_t)0x555500000010)
#define TAIL 8
#define BLOCKS 3000

static struct heap *
heap_with(const addr_t *starts, size_t count, addr_t end)
{
    struct heap *h = calloc(1, sizeof(*h));
    assert_non_null(h);
    assert_non_null(heap_add_uneven(h, starts, count, end, TAIL));
    assert_int_equal(heap_seal(h), 0);
    return h;
}

static void
check_every_word(const addr_t *starts, size_t count, addr_t end)
{
    struct heap *h = heap_with(starts, count, end);
    struct block b;
    size_t i = 0;

    assert_false(heap_find(h, starts[0] - 1, &b));
    for (addr_t at = starts[0]; at < end; at += 8) {
        while (i + 1 < count && at >= starts[i + 1])
            i++;
        assert_true(heap_find(h, at, &b));
        assert_int_equal(b.block_index, i);
        assert_int_equal(heap_block_addr(h, b), starts[i]);
        assert_int_equal(heap_block_scan(h, b),
                         (i + 1 < count ? starts[i + 1] : end) - starts[i] - TAIL);
    }
    assert_false(heap_find(h, end, &b));
    heap_close(h);
    free(h);
}

/* Many in a page, one over several pages, and what begins and ends at a page's border. */
static void
test_every_address(void **state)
{
    static addr_t starts[BLOCKS];
    addr_t at = BASE;
    (void)state;
    for (size_t i = 0; i < BLOCKS; i++) {
        starts[i] = at;
        at += i % 100 == 99 ? 16 * 1024
              : i % 7 == 0  ? 0x1000 - (at - BASE) % 0x1000
                            : 32 + i % 5 * 16;
    }
    check_every_word(starts, BLOCKS, at);
    check_every_word(starts, 1, starts[1]);
    check_every_word(starts + 99, 2, starts[101]);
}

static void
test_nonsense_is_refused(void **state)
{
    struct heap *h = calloc(1, sizeof(*h));
    const addr_t starts[] = {BASE, BASE + 64};
    (void)state;
    assert_non_null(h);
    assert_null(heap_add_uneven(h, starts, 0, BASE + 128, TAIL));
    assert_null(heap_add_uneven(h, starts, 2, BASE + 64, TAIL));
    assert_null(heap_add_uneven(h, starts, 2, BASE + ((addr_t)1 << 40), TAIL));
    heap_close(h);
    free(h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_address),
        cmocka_unit_test(test_nonsense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
