/* SPDX-License-Identifier: MIT */
/*
 * Allocates or frees in a handler of signals, on the thread's stack or on an
 * alternate one, at some depth below the handler; or only beside one.
 */
#include <signal.h>

#include "death.h"

static void *volatile kept;
static const char *what;

KEEP void
deep(int depth)
{
    if (depth > 0)
        deep(depth - 1);
    else if (strcmp(what, "free") == 0)
        drop_buffer(kept);
    else if (strcmp(what, "large") == 0)
        kept = make_buffer(1 << 20);
    else if (strcmp(what, "outside") != 0)
        kept = make_buffer(100);
    __asm__ volatile("");
}

KEEP void
on_signal(int number)
{
    (void)number;
    deep(strcmp(what, "deep") == 0 ? 100 : 1);
}

int
main(int argc, char **argv)
{
    static char stack[256 << 10];
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof(stack)};
    struct sigaction action = {.sa_handler = on_signal};

    what = argc > 1 ? argv[1] : "malloc";
    kept = make_buffer(100);
    if (strcmp(what, "alternate") == 0) {
        sigaltstack(&alternate, NULL);
        action.sa_flags = SA_ONSTACK;
    }
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
    drop_buffer(make_buffer(200));
    return survived();
}
