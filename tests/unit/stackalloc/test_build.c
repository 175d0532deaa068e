/* SPDX-License-Identifier: MIT */
/*
 * test_build.c - what a stack is when it is handed out: guards on both sides,
 * every page in memory, its contents nobody's but the user's; and that reuse
 * makes no page fault and no system call.
 */
#include "stacktest.h"

#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <umem.h>

struct access {
    volatile char *address;
    bool write;
};

static void
child_access(void *arg)
{
    struct access *access = arg;
    if (access->write)
        *access->address = 1;
    else
        (void)*access->address;
}

static bool
kills(volatile char *address, bool write)
{
    struct access access = {address, write};
    int status = run_child(child_access, &access);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV)
        return true;
    assert_int_equal(status, 0);
    return false;
}

static void
test_guards_stop_reads_and_writes(void **state)
{
    (void)state;
    FOR_SIZES(size)
    {
        char *stack = stack_alloc(size);
        char *end = stack + size;
        for (int write = 0; write <= 1; write++) {
            /* The stack itself does not: so the test can fail. */
            assert_false(kills(stack, write));
            assert_false(kills(end - 1, write));
            assert_true(kills(stack - 1, write));
            assert_true(kills(stack - PAGE, write));
            assert_true(kills(stack - 12000, write)); /* a frame wider than a page */
            assert_true(kills(end, write));
            assert_true(kills(end + PAGE - 1, write));
        }
        assert_int_equal(stack_free(stack, size), 0);
    }
}

static volatile int depth_wanted = INT_MAX;

static void
recurse_down(volatile char *last, int depth)
{
    volatile char frame[4000];
    if (depth > depth_wanted)
        return;
    frame[0] = *last;
    frame[sizeof(frame) - 1] = 1;
    recurse_down(frame, depth + 1);
    frame[1] = 2; /* no tail call */
}

static void *
overflow_thread(void *arg)
{
    char start = 0;
    recurse_down(&start, 0);
    return arg;
}

static void
child_overflow(void *arg)
{
    (void)arg;
    pthread_attr_t attr;
    pthread_t thread;
    CHECK(pthread_attr_init(&attr) == 0);
    CHECK(pthread_attr_setstack(&attr, stack_alloc(128 * KIB), 128 * KIB) == 0);
    CHECK(pthread_create(&thread, &attr, overflow_thread, NULL) == 0);
    pthread_join(thread, NULL);
}

static void
test_a_running_thread_is_stopped(void **state)
{
    (void)state;
    if (SANITIZED)
        skip(); /* they want larger stacks */
    int status = run_child(child_overflow, NULL);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSEGV);
}

static void
test_every_stack_has_its_own_guards(void **state)
{
    (void)state;
    enum { COUNT = 100 };
    char *stacks[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        assert_non_null(stacks[i] = stack_alloc(32 * KIB));
    for (size_t i = 0; i < COUNT; i++) {
        char *end = stacks[i] + 32 * KIB;
        assert_true(is_readable(stacks[i]) && is_readable(end - 1));
        for (size_t k = 1; k <= PAGE; k += 511) {
            assert_false(is_readable(stacks[i] - k));
            assert_false(is_readable(end - 1 + k));
        }
        /* Two live neighbours do not share a guard. */
        for (size_t j = 0; j < COUNT; j++)
            if (stacks[j] > stacks[i])
                assert_true((size_t)(stacks[j] - end) >= 2 * PAGE);
    }
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(stack_free(stacks[i], 32 * KIB), 0);
}

static void
test_every_page_is_in_memory(void **state)
{
    (void)state;
    FOR_SIZES(size)
    {
        char *stacks[12];
        for (int i = 0; i < 12; i++) {
            assert_non_null(stacks[i] = stack_alloc(size));
            assert_int_equal(resident_pages(stacks[i], size), size / PAGE);
            /* For writing: resident zero pages would still fault. */
            long before = thread_faults();
            for (size_t k = 0; k < size; k += PAGE)
                *(volatile char *)(stacks[i] + k) = 1;
            if (!SANITIZED)
                assert_int_equal(thread_faults() - before, 0);
        }
        for (int i = 0; i < 12; i++)
            assert_int_equal(stack_free(stacks[i], size), 0);
    }
}

static void
child_contents(void *arg)
{
    (void)arg;
    FOR_SIZES(size)
    {
        char *stack = stack_alloc(size);
        for (size_t k = 0; k < size; k++)
            CHECK(stack[k] == 0);
        for (size_t k = 0; k < size; k++)
            stack[k] = (char)(k * 7 + k / 4096);
        CHECK(stack_free(stack, size) == 0);
        for (size_t k = 0; k < size; k++)
            CHECK(stack[k] == (char)(k * 7 + k / 4096));
        CHECK(stack_alloc(size) == stack);
        for (size_t k = 0; k < size; k++)
            CHECK(stack[k] == (char)(k * 7 + k / 4096));
    }
}

static void
test_contents_are_left_alone(void **state)
{
    (void)state;
    must_succeed(child_contents, NULL);
}

static void
test_reuse_faults_nothing(void **state)
{
    (void)state;
    if (SANITIZED)
        skip();
    FOR_SIZES(size)
    {
        void *first = stack_alloc(size);
        assert_int_equal(stack_free(first, size), 0);
        long before = thread_faults();
        for (int i = 0; i < 100; i++) {
            char *stack = stack_alloc(size);
            for (size_t k = 0; k < size; k += PAGE)
                *(volatile char *)(stack + k) = 1;
            stack_free(stack, size);
        }
        assert_int_equal(thread_faults() - before, 0);
    }
}

static void
child_reuse_quietly(void *arg)
{
    (void)arg;
    FOR_SIZES(size)
    CHECK(stack_free(stack_alloc(size), size) == 0);
    forbid_system_calls();
    for (int i = 0; i < 1000; i++)
        FOR_SIZES(size)
        {
            void *stack = stack_alloc(size);
            if (stack == NULL || stack_free(stack, size) != 0 || stack_free(stack, size) == 0)
                _exit(1);
        }
    _exit(0); /* exit_group, without flushing */
}

static void
test_reuse_makes_no_system_call(void **state)
{
    (void)state;
    if (SANITIZED)
        skip();
    must_succeed(child_reuse_quietly, NULL);
}

static void
child_build_quietly(void *arg)
{
    (void)arg;
    void *stack;
    CHECK((stack = stack_alloc(256 * KIB)) != NULL);
    forbid_system_calls();
    for (int i = 0; i < 10000; i++) /* cached ones run out */
        stack = stack_alloc(256 * KIB);
}

/* The filter does work: construction needs system calls and dies. */
static void
test_construction_makes_system_calls(void **state)
{
    (void)state;
    if (SANITIZED)
        skip();
    int status = run_child(child_build_quietly, NULL);
    if (WIFEXITED(status) && WEXITSTATUS(status) == CHILD_SKIP)
        skip();
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSYS);
}

static void
child_reap(void *arg)
{
    (void)arg;
    enum { COUNT = 64 };
    static char *stacks[COUNT];
    umem_reap();
    long before = status_kib("RssAnon:"), address_space = status_kib("VmSize:");
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < COUNT; i++) {
            CHECK((stacks[i] = stack_alloc(MIB)) != NULL);
            CHECK(resident_pages(stacks[i], MIB) == MIB / PAGE);
            CHECK(!is_readable(stacks[i] - 1) && !is_readable(stacks[i] + MIB));
            memset(stacks[i], 1, MIB);
        }
        long full = status_kib("RssAnon:");
        for (int i = 0; i < COUNT; i++)
            CHECK(stack_free(stacks[i], MIB) == 0);
        umem_reap();
        umem_reap();
        CHECK(full - before >= 64 * 1024);
        /* What this thread's own magazines hold may stay. */
        CHECK(status_kib("RssAnon:") - before <= 40 * 1024);
        for (int i = 0; i < COUNT; i++)
            CHECK(is_refused(stacks[i], MIB));
    }
    /* Slabs whose stacks are all free are unmapped: no growth over the rounds. */
    CHECK(status_kib("VmSize:") - address_space <= 60 * 1024);
}

static void
test_reap_gives_memory_back(void **state)
{
    (void)state;
    if (SANITIZED)
        skip();
    must_succeed(child_reap, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        /* These three first: fresh stacks, and no child yet that shares them copy-on-write. */
        cmocka_unit_test(test_contents_are_left_alone),
        cmocka_unit_test(test_every_page_is_in_memory),
        cmocka_unit_test(test_reuse_faults_nothing),
        cmocka_unit_test(test_reap_gives_memory_back),
        cmocka_unit_test(test_guards_stop_reads_and_writes),
        cmocka_unit_test(test_a_running_thread_is_stopped),
        cmocka_unit_test(test_every_stack_has_its_own_guards),
        cmocka_unit_test(test_reuse_makes_no_system_call),
        cmocka_unit_test(test_construction_makes_system_calls),
    };
    return cmocka_run_group_tests_name("stackalloc/build", tests, NULL, NULL);
}
