/* SPDX-License-Identifier: MIT */
/*
 * test_info.c - which stack an address is in, names, walks over all stacks:
 * from outside, for every size, guards included, and beside threads that
 * allocate.
 */
#include "stacktest.h"

#include <pthread.h>
#include <stdatomic.h>
#include <umem.h>

static void
test_every_address_of_a_stack(void **state)
{
    (void)state;
    FOR_SIZES(size)
    {
        char *base = stack_alloc(size);
        struct stack_info info;
        for (size_t offset = 0; offset < size; offset += 4096 - 1) {
            assert_int_equal(stack_info(base + offset, &info), 0);
            assert_ptr_equal(info.info_base, base);
            assert_int_equal(info.info_size, size);
            assert_int_equal(info.info_state, STACK_IS_USED);
            assert_int_equal(info.info_place, STACK_IN_BODY);
            assert_int_equal(info.info_beyond, 0);
        }
        assert_int_equal(info.info_thread, 0);
        assert_string_equal(info.info_name, "");
        assert_int_equal(stack_info(base + size - 1, &info), 0);
        assert_int_equal(info.info_place, STACK_IN_BODY);
        stack_free(base, size);
        assert_int_equal(stack_info(base + size / 2, &info), 0);
        assert_int_equal(info.info_state, STACK_IS_CACHED);
    }
}

static void
test_guards(void **state)
{
    (void)state;
    FOR_SIZES(size)
    {
        char *base = stack_alloc(size);
        struct stack_info info;
        assert_int_equal(stack_info(base, &info), 0);
        size_t low = info.info_guard_low, high = info.info_guard_high;
        assert_true(low >= PAGE && high >= PAGE);
        for (size_t beyond = 1; beyond <= low; beyond += beyond < low ? low - 1 : 1) {
            assert_int_equal(stack_info(base - beyond, &info), 0);
            assert_ptr_equal(info.info_base, base);
            assert_int_equal(info.info_place, STACK_IN_LOW_GUARD);
            assert_int_equal(info.info_beyond, beyond);
        }
        for (size_t beyond = 1; beyond <= high; beyond += beyond < high ? high - 1 : 1) {
            assert_int_equal(stack_info(base + size + beyond - 1, &info), 0);
            assert_ptr_equal(info.info_base, base);
            assert_int_equal(info.info_place, STACK_IN_HIGH_GUARD);
            assert_int_equal(info.info_beyond, beyond);
        }
        stack_free(base, size);
    }
}

static void
test_no_stack(void **state)
{
    (void)state;
    static char data[64];
    struct stack_info info;
    void *const wild[] = {NULL, data, &info, (void *)UINTPTR_MAX, (void *)(UINTPTR_MAX / 2)};
    for (size_t i = 0; i < sizeof(wild) / sizeof(wild[0]); i++) {
        errno = 0;
        assert_int_equal(stack_info(wild[i], &info), -1);
        assert_int_equal(errno, EINVAL);
        assert_int_equal(stack_name(wild[i], "x"), -1);
    }
}

static void
test_names(void **state)
{
    (void)state;
    const size_t size = 64 * KIB;
    char *base = stack_alloc(size);
    struct stack_info info;
    assert_int_equal(stack_name(base + 5000, "reader"), 0);
    assert_int_equal(stack_info(base, &info), 0);
    assert_string_equal(info.info_name, "reader");
    assert_int_equal(stack_name(base, "0123456789012345678901234567890"), 0);
    assert_int_equal(stack_info(base, &info), 0);
    assert_string_equal(info.info_name, "01234567890123456789012");
    assert_int_equal(stack_name(base, NULL), 0);
    assert_int_equal(stack_info(base, &info), 0);
    assert_string_equal(info.info_name, "");
    assert_int_equal(stack_name(base, "last"), 0);
    /* No guard has a name, and a stack with one is freed as any other, once. */
    assert_int_equal(stack_name(base - 1, "guard"), -1);
    assert_true(is_refused(base, 2 * size));
    assert_int_equal(stack_free(base, size), 0);
    assert_true(is_refused(base, size));
    assert_int_equal(stack_name(base, "free"), -1);
    /* The next user finds none. */
    char *again = stack_alloc(size);
    assert_ptr_equal(again, base);
    assert_int_equal(stack_info(again, &info), 0);
    assert_string_equal(info.info_name, "");
    stack_free(again, size);
}

/* The mapping of a stack has its name, where the kernel has any. */
static void
test_name_in_maps(void **state)
{
    (void)state;
    char *base = stack_alloc(MIB);
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512], start[32];
    bool found = false, named = false, any = false;
    snprintf(start, sizeof(start), "%lx-", (unsigned long)(uintptr_t)base);
    while (maps != NULL && fgets(line, sizeof(line), maps) != NULL) {
        any = any || strstr(line, "[anon:") != NULL;
        if (strncmp(line, start, strlen(start)) == 0) {
            found = true;
            named = strstr(line, "[anon:umem stacks]") != NULL;
        }
    }
    if (maps != NULL)
        fclose(maps);
    stack_free(base, MIB);
    /* A kernel without such names shows none at all. */
    assert_true(!found || !any || named);
}

struct tally {
    char *last;
    size_t seen, used;
};

static int
count(const struct stack_info *info, void *arg)
{
    struct tally *tally = arg;
    if ((char *)info->info_base <= tally->last || info->info_size < 32 * KIB)
        return -1;
    tally->last = info->info_base;
    tally->seen++;
    tally->used += info->info_state == STACK_IS_USED;
    return 0;
}

static int
stop_at_third(const struct stack_info *info, void *arg)
{
    (void)info;
    return ++*(int *)arg == 3 ? 42 : 0;
}

static void
test_foreach(void **state)
{
    (void)state;
    enum { COUNT = 20 };
    char *stacks[SIZES][COUNT];
    struct tally before = {NULL, 0, 0};
    assert_int_equal(stack_foreach(count, &before), 0);
    for (size_t s = 0; s < SIZES; s++)
        for (int i = 0; i < COUNT; i++)
            stacks[s][i] = stack_alloc(all_sizes[s]);
    struct tally during = {NULL, 0, 0};
    assert_int_equal(stack_foreach(count, &during), 0);
    assert_int_equal(during.used, before.used + SIZES * COUNT);
    int n = 0;
    assert_int_equal(stack_foreach(stop_at_third, &n), 42);
    assert_int_equal(n, 3);
    for (size_t s = 0; s < SIZES; s++)
        for (int i = 0; i < COUNT; i++)
            stack_free(stacks[s][i], all_sizes[s]);
    struct tally after = {NULL, 0, 0};
    assert_int_equal(stack_foreach(count, &after), 0);
    assert_int_equal(after.used, before.used);
    assert_true(after.seen >= during.seen - SIZES * COUNT);
}

static atomic_bool done;

static void *
churn(void *arg)
{
    size_t size = all_sizes[*(int *)arg];
    while (!done) {
        char *stack = stack_alloc(size);
        if (stack == NULL || stack_name(stack, "churn") != 0 || stack_free(stack, size) != 0)
            return arg;
        umem_reap();
    }
    return NULL;
}

/* Those that are there all the while are seen in each walk, whatever others do. */
static void
test_foreach_beside_others(void **state)
{
    (void)state;
    enum { THREADS = 3, FIXED = 10 };
    char *fixed[FIXED];
    int numbers[THREADS];
    pthread_t threads[THREADS];
    for (int i = 0; i < FIXED; i++)
        fixed[i] = stack_alloc(32 * KIB);
    struct tally base = {NULL, 0, 0};
    stack_foreach(count, &base);
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        pthread_create(&threads[i], NULL, churn, &numbers[i]);
    }
    for (int i = 0; i < 200; i++) {
        struct tally tally = {NULL, 0, 0};
        assert_int_equal(stack_foreach(count, &tally), 0);
        assert_in_range(tally.used, base.used, base.used + THREADS);
    }
    done = true;
    for (int i = 0; i < THREADS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    for (int i = 0; i < FIXED; i++)
        stack_free(fixed[i], 32 * KIB);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_address_of_a_stack),
        cmocka_unit_test(test_guards),
        cmocka_unit_test(test_no_stack),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_name_in_maps),
        cmocka_unit_test(test_foreach),
        cmocka_unit_test(test_foreach_beside_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
