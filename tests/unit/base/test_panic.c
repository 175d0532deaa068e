/* SPDX-License-Identifier: MIT */
/*
 * test_panic.c - a broken invariant is one line on stderr and SIGABRT, whatever
 * handler or mask the program has.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"

static void
test_verify(void **state)
{
    char text[512] = "";
    int ends[2], status;

    (void)state;
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        sigset_t all;
        sigfillset(&all);
        sigprocmask(SIG_BLOCK, &all, NULL);
        signal(SIGABRT, SIG_IGN);
        dup2(ends[1], 2);
        UMEM_VERIFY(ends[0] == ends[1]);
        _exit(0);
    }
    close(ends[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_true(read(ends[0], text, sizeof(text) - 1) > 0);
    close(ends[0]);
    assert_non_null(strstr(text, "umem: "));
    assert_non_null(strstr(text, "test_panic.c:"));
    assert_non_null(strstr(text, "ends[0] == ends[1]\n"));
}

static void
test_holds(void **state)
{
    (void)state;
    UMEM_VERIFY(state != (void *)1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verify),
        cmocka_unit_test(test_holds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
