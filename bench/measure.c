/* SPDX-License-Identifier: MIT */
/*
 * measure.c - runs a program under an allocator and writes its wall time and
 * its peak resident memory.
 *
 *   measure OUTPUT PRELOAD|- PROGRAM ARGUMENT...
 *
 * Small and without the preload itself: the kernel counts into a program's
 * peak what the process that started it held.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double
now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int
main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: measure OUTPUT PRELOAD|- PROGRAM ARGUMENT...\n");
        return 2;
    }
    double start = now_s();
    pid_t pid = fork();
    if (pid == 0) {
        if (strcmp(argv[2], "-") != 0)
            setenv("LD_PRELOAD", argv[2], 1);
        execvp(argv[3], argv + 3);
        _exit(127);
    }
    int status;
    struct rusage usage;
    while (wait4(pid, &status, 0, &usage) < 0)
        if (errno != EINTR)
            return 2;
    double elapsed = now_s() - start;
    FILE *output = fopen(argv[1], "w");
    if (output == NULL || fprintf(output, "%.6f %ld\n", elapsed, usage.ru_maxrss) < 0 ||
        fclose(output) != 0)
        return 2;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
