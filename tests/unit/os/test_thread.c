/* SPDX-License-Identifier: MIT */
/*
 * test_thread.c - a thread of the library's own has a name, a small stack and
 * no signals; and it learns when it is alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/os.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

static _Atomic int ended;
static char name[16];
static sigset_t blocked;
static size_t stack_size;

static void *
look_at_self(void *arg)
{
    pthread_attr_t attr;

    os_thread_name("a name that is much too long");
    (void)prctl(PR_GET_NAME, name);
    (void)pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    if (pthread_getattr_np(pthread_self(), &attr) == 0) {
        (void)pthread_attr_getstacksize(&attr, &stack_size);
        (void)pthread_attr_destroy(&attr);
    }
    ended = 1;
    return arg;
}

static void
test_start(void **state)
{
    sigset_t before, after;

    (void)state;
    (void)pthread_sigmask(SIG_SETMASK, NULL, &before);
    errno = 77;
    assert_int_equal(os_thread_start(look_at_self), 0);
    assert_int_equal(errno, 77);
    while (!ended)
        os_sleep_ms(1);
    (void)pthread_sigmask(SIG_SETMASK, NULL, &after);
    assert_string_equal(name, "a name that is ");
    for (int sig = 1; sig < 32; sig++) {
        if (sig != SIGKILL && sig != SIGSTOP)
            assert_true(sigismember(&blocked, sig));
        assert_int_equal(sigismember(&before, sig), sigismember(&after, sig));
    }
    assert_true(stack_size > 0 && stack_size <= (size_t)1 << 23);
}

static void
test_sleep(void **state)
{
    (void)state;
    for (uint64_t ms = 0; ms <= 30; ms += 15) {
        uint64_t start = os_clock_ns();
        os_sleep_ms(ms);
        assert_true(os_clock_ns() - start >= ms * 1000000);
    }
}

/* Alone with the first thread it is not the last; after that one's end it is. */
static void *
wait_until_last(void *arg)
{
    for (int i = 0; i < 5000; i++) {
        if (os_thread_is_last())
            _exit(7);
        os_sleep_ms(1);
    }
    _exit(8);
    return arg;
}

static void *
linger(void *arg)
{
    os_sleep_ms(50);
    ended = 2;
    os_sleep_ms(50);
    return arg;
}

static void *
check_order(void *arg)
{
    for (int i = 0; i < 5000 && !os_thread_is_last(); i++)
        os_sleep_ms(1);
    _exit(ended == 2 ? 7 : 8);
    return arg;
}

static void
leave(void *(*first)(void *), void *(*second)(void *), bool main_stays)
{
    ended = 0;
    (void)os_thread_start(first);
    if (second != NULL)
        (void)os_thread_start(second);
    if (main_stays) {
        os_sleep_ms(100);
        _exit(9);
    }
    pthread_exit(NULL);
}

static int
status_of(void *(*first)(void *), void *(*second)(void *), bool main_stays)
{
    int status;
    pid_t pid = fork();

    if (pid == 0)
        leave(first, second, main_stays);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void
test_last(void **state)
{
    (void)state;
    assert_false(os_thread_is_last());
    if (SANITIZED)
        skip(); /* that has a thread of its own */
    assert_int_equal(status_of(wait_until_last, NULL, false), 7);
    assert_int_equal(status_of(wait_until_last, NULL, true), 9);
    assert_int_equal(status_of(check_order, linger, false), 7);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start),
        cmocka_unit_test(test_sleep),
        cmocka_unit_test(test_last),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
