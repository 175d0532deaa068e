/* SPDX-License-Identifier: MIT */
/*
 * test_deferred.c - a fiber frees the stack it stands on: nobody gets it
 * before the fiber has left it, and somebody does then.
 */
#include "stacktest.h"

#include <pthread.h>
#include <ucontext.h>

#define SIZE (64 * KIB)

static ucontext_t home, fiber;
static char *stack, *inside;

static bool
is_used(void)
{
    struct stack_info info;
    return stack_info(stack, &info) == 0 && info.info_state == STACK_IS_USED;
}

static void
last_words(void)
{
    CHECK(stack_free_deferred(stack, SIZE) == 0);
    CHECK(is_used());
    /* Spoken for. */
    CHECK(is_refused(stack, SIZE));
    CHECK(stack_free_deferred(stack, SIZE) == -1 && errno == EINVAL);
    /* The library is of use while one stands on it, and does not hand it out. */
    inside = stack_alloc(SIZE);
    CHECK(inside != NULL && inside != stack && is_used());
    CHECK(stack_free(inside, SIZE) == 0);
}

static void
run_fiber_of(void (*fn)(void))
{
    stack = stack_alloc(SIZE);
    getcontext(&fiber);
    fiber.uc_stack.ss_sp = stack;
    fiber.uc_stack.ss_size = SIZE;
    fiber.uc_link = &home;
    makecontext(&fiber, fn, 0);
    swapcontext(&home, &fiber);
}

static void
run_fiber(void)
{
    run_fiber_of(last_words);
}

static void *
other_thread(void *arg)
{
    char *got[8];
    for (int i = 0; i < 8; i++) {
        got[i] = stack_alloc(SIZE);
        CHECK(got[i] != NULL && got[i] != stack);
    }
    for (int i = 0; i < 8; i++)
        CHECK(stack_free(got[i], SIZE) == 0);
    return arg;
}

static void
test_taken_back_by_the_next_call(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        run_fiber();
        assert_true(is_used());
        if (i % 10 == 0) { /* not another thread's to take */
            pthread_t thread;
            assert_int_equal(pthread_create(&thread, NULL, other_thread, NULL), 0);
            pthread_join(thread, NULL);
            assert_true(is_used());
        }
        char *next = stack_alloc(SIZE);
        if (next != stack)
            assert_false(is_used());
        assert_int_equal(stack_free(next, SIZE), 0);
        assert_true(is_refused(stack, SIZE));
    }
}

static void *
fiber_of_thread(void *arg)
{
    run_fiber();
    return arg;
}

static void
test_taken_back_at_the_end_of_the_thread(void **state)
{
    (void)state;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, fiber_of_thread, NULL), 0);
    pthread_join(thread, NULL);
    assert_false(is_used());
}

/* --- After a fork --- */

static int
end_of(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        CHECK(errno == EINTR);
    return status;
}

static pthread_barrier_t left;

static void *
leaves_a_stack(void *arg)
{
    run_fiber();
    pthread_barrier_wait(&left);
    pthread_barrier_wait(&left);
    return arg;
}

/* A thread that the child does not have had freed one, and was not back yet. */
static void
child_without_the_thread(void *unused)
{
    (void)unused;
    pthread_t thread;
    pthread_barrier_init(&left, NULL, 2);
    CHECK(pthread_create(&thread, NULL, leaves_a_stack, NULL) == 0);
    pthread_barrier_wait(&left);
    CHECK(is_used());
    pid_t pid = fork();
    if (pid == 0) {
        CHECK(!is_used() && is_refused(stack, SIZE));
        _exit(0);
    }
    CHECK(pid > 0 && end_of(pid) == 0);
    CHECK(is_used());
    pthread_barrier_wait(&left);
    pthread_join(thread, NULL);
    CHECK(!is_used());
}

static void
forks_at_last(void)
{
    CHECK(stack_free_deferred(stack, SIZE) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        CHECK(is_used());
        setcontext(&home);
    }
    CHECK(pid > 0 && end_of(pid) == 0);
}

/* The child stands on one as its parent does. */
static void
child_that_stands_on_it(void *unused)
{
    (void)unused;
    pid_t parent = getpid();
    run_fiber_of(forks_at_last);
    CHECK(is_used());
    char *next = stack_alloc(2 * SIZE);
    CHECK(next != NULL && !is_used() && stack_free(next, 2 * SIZE) == 0);
    if (getpid() != parent)
        _exit(0);
}

static void
test_after_fork(void **state)
{
    (void)state;
    must_succeed(child_without_the_thread, NULL);
    must_succeed(child_that_stands_on_it, NULL);
}

static void
test_what_is_refused(void **state)
{
    (void)state;
    char *other = stack_alloc(SIZE);
    int local;
    void *const wrong[] = {NULL, &local, other + PAGE};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        errno = 0;
        assert_int_equal(stack_free_deferred(wrong[i], SIZE), -1);
        assert_int_equal(errno, EINVAL);
    }
    assert_int_equal(stack_free_deferred(other, 2 * SIZE), -1);
    /* One that has a name, and that nobody stands on. */
    stack_name(other, "other");
    assert_int_equal(stack_free_deferred(other, SIZE), 0);
    assert_int_equal(stack_free_deferred(other, SIZE), -1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_taken_back_by_the_next_call),
        cmocka_unit_test(test_taken_back_at_the_end_of_the_thread),
        cmocka_unit_test(test_after_fork),
        cmocka_unit_test(test_what_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
