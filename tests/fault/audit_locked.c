/* SPDX-License-Identifier: MIT */
/*
 * audit_locked.c - after mlockall(MCL_CURRENT | MCL_FUTURE), threads that
 * allocate from a few places each; prints the kilobytes that are locked for one
 * of them, its stack not counted.  77: memory cannot be locked here.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define THREADS 48
#define STACK_SIZE (128 << 10)
#define SKIPPED 77

static pthread_barrier_t barrier;
static char stacks[THREADS][STACK_SIZE] __attribute__((aligned(4096)));

__attribute__((noipa)) static void
recurse(unsigned depth)
{
    if (depth == 0)
        free(malloc(100));
    else
        recurse(depth - 1);
    __asm__ volatile("" : : : "memory");
}

static void *
thread_main(void *arg)
{
    for (unsigned depth = 0; depth < 20; depth++)
        recurse(depth);
    pthread_barrier_wait(&barrier); /* all have allocated */
    pthread_barrier_wait(&barrier); /* and it has been looked */
    return arg;
}

static long
locked_kb(void)
{
    char line[256];
    long kb = -1;
    FILE *status = fopen("/proc/self/status", "r");

    while (status != NULL && fgets(line, sizeof(line), status) != NULL)
        if (strncmp(line, "VmLck:", 6) == 0)
            kb = strtol(line + 6, NULL, 10);
    if (status != NULL)
        fclose(status);
    return kb;
}

int
main(void)
{
    pthread_t thread[THREADS];
    pthread_attr_t attr;
    const struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};

    (void)setrlimit(RLIMIT_MEMLOCK, &all);
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
        return SKIPPED;
    recurse(20);
    pthread_attr_init(&attr);
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    long before = locked_kb();
    for (int i = 0; i < THREADS; i++) {
        pthread_attr_setstack(&attr, stacks[i], STACK_SIZE);
        if (pthread_create(&thread[i], &attr, thread_main, NULL) != 0)
            return 1;
    }
    pthread_barrier_wait(&barrier);
    printf("%ld\n", (locked_kb() - before) / THREADS);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    return before < 0;
}
