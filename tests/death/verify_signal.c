/* SPDX-License-Identifier: MIT */
/*
 * Is asked by SIGUSR1 to look at its heap.
 *
 *   verify_signal sound | overrun   (sends it, then allocates)
 *                 idle              (sends it with damage, then only waits)
 *                 handled           (has a handler of its own before it allocates)
 *                 replaced          (installs one later)
 *                 child             (overruns and sends it in the child of a fork)
 *                 large             (allocates blocks over 128 KiB only)
 *                 wait              (for a command instead of a signal)
 */
#include "death.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t handled;

static void
handle(int number)
{
    (void)number;
    handled = 1;
}

static int
in_child(void)
{
    char *p = make_buffer(40);
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        scribble(p, 40, 1);
        raise(SIGUSR1);
        other_work();
        _exit(3);
    }
    waitpid(pid, &status, 0);
    printf("child %s\n", WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT ? "died" : "lived");
    raise(SIGUSR1);
    other_work();
    return survived();
}

int
main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "";

    if (strcmp(how, "handled") == 0)
        signal(SIGUSR1, handle);
    char *p = make_buffer(40);
    if (strcmp(how, "replaced") == 0)
        signal(SIGUSR1, handle);
    if (strcmp(how, "child") == 0)
        return in_child();
    if (strcmp(how, "sound") != 0)
        scribble(p, 40, 1);
    if (strcmp(how, "wait") == 0) {
        puts("ready");
        fflush(stdout);
        sleep(30);
    }
    raise(SIGUSR1);
    if (strcmp(how, "idle") == 0)
        sleep(30);
    for (int i = 0; i < 3; i++)
        drop_buffer(make_buffer(strcmp(how, "large") == 0 ? 200000 : 64));
    if (handled)
        puts("handled");
    survived();
    _exit(0); /* before anything is found at exit */
}
