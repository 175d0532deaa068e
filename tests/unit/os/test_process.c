/* SPDX-License-Identifier: MIT */
/*
 * test_process.c - environment before and after libc has one, ids, output that
 * is whole or given up, futexes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/os.h"

static void
test_getenv(void **state)
{
    (void)state;
    setenv("UMEM_TEST_A", "one", 1);
    setenv("UMEM_TEST_AB", "two", 1);
    setenv("UMEM_TEST_EMPTY", "", 1);
    assert_string_equal(os_getenv("UMEM_TEST_A"), "one");
    assert_string_equal(os_getenv("UMEM_TEST_AB"), "two");
    assert_string_equal(os_getenv("UMEM_TEST_EMPTY"), "");
    assert_null(os_getenv("UMEM_TEST"));
    assert_null(os_getenv("UMEM_TEST_ABC"));
}

/* The dynamic loader allocates before libc knows its environment. */
static void
test_getenv_early(void **state)
{
    char **saved = environ;
    const char *path = getenv("PATH");

    (void)state;
    assert_non_null(path);
    environ = NULL;
    const char *early = os_getenv("PATH");
    const char *absent = os_getenv("UMEM_TEST_A"); /* set after exec: the kernel has it not */
    environ = saved;
    assert_non_null(early);
    assert_string_equal(early, path);
    assert_null(absent);
}

static void
test_ids(void **state)
{
    (void)state;
    assert_int_equal(os_process_id(), (uint32_t)getpid());
    assert_int_equal(os_thread_id(), (uint32_t)syscall(SYS_gettid));
    assert_true(os_cpu_count() >= 1);
    assert_false(os_secure());
}

static void
test_write(void **state)
{
    static char text[1 << 18], back[1 << 18];
    int ends[2];
    size_t got = 0;

    (void)state;
    memset(text, 'a', sizeof(text));
    text[sizeof(text) - 1] = 'z';
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        os_write(ends[1], text, sizeof(text)); /* more than a pipe holds: several writes */
        _exit(0);
    }
    close(ends[1]);
    for (ssize_t n; (n = read(ends[0], back + got, sizeof(back) - got)) > 0;)
        got += (size_t)n;
    waitpid(pid, NULL, 0);
    assert_int_equal(got, sizeof(text));
    assert_memory_equal(text, back, sizeof(text));
    close(ends[0]);

    errno = 99;
    os_write(-1, text, 10); /* closed: given up, errno kept */
    assert_int_equal(errno, 99);
    int full = open("/dev/full", O_WRONLY);
    os_write(full, text, 10);
    close(full);
}

static void
test_abort(void **state)
{
    int status;

    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        sigset_t all;
        sigfillset(&all);
        sigprocmask(SIG_BLOCK, &all, NULL);
        signal(SIGABRT, SIG_IGN);
        os_abort();
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static _Atomic uint32_t word;

static void *
wake(void *arg)
{
    (void)arg;
    usleep(20000);
    atomic_store(&word, 1);
    os_futex_wake(&word, 1);
    return NULL;
}

static void
test_futex(void **state)
{
    pthread_t thread;

    (void)state;
    errno = 99;
    os_futex_wait(&word, 7); /* another value: returns at once */
    pthread_create(&thread, NULL, wake, NULL);
    while (atomic_load(&word) == 0)
        os_futex_wait(&word, 0);
    pthread_join(thread, NULL);
    assert_int_equal(errno, 99);
}

/* Never said of a processor without; of one with, wherever libc can tell. */
static void
test_has_avx2(void **state)
{
    (void)state;
#if defined(__x86_64__)
    assert_true(!os_has_avx2() || __builtin_cpu_supports("avx2"));
#if __has_include(<sys/platform/x86.h>)
    assert_true(os_has_avx2() || !__builtin_cpu_supports("avx2"));
#endif
#else
    assert_false(os_has_avx2());
#endif
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_getenv),   cmocka_unit_test(test_getenv_early),
        cmocka_unit_test(test_ids),      cmocka_unit_test(test_write),
        cmocka_unit_test(test_abort),    cmocka_unit_test(test_futex),
        cmocka_unit_test(test_has_avx2),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
