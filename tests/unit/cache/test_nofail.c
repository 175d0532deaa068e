/* SPDX-License-Identifier: MIT */
/*
 * test_nofail.c - what becomes of an UMEM_NOFAIL allocation that fails: retry,
 * exit, leaving by longjmp() or pthread_exit(), exits that recurse or race.
 */
#include "support.h"

#define IMPOSSIBLE ((size_t)PTRDIFF_MAX)

static int calls;
static jmp_buf out;

static int
retry_then_exit(void)
{
    return ++calls < 5 ? UMEM_CALLBACK_RETRY : UMEM_CALLBACK_EXIT(42);
}

static int
leave(void)
{
    longjmp(out, 1);
}
static int
nonsense(void)
{
    return 7;
}
static int
end_thread(void)
{
    pthread_exit((void *)3);
}
static int
exit_3(void)
{
    return UMEM_CALLBACK_EXIT(3);
}

static void
fails(void)
{
    (void)umem_alloc(IMPOSSIBLE, UMEM_NOFAIL);
    _exit(99);
}

static void
retrying(void)
{
    umem_nofail_callback(retry_then_exit);
    fails();
}

static void
jumping(void)
{
    umem_nofail_callback(leave);
    if (setjmp(out) == 0)
        fails();
    /* No lock was held. */
    CHECK(umem_alloc(100, UMEM_NOFAIL) != NULL && verify_caches());
}

static void
speaking_nonsense(void)
{
    umem_nofail_callback(nonsense);
    fails();
}

static void *
fail_in_thread(void *arg)
{
    (void)arg;
    fails();
    return NULL;
}

static void
ending_thread(void)
{
    pthread_t thread;
    void *value;

    umem_nofail_callback(end_thread);
    CHECK(pthread_create(&thread, NULL, fail_in_thread, NULL) == 0);
    CHECK(pthread_join(thread, &value) == 0 && value == (void *)3);
    CHECK(umem_alloc(100, UMEM_NOFAIL) != NULL);
}

static void
exiting_in_threads(void)
{
    pthread_t threads[8];

    umem_nofail_callback(exit_3);
    for (int i = 0; i < 8; i++)
        CHECK(pthread_create(&threads[i], NULL, fail_in_thread, NULL) == 0);
    for (;;)
        pause();
}

static void
exiting_again(void)
{
    umem_nofail_callback(exit_3);
    atexit(fails);
    fails();
}

static void
test_exits(void **state)
{
    (void)state;
    assert_exits(fails, NULL, 255);
    assert_exits(retrying, NULL, 42);
    assert_exits(speaking_nonsense, NULL, 255);
    assert_exits(exiting_in_threads, NULL, 3);
}

static void
test_leaves(void **state)
{
    (void)state;
    assert_exits(jumping, NULL, 0);
    assert_exits(jumping, "default", 0);
    assert_exits(ending_thread, NULL, 0);
}

static void
test_recursive_exit(void **state)
{
    (void)state;
    assert_dies(exiting_again, NULL, "UMEM_NOFAIL");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exits),
        cmocka_unit_test(test_leaves),
        cmocka_unit_test(test_recursive_exit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
