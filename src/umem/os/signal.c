/* SPDX-License-Identifier: MIT */
/*
 * signal.c - a signal by which the process is asked for something: see signal.h.
 *
 * State: the flag, written once, before the handler is there.
 */
#include "os/signal.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

static _Atomic bool *flag;

static void
on_signal(int number)
{
    (void)number;
    atomic_store_explicit(flag, true, memory_order_relaxed);
}

int
os_signal_flag(int number, _Atomic bool *set)
{
    struct sigaction action;

    if (sigaction(number, NULL, &action) != 0)
        return -1;
    if ((action.sa_flags & SA_SIGINFO) != 0 || action.sa_handler != SIG_DFL) {
        errno = EBUSY;
        return -1;
    }
    flag = set;
    memset(&action, 0, sizeof(action));
    sigemptyset(&action.sa_mask);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART | SA_ONSTACK; /* the program knows nothing of it */
    return sigaction(number, &action, NULL);
}
