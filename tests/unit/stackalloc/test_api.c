/* SPDX-License-Identifier: MIT */
/*
 * test_api.c - the three calls: sizes, alignment, what stack_free() refuses,
 * errors for want of address space, of mappings and by injection, fork.
 */
#include "stacktest.h"

#include <umem.h>

static void
test_sizes_are_told(void **state)
{
    (void)state;
    uint_t *sizes = fetch_stack_sizes();
    assert_non_null(sizes);
    size_t n = 0;
    for (; sizes[n] != 0; n++) {
        assert_true(n < SIZES);
        void *stack = stack_alloc(sizes[n]);
        assert_non_null(stack);
        assert_int_equal(stack_free(stack, sizes[n]), 0);
    }
    if (PAGE == 4096) {
        assert_int_equal(n, SIZES);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(sizes[i], all_sizes[i]);
    }
    free(sizes);
}

static void
test_other_sizes_are_refused(void **state)
{
    (void)state;
    const size_t wrong[] = {0,
                            1,
                            4096,
                            16 * KIB,
                            32 * KIB - 1,
                            32 * KIB + 1,
                            33 * KIB,
                            48 * KIB,
                            96 * KIB,
                            2 * MIB - 1,
                            2 * MIB + 1,
                            3 * MIB,
                            4 * MIB,
                            SIZE_MAX,
                            SIZE_MAX / 2 + 1,
                            SIZE_MAX - 4095};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        errno = 0;
        assert_null(stack_alloc(wrong[i]));
        assert_int_equal(errno, EINVAL);
    }
}

static void
test_every_size_works(void **state)
{
    (void)state;
    FOR_SIZES(size)
    {
        char *stack = stack_alloc(size);
        assert_non_null(stack);
        assert_int_equal((uintptr_t)stack % PAGE, 0);
        memset(stack, 0xa5, size);
        errno = 1234;
        assert_int_equal(stack_free(stack, size), 0);
        assert_int_equal(errno, 1234);
    }
}

static void
test_stacks_do_not_overlap(void **state)
{
    (void)state;
    enum { COUNT = 48 };
    static char *stacks[SIZES][COUNT];
    for (size_t s = 0; s < SIZES; s++)
        for (size_t i = 0; i < (size_t)COUNT >> s; i++) {
            assert_non_null(stacks[s][i] = stack_alloc(all_sizes[s]));
            memset(stacks[s][i], (int)(s * 31 + i), all_sizes[s]);
        }
    for (size_t s = 0; s < SIZES; s++)
        for (size_t i = 0; i < (size_t)COUNT >> s; i++) {
            for (size_t k = 0; k < all_sizes[s]; k += 512)
                assert_int_equal((unsigned char)stacks[s][i][k], (unsigned char)(s * 31 + i));
            assert_int_equal(stack_free(stacks[s][i], all_sizes[s]), 0);
        }
}

static void
test_free_wants_the_size(void **state)
{
    (void)state;
    FOR_SIZES(size)
    {
        char *stack = stack_alloc(size);
        FOR_SIZES(other)
        if (other != size)
            assert_true(is_refused(stack, other));
        assert_true(is_refused(stack, 0));
        assert_true(is_refused(stack, size + 1));
        assert_true(is_refused(stack, size - 1));
        assert_true(is_refused(stack, SIZE_MAX));
        assert_int_equal(stack_free(stack, size), 0);
    }
}

static void
test_free_refuses_the_second_time(void **state)
{
    (void)state;
    FOR_SIZES(size)
    {
        void *stack = stack_alloc(size);
        assert_int_equal(stack_free(stack, size), 0);
        assert_true(is_refused(stack, size));
        assert_true(is_refused(stack, size));
        /* And the cache was not harmed: two requests get two stacks. */
        void *one = stack_alloc(size), *two = stack_alloc(size);
        assert_ptr_not_equal(one, two);
        assert_int_equal(stack_free(one, size), 0);
        assert_int_equal(stack_free(two, size), 0);
    }
}

static void
test_free_refuses_inner_addresses(void **state)
{
    (void)state;
    FOR_SIZES(size)
    {
        char *stack = stack_alloc(size);
        const ptrdiff_t reach = 64 * 1024;
        for (ptrdiff_t offset = -reach; offset < (ptrdiff_t)size + reach; offset += 512)
            if (offset != 0)
                FOR_SIZES(as)
        if (as == size || offset % 4096 == 0)
            assert_true(is_refused(stack + offset, as));
        for (ptrdiff_t offset = -64; offset <= 64; offset++)
            if (offset != 0)
                assert_true(is_refused(stack + offset, size));
        assert_int_equal(stack_free(stack, size), 0);
    }
}

static void
test_free_refuses_wild_pointers(void **state)
{
    (void)state;
    int local = 0;
    void *heap = malloc(100);
    void *map = mmap(NULL, MIB, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uintptr_t wild[] = {0,
                        1,
                        4096,
                        32768,
                        UINTPTR_MAX,
                        UINTPTR_MAX - 4095,
                        UINTPTR_MAX / 2,
                        UINTPTR_MAX / 2 + 1,
                        (uintptr_t)&local,
                        (uintptr_t)heap,
                        (uintptr_t)map,
                        (uintptr_t)&stack_alloc,
                        (uintptr_t)&local & ~(uintptr_t)4095,
                        (uintptr_t)heap & ~(uintptr_t)32767};
    FOR_SIZES(size)
    for (size_t i = 0; i < sizeof(wild) / sizeof(wild[0]); i++)
        assert_true(is_refused((void *)wild[i], size));
    /* Every bit of an address in turn, then pseudo-random ones. */
    void *stack = stack_alloc(64 * KIB);
    for (unsigned bit = 0; bit < sizeof(uintptr_t) * 8; bit++)
        assert_true(is_refused((void *)((uintptr_t)stack ^ (uintptr_t)1 << bit), 64 * KIB));
    uint64_t x = 88172645463325252u;
    for (int i = 0; i < 200000; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        uintptr_t address = (uintptr_t)x & ~(uintptr_t)((i & 1) ? 4095 : 0);
        if ((void *)address != stack)
            assert_true(is_refused((void *)address, 64 * KIB));
    }
    assert_int_equal(stack_free(stack, 64 * KIB), 0);
    munmap(map, MIB);
    free(heap);
}

static void
child_address_space(void *arg)
{
    (void)arg;
    struct rlimit limit;
    getrlimit(RLIMIT_AS, &limit);
    rlim_t all = limit.rlim_cur;
    /* Nothing at all: the very first call, with all of its set-up, fails cleanly. */
    limit.rlim_cur = (rlim_t)status_kib("VmSize:") * KIB;
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    FOR_SIZES(size)
    for (int i = 0; i < 100; i++) {
        errno = 0;
        CHECK(stack_alloc(size) == NULL);
        CHECK(errno == ENOMEM);
    }
    /* A little: some succeed. */
    limit.rlim_cur += 24 * MIB;
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    void *stacks[64];
    size_t n = 0;
    while (n < 64 && (stacks[n] = stack_alloc(MIB)) != NULL)
        n++;
    CHECK(n >= 4 && n <= 24);
    CHECK(errno == ENOMEM);
    for (size_t i = 0; i < n; i++) {
        memset(stacks[i], 1, MIB);
        CHECK(stack_free(stacks[i], MIB) == 0);
    }
    for (size_t i = 0; i < n; i++)
        CHECK((stacks[i] = stack_alloc(MIB)) != NULL);
    CHECK(stack_alloc(MIB) == NULL && errno == ENOMEM);
    limit.rlim_cur = all;
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    CHECK(stack_alloc(MIB) != NULL);
}

static void
test_no_address_space_is_enomem(void **state)
{
    (void)state;
    if (SANITIZED)
        skip();
    must_succeed(child_address_space, NULL);
}

/* Uses up vm.max_map_count: a stack that cannot have guards of its own must not be. */
static void
child_mappings(void *arg)
{
    (void)arg;
    char *held = stack_alloc(32 * KIB);
    CHECK(held != NULL);
    const size_t pages = 300000; /* above the usual limit of 65,530 mappings, twice */
    char *area =
        mmap(NULL, pages * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(area != MAP_FAILED);
    size_t i = 1;
    while (i < pages && mprotect(area + i * PAGE, PAGE, PROT_READ) == 0)
        i += 2;
    if (i >= pages)
        _exit(CHILD_SKIP); /* The limit was raised here. */
    CHECK(errno == ENOMEM);
    char *stack;
    size_t made = 0;
    while (made < 1000 && (stack = stack_alloc(64 * KIB)) != NULL) {
        CHECK(!is_readable(stack - 1) && !is_readable(stack + 64 * KIB));
        made++;
    }
    CHECK(made < 8 && errno == ENOMEM);
    CHECK(stack_free(held, 32 * KIB) == 0);
    CHECK(stack_alloc(32 * KIB) == held); /* cached ones serve on */
    munmap(area, pages * PAGE);
    CHECK(stack_alloc(64 * KIB) != NULL);
}

static void
test_no_mappings_is_enomem(void **state)
{
    (void)state;
    if (SANITIZED)
        skip();
    must_succeed(child_mappings, NULL);
}

static void
child_injected(void *arg)
{
    (void)arg;
    umem_setmtbf(1);
    FOR_SIZES(size)
    {
        errno = 0;
        CHECK(stack_alloc(size) == NULL);
        CHECK(errno == ENOMEM);
    }
    umem_setmtbf(0);
    FOR_SIZES(size)
    CHECK(stack_free(stack_alloc(size), size) == 0);
}

static void
test_injected_failure_is_enomem(void **state)
{
    (void)state;
    must_succeed(child_injected, NULL);
}

static void
child_of_owner(void *arg)
{
    char **stacks = arg;
    for (size_t s = 0; s < SIZES; s++) {
        size_t size = all_sizes[s];
        CHECK(stacks[s][0] == (char)s && stacks[s][size - 1] == (char)~s);
        CHECK(!is_readable(stacks[s] - 1) && !is_readable(stacks[s] + size));
        CHECK(stack_free(stacks[s], size) == 0);
        CHECK(is_refused(stacks[s], size));
        char *other = stack_alloc(size);
        CHECK(other != NULL);
        memset(other, 7, size);
        CHECK(stack_free(other, size) == 0);
    }
}

static void
test_fork_gives_the_child_the_stacks(void **state)
{
    (void)state;
    char *stacks[SIZES];
    for (size_t s = 0; s < SIZES; s++) {
        stacks[s] = stack_alloc(all_sizes[s]);
        stacks[s][0] = (char)s;
        stacks[s][all_sizes[s] - 1] = (char)~s;
    }
    must_succeed(child_of_owner, stacks);
    for (size_t s = 0; s < SIZES; s++) {
        assert_true(stacks[s][0] == (char)s && stacks[s][all_sizes[s] - 1] == (char)~s);
        assert_int_equal(stack_free(stacks[s], all_sizes[s]), 0);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        /* First, while the library has not been used: their children start with nothing. */
        cmocka_unit_test(test_no_address_space_is_enomem),
        cmocka_unit_test(test_injected_failure_is_enomem),
        cmocka_unit_test(test_no_mappings_is_enomem),
        cmocka_unit_test(test_sizes_are_told),
        cmocka_unit_test(test_other_sizes_are_refused),
        cmocka_unit_test(test_every_size_works),
        cmocka_unit_test(test_stacks_do_not_overlap),
        cmocka_unit_test(test_free_wants_the_size),
        cmocka_unit_test(test_free_refuses_the_second_time),
        cmocka_unit_test(test_free_refuses_inner_addresses),
        cmocka_unit_test(test_free_refuses_wild_pointers),
        cmocka_unit_test(test_fork_gives_the_child_the_stacks),
    };
    return cmocka_run_group_tests_name("stackalloc/api", tests, NULL, NULL);
}
