/* SPDX-License-Identifier: MIT */
/*
 * A signal strikes while a report is being written, and its handler commits a
 * misuse of its own.  A child does that, its standard error a pipe that is full
 * until the handler has run; then what is in the pipe is passed on.
 */
#include "death.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define FILL_SIZE 4096

static char *freed;

static void
on_alarm(int signal)
{
    (void)signal;
    drop_buffer(freed);
}

static void
fill_up(int fd)
{
    static const char dots[FILL_SIZE];

    fcntl(fd, F_SETFL, O_NONBLOCK);
    while (write(fd, dots, sizeof(dots)) > 0)
        continue;
    fcntl(fd, F_SETFL, 0);
}

static void
report_twice(int fd)
{
    char *p = make_buffer(32);

    freed = make_buffer(48);
    drop_buffer(freed);
    signal(SIGALRM, on_alarm);
    fill_up(fd);
    dup2(fd, STDERR_FILENO);
    ualarm(200000, 0);
    scribble(p, 32, 1);
    drop_buffer(p);
    survived();
}

int
main(void)
{
    char text[FILL_SIZE];
    int fds[2], status;

    if (pipe(fds) != 0)
        return 2;
    pid_t child = fork();
    if (child == 0) {
        report_twice(fds[1]);
        return 0;
    }
    close(fds[1]);
    usleep(500000); /* by then the handler has been called */
    for (ssize_t n; (n = read(fds[0], text, sizeof(text))) > 0;)
        for (ssize_t i = 0; i < n; i++)
            if (text[i] != '\0')
                fputc(text[i], stderr);
    waitpid(child, &status, 0);
    printf("child: signal %d\n", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    return 0;
}
