/* SPDX-License-Identifier: MIT */
/*
 * test_signal.c - a signal sets the flag, and interrupts nothing that can go on;
 * one that the program has taken is left alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "os/signal.h"

static _Atomic bool asked;
static volatile sig_atomic_t seen;

static void
note(int number)
{
    seen = number;
}

static void
note_more(int number, siginfo_t *info, void *context)
{
    (void)info;
    (void)context;
    seen = number;
}

static void
test_sets(void **state)
{
    (void)state;
    assert_int_equal(os_signal_flag(SIGUSR1, &asked), 0);
    assert_false(asked);
    for (int i = 0; i < 3; i++) {
        raise(SIGUSR1);
        assert_true(asked);
        asked = false;
    }
}

/* A handler of the program's, of either kind, or that it ignores it. */
static void
test_taken(void **state)
{
    struct sigaction action = {.sa_flags = SA_SIGINFO}, after;

    (void)state;
    action.sa_sigaction = note_more;
    signal(SIGUSR2, note);
    sigaction(SIGHUP, &action, NULL);
    signal(SIGQUIT, SIG_IGN);
    static const int taken[] = {SIGUSR2, SIGHUP, SIGQUIT};
    for (size_t i = 0; i < UMEM_ARRAY_SIZE(taken); i++) {
        errno = 0;
        assert_int_equal(os_signal_flag(taken[i], &asked), -1);
        assert_int_equal(errno, EBUSY);
        raise(taken[i]);
        assert_int_equal(seen, taken[i] == SIGQUIT ? 0 : taken[i]);
        seen = 0;
    }
    assert_false(asked);
    sigaction(SIGQUIT, NULL, &after);
    assert_ptr_equal(after.sa_handler, SIG_IGN);
    assert_int_equal(os_signal_flag(SIGKILL, &asked), -1);
    assert_int_equal(os_signal_flag(-1, &asked), -1);
}

static int ends[2];

static void *
interrupt(void *reader)
{
    for (int i = 0; i < 20; i++) {
        pthread_kill(*(pthread_t *)reader, SIGUSR1);
        usleep(1000);
    }
    return write(ends[1], "x", 1) == 1 ? NULL : reader;
}

static void
test_restarts(void **state)
{
    pthread_t self = pthread_self(), thread;
    char byte = 0;

    (void)state;
    assert_int_equal(pipe(ends), 0);
    asked = false;
    assert_int_equal(pthread_create(&thread, NULL, interrupt, &self), 0);
    assert_int_equal(read(ends[0], &byte, 1), 1);
    assert_int_equal(byte, 'x');
    pthread_join(thread, NULL);
    assert_true(asked);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sets),
        cmocka_unit_test(test_taken),
        cmocka_unit_test(test_restarts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
