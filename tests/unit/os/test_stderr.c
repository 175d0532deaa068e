/* SPDX-License-Identifier: MIT */
/*
 * test_stderr.c - text to a pipe, slowly read and broken, to a full and a
 * closed file: no signal, no error, and the caller's own SIGPIPE kept.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "os/stderr.h"

static int real_stderr;
static char text[300000]; /* more than a pipe holds */

static int
setup(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)('a' + i % 25);
    real_stderr = dup(STDERR_FILENO);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    (void)dup2(real_stderr, STDERR_FILENO);
    (void)close(real_stderr);
    return 0;
}

static void *
read_all(void *arg)
{
    static char got[sizeof(text)];
    size_t size = 0;

    for (ssize_t n; (n = read(*(int *)arg, got + size, 1000)) > 0;)
        size += (size_t)n;
    return size == sizeof(text) && memcmp(got, text, size) == 0 ? arg : NULL;
}

static void
slow_reader(void **state)
{
    pthread_t thread;
    void *same;
    int fds[2];

    (void)state;
    assert_int_equal(pipe(fds), 0);
    (void)dup2(fds[1], STDERR_FILENO);
    (void)close(fds[1]);
    pthread_create(&thread, NULL, read_all, &fds[0]);
    os_stderr(text, sizeof(text));
    (void)close(STDERR_FILENO);
    pthread_join(thread, &same);
    (void)close(fds[0]);
    assert_non_null(same);
}

static void *
read_a_little(void *arg)
{
    char some[5000];
    size_t size = 0;

    while (size < 100000)
        size += (size_t)read(*(int *)arg, some, sizeof(some));
    (void)close(*(int *)arg);
    return NULL;
}

/* The reader goes in the midst of a write: part of it is done, SIGPIPE comes all the same. */
static void
reader_leaves(void **state)
{
    pthread_t thread;
    sigset_t pending;
    int fds[2];

    (void)state;
    assert_int_equal(pipe(fds), 0);
    (void)dup2(fds[1], STDERR_FILENO);
    (void)close(fds[1]);
    pthread_create(&thread, NULL, read_a_little, &fds[0]);
    errno = EDOM;
    os_stderr(text, sizeof(text));
    os_stderr(text, 10);
    assert_int_equal(errno, EDOM);
    pthread_join(thread, NULL);
    (void)sigpending(&pending);
    assert_int_equal(sigismember(&pending, SIGPIPE), 0);
    (void)close(STDERR_FILENO);
}

/* One that was pending before stays pending. */
static void
own_sigpipe(void **state)
{
    sigset_t set, old, pending;
    struct timespec no_time = {0, 0};
    int fds[2];

    (void)state;
    assert_int_equal(pipe(fds), 0);
    (void)dup2(fds[1], STDERR_FILENO);
    (void)close(fds[1]);
    (void)close(fds[0]);
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    (void)pthread_sigmask(SIG_BLOCK, &set, &old);
    (void)raise(SIGPIPE);
    os_stderr(text, 10);
    (void)sigpending(&pending);
    assert_int_equal(sigismember(&pending, SIGPIPE), 1);
    assert_int_equal(sigtimedwait(&set, NULL, &no_time), SIGPIPE);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    (void)close(STDERR_FILENO);
}

static void
full_or_closed(void **state)
{
    (void)state;
    (void)dup2(open("/dev/full", O_WRONLY), STDERR_FILENO);
    errno = EDOM;
    os_stderr(text, 10);
    (void)close(STDERR_FILENO);
    os_stderr(text, 10);
    assert_int_equal(errno, EDOM);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(slow_reader, setup, teardown),
        cmocka_unit_test_setup_teardown(reader_leaves, setup, teardown),
        cmocka_unit_test_setup_teardown(own_sigpipe, setup, teardown),
        cmocka_unit_test_setup_teardown(full_or_closed, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
