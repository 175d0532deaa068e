/* SPDX-License-Identifier: MIT */
/*
 * stack_fork.c - after fork(): a child takes the faults of copying its stacks
 * at once, before its work begins.
 */
#include <stackalloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static long
faults(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt;
}

int
main(void)
{
    const size_t size = 256 * 1024;
    char *stack = stack_alloc(size);
    int status = 1;

    if (stack == NULL)
        return 1;
    memset(stack, 1, size); /* 64 pages of 4 KiB */
    if (fork() == 0) {
        if (stack_reprefault() != 0)
            _exit(1);
        long before = faults();
        memset(stack, 2, size);
        long taken = faults() - before;
        printf("the child's writes: %s\n", taken < 4 ? "no faults" : "many faults");
        return 0;
    }
    wait(&status);
    return status;
}
