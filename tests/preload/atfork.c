/* SPDX-License-Identifier: MIT */
/*
 * Handlers of pthread_atfork() that allocate and free, registered before the
 * process has ever called malloc.  The argument says how many; with more than
 * 48 libc's list of them has to grow, by malloc, under the lock that guards it.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FORKS = 20 };

static char *kept[3];
static int calls[3];
static int handlers;

static void
use_heap(int phase)
{
    free(kept[phase]);
    kept[phase] = malloc(1000 + (size_t)calls[phase] * 100);
    if (kept[phase] == NULL)
        _exit(9);
    memset(kept[phase], phase, 1000);
    calls[phase]++;
}

static void
prepare(void)
{
    use_heap(0);
}

static void
parent(void)
{
    use_heap(1);
}

static void
child(void)
{
    use_heap(2);
}

int
main(int argc, char **argv)
{
    handlers = argc > 1 ? atoi(argv[1]) : 1;
    for (int i = 0; i < handlers; i++)
        if (pthread_atfork(prepare, parent, child) != 0)
            return 3;
    for (int i = 0; i < FORKS; i++) {
        int status = 0;
        pid_t pid = fork();
        if (pid == 0) {
            free(malloc(100000));
            _exit(calls[2] == handlers ? 0 : 1);
        }
        if (waitpid(pid, &status, 0) != pid || status != 0)
            return 4;
    }
    printf("prepare %d, parent %d, child %d\n", calls[0], calls[1], calls[2]);
    return 0;
}
