/* SPDX-License-Identifier: MIT */
/* A child of fork() frees what its parent overran; the parent lives. */
#include "death.h"
#include <sys/wait.h>
#include <unistd.h>

int
main(void)
{
    int status = 0;
    char *p = make_buffer(32);
    scribble(p, 32, 1);
    pid_t pid = fork();
    if (pid == 0) {
        drop_buffer(p);
        _exit(0);
    }
    waitpid(pid, &status, 0);
    printf("child: signal %d\n", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    return 0;
}
