/* SPDX-License-Identifier: MIT */
/*
 * Prints whether the process is a secure one, and what shows which settings of
 * the library are in force: what fresh memory holds, how many threads there are,
 * which signals have handlers, whether 10 MiB can be had.
 */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <unistd.h>

static int
threads(void)
{
    DIR *tasks = opendir("/proc/self/task");
    int count = 0;

    if (tasks == NULL)
        return -1;
    for (struct dirent *entry; (entry = readdir(tasks)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(tasks);
    return count;
}

static const char *
handler_of(int number)
{
    struct sigaction action;

    sigaction(number, NULL, &action);
    return action.sa_handler == SIG_DFL ? "default" : "taken";
}

int
main(void)
{
    unsigned *p = malloc(400);
    __asm__ volatile("" : "+r"(p));
    if (p == NULL)
        return 1;
    printf("secure %lu, euid %u, fresh memory %08x\n", getauxval(AT_SECURE), geteuid(), p[50]);
    free(p);
    void *large = malloc(10 << 20);
    __asm__ volatile("" : "+r"(large));
    printf("threads %d, SEGV %s, USR1 %s, 10 MiB %s\n", threads(), handler_of(SIGSEGV),
           handler_of(SIGUSR1), large != NULL ? "ok" : "refused");
    free(large);
    return 0;
}
