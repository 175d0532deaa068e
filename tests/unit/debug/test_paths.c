/* SPDX-License-Identifier: MIT */
/*
 * test_paths.c - paths against a plain list of stacks: the same number for the
 * same frames, another for others; room that grows, and fresh starts where it
 * may not.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "debug/paths.h"

#define FRAME(n) ((uintptr_t)0x400000 + 16 * (uintptr_t)(n))

static struct umem_paths paths;

static uint32_t
path_of(const uintptr_t *frames, unsigned depth)
{
    uint32_t path = 0;

    while (depth-- > 0)
        path = umem_paths_find(&paths, path, frames[depth]);
    return path;
}

static void
same_frames_same_path(void **state)
{
    const uintptr_t stack[] = {FRAME(3), FRAME(2), FRAME(2), FRAME(1)};

    (void)state;
    umem_paths_forget(&paths);
    uint32_t path = path_of(stack, 4);
    assert_int_not_equal(path, 0);
    assert_int_equal(path_of(stack, 4), path);
    assert_int_equal(paths.paths_count, 4);
    /* The rest is found by itself. */
    assert_int_equal(path_of(stack + 1, 3), paths.paths_path[path].path_outer);
    assert_int_equal(paths.paths_count, 4);
}

static void
other_frames_other_path(void **state)
{
    const uintptr_t stack[] = {FRAME(3), FRAME(2), FRAME(1)};
    const uintptr_t turned[] = {FRAME(2), FRAME(3), FRAME(1)};
    const uintptr_t middle[] = {FRAME(3), FRAME(4), FRAME(1)};

    (void)state;
    umem_paths_forget(&paths);
    uint32_t path = path_of(stack, 3);
    assert_int_not_equal(path_of(turned, 3), path);
    assert_int_not_equal(path_of(middle, 3), path);
    assert_int_not_equal(path_of(stack, 2), path);
    /* The outermost frame again, which is no frame of that path. */
    assert_int_not_equal(umem_paths_find(&paths, path, FRAME(1)), path_of(stack + 2, 1));
}

static size_t
bytes(void)
{
    return (sizeof(struct umem_path) + sizeof(uint32_t)) << paths.paths_shift;
}

/* As many as there are paths, and not all at once; what is there keeps its number. */
static void
grows(void **state)
{
    const uintptr_t stack[] = {FRAME(3), FRAME(2), FRAME(1)};

    (void)state;
    assert_true(umem_paths_init(&paths));
    uint32_t path = path_of(stack, 3);
    assert_true(bytes() <= 32 << 10);
    paths.paths_path[path].path_stack = 4711;
    for (uint32_t i = 1; i < 20000; i++) {
        assert_int_not_equal(umem_paths_find(&paths, path, FRAME(i)), 0);
        assert_int_equal(path_of(stack, 3), path);
        assert_true(i < 1000 || bytes() <= i * 8 * sizeof(struct umem_path));
    }
    assert_int_equal(paths.paths_path[path].path_stack, 4711);
}

/* Every path is one of its own until there is no room; then all begins anew. */
static void
room(void **state)
{
    static uint8_t seen[UMEM_PATHS_MAX];

    (void)state;
    assert_true(umem_paths_init(&paths));
    for (int round = 0; round < 3; round++) {
        umem_paths_forget(&paths);
        memset(seen, 0, sizeof(seen));
        for (uint32_t i = 1; i < UMEM_PATHS_MAX; i++) {
            uint32_t outer = i % 3 == 0 ? i / 3 : 0;
            uint32_t path = umem_paths_find(&paths, outer, FRAME(i));
            assert_true(path != 0 && path < UMEM_PATHS_MAX && !seen[path]);
            assert_int_equal(paths.paths_path[path].path_stack, 0);
            paths.paths_path[path].path_stack = i;
            seen[path] = 1;
        }
        assert_int_equal(umem_paths_find(&paths, 0, FRAME(UMEM_PATHS_MAX)), 0);
        /* Those that are there are found. */
        uint32_t path = umem_paths_find(&paths, 0, FRAME(1));
        assert_int_equal(paths.paths_path[path].path_stack, 1);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_frames_same_path),
        cmocka_unit_test(other_frames_other_path),
        cmocka_unit_test(grows),
        cmocka_unit_test(room),
    };

    if (!umem_paths_init(&paths))
        return 1;
    return cmocka_run_group_tests_name("debug/paths", tests, NULL, NULL);
}
