/* SPDX-License-Identifier: MIT */
/*
 * test_fault.c - a fault is explained and then goes its way: to the handler of
 * before as it asked to be called, or to the signal's default.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/fault.h"
#include "os/os.h"

static int ends[2];
static char *page;

static void
explain(const struct os_fault *fault)
{
    if (write(ends[1], fault, sizeof(*fault)) != sizeof(*fault))
        _exit(99);
}

static void
plain(int number)
{
    _exit(number == SIGSEGV ? 10 : 11);
}

static void
full(int number, siginfo_t *info, void *context)
{
    sigset_t blocked;

    (void)pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    _exit(number == SIGSEGV && context != NULL && info->si_addr == page + 3 &&
                  sigismember(&blocked, SIGUSR1) == 1 && sigismember(&blocked, SIGSEGV) == 0
              ? 20
              : 21);
}

enum before { NOTHING, IGNORED, PLAIN, FULL };
enum event { WRITES, READS, SENT };

/* What becomes of a child that had this handler before ours, and what was explained. */
static int
outcome(enum before before, enum event event, struct os_fault *fault)
{
    int status;

    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct sigaction action = {.sa_handler = SIG_DFL};
        if (before == IGNORED)
            action.sa_handler = SIG_IGN;
        if (before == PLAIN)
            action.sa_handler = plain;
        if (before == FULL) {
            action.sa_sigaction = full;
            action.sa_flags = SA_SIGINFO | SA_NODEFER;
            sigaddset(&action.sa_mask, SIGUSR1);
        }
        sigaction(SIGSEGV, &action, NULL);
        os_fault_init(explain);
        if (event == WRITES)
            *(volatile char *)(page + 3) = 1;
        else if (event == READS)
            (void)*(volatile char *)(page + 3);
        else
            kill(getpid(), SIGSEGV);
        _exit(0);
    }
    close(ends[1]);
    memset(fault, 0, sizeof(*fault));
    (void)!read(ends[0], fault, sizeof(*fault));
    close(ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static void
test_explained(void **state)
{
    struct os_fault fault;

    (void)state;
    for (enum before before = NOTHING; before <= FULL; before++) {
        int wanted = before == PLAIN ? 10 : before == FULL ? 20 : -SIGSEGV;
        assert_int_equal(outcome(before, WRITES, &fault), wanted);
        assert_int_equal(fault.fault_addr, (uintptr_t)page + 3);
        assert_int_equal(fault.fault_cause, OS_FAULT_PROTECTED);
#if defined(__x86_64__)
        assert_int_equal(fault.fault_access, OS_ACCESS_WRITE);
        assert_true(fault.fault_pc > (uintptr_t)outcome &&
                    fault.fault_pc < (uintptr_t)test_explained);
        assert_true((uintptr_t)&fault - fault.fault_sp < os_page_size());
#endif
        assert_int_equal(outcome(before, READS, &fault), wanted);
#if defined(__x86_64__)
        assert_int_equal(fault.fault_access, OS_ACCESS_READ);
#endif
    }
}

/* There is no address to explain, and the signal has to be sent again. */
static void
test_sent(void **state)
{
    struct os_fault fault;

    (void)state;
    assert_int_equal(outcome(NOTHING, SENT, &fault), -SIGSEGV);
    assert_int_equal(fault.fault_addr, 0);
    assert_int_equal(outcome(IGNORED, SENT, &fault), 0);
    assert_int_equal(outcome(PLAIN, SENT, &fault), 10);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_explained),
        cmocka_unit_test(test_sent),
    };
    page = mmap(NULL, os_page_size(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
