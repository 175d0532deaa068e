/* SPDX-License-Identifier: MIT */
/*
 * Tries to outlive SIGABRT: by a handler that returns, by ignoring it, by
 * blocking it, by leaving the handler with longjmp.
 */
#include "death.h"
#include <setjmp.h>
#include <signal.h>

static sigjmp_buf back;

static void
on_abort(int signal)
{
    (void)signal;
}

static void
on_abort_jump(int signal)
{
    (void)signal;
    siglongjmp(back, 1);
}

int
main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "";
    sigset_t abort_only;
    sigemptyset(&abort_only);
    sigaddset(&abort_only, SIGABRT);
    if (strcmp(how, "handler") == 0)
        signal(SIGABRT, on_abort);
    else if (strcmp(how, "longjmp") == 0)
        signal(SIGABRT, on_abort_jump);
    else if (strcmp(how, "ignored") == 0)
        signal(SIGABRT, SIG_IGN);
    else
        sigprocmask(SIG_BLOCK, &abort_only, NULL);
    if (sigsetjmp(back, 1) == 0) {
        char *p = make_buffer(32);
        scribble(p, 32, 1);
        drop_buffer(p);
    }
    return survived();
}
