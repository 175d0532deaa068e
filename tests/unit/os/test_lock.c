/* SPDX-License-Identifier: MIT */
/*
 * test_lock.c - mutual exclusion, waiting, resetting in the child of a fork,
 * and the order of ranks where assertions are on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/lock.h"

enum { THREADS = 4, TURNS = 100000 };

static struct umem_lock lock = UMEM_LOCK_INIT(UMEM_RANK_META);
static long counter;

static void *
count(void *arg)
{
    (void)arg;
    for (int i = 0; i < TURNS; i++) {
        if (i % 7 != 0 || !umem_lock_try(&lock))
            umem_lock_acquire(&lock);
        counter++;
        umem_lock_release(&lock);
    }
    return NULL;
}

static void
test_exclusion(void **state)
{
    pthread_t threads[THREADS];

    (void)state;
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, count, NULL);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(counter, THREADS * TURNS);
    assert_false(umem_lock_is_held(&lock));
}

static void *
acquire_and_release(void *arg)
{
    umem_lock_acquire(&lock);
    *(_Atomic int *)arg = 1;
    umem_lock_release(&lock);
    return NULL;
}

static void
test_wait(void **state)
{
    _Atomic int passed = 0;
    pthread_t thread;

    (void)state;
    umem_lock_acquire(&lock);
    assert_true(umem_lock_is_held(&lock));
    pthread_create(&thread, NULL, acquire_and_release, &passed);
    usleep(30000); /* long past the spin: it sleeps */
    assert_int_equal(passed, 0);
    assert_int_equal(atomic_load(&lock.lock_word), 2);
    umem_lock_release(&lock);
    pthread_join(thread, NULL);
    assert_int_equal(passed, 1);
}

static void
test_try(void **state)
{
    (void)state;
    assert_true(umem_lock_try(&lock));
    assert_false(umem_lock_try(&lock));
    umem_lock_release(&lock);
}

static void
test_fork(void **state)
{
    struct umem_lock second = UMEM_LOCK_INIT(UMEM_RANK_META);
    int status;

    (void)state;
    umem_lock_acquire_fork(&lock);
    umem_lock_acquire_fork(&second); /* the same rank: fork may */
    pid_t pid = fork();
    if (pid == 0) {
        umem_lock_reset_child(&lock);
        umem_lock_reset_child(&second);
        bool free = !umem_lock_is_held(&lock) && umem_lock_try(&lock);
        _exit(free ? 0 : 1);
    }
    umem_lock_release(&second);
    umem_lock_release(&lock);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* A rank taken below one that is held is a bug of ours: builds with assertions die of it. */
static void
test_rank(void **state)
{
#ifdef UMEM_ASSERTIONS
    struct umem_lock low = UMEM_LOCK_INIT(UMEM_RANK_SLAB);
    int status;

    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        close(2);
        umem_lock_acquire(&lock);
        umem_lock_acquire(&low);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    umem_lock_acquire(&low);
    umem_lock_acquire(&lock);
    umem_lock_release(&low); /* any order of release is right */
    umem_lock_release(&lock);
#else
    (void)state;
    skip();
#endif
}

#ifdef UMEM_HAVE_SINGLE_THREADED
static void *
is_alone(void *arg)
{
    *(bool *)arg = os_thread_is_alone();
    return NULL;
}

/* First of all, before there is another thread. */
static void
test_alone(void **state)
{
    bool alone = true;
    pthread_t thread;

    (void)state;
    assert_true(os_thread_is_alone());
    pthread_create(&thread, NULL, is_alone, &alone);
    pthread_join(thread, NULL);
    assert_false(alone);
}
#endif

int
main(void)
{
    const struct CMUnitTest tests[] = {
#ifdef UMEM_HAVE_SINGLE_THREADED
        cmocka_unit_test(test_alone),
#endif
        cmocka_unit_test(test_exclusion), cmocka_unit_test(test_wait), cmocka_unit_test(test_try),
        cmocka_unit_test(test_fork),      cmocka_unit_test(test_rank),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
