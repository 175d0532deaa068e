/* SPDX-License-Identifier: MIT */
/*
 * More large blocks than a process may have mappings (vm.max_map_count), every
 * other one freed: the holes must not use up the mappings, which the program
 * needs for threads and modules.  Nothing is touched, so it costs addresses only.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { BLOCKS = 140000, SIZE = 1000000, MAPPINGS = 1000 };
static void *block[BLOCKS];

static void *
nothing(void *arg)
{
    return arg;
}

/* Mappings that cannot merge with one another, as files and stacks are. */
static int
map_many(void)
{
    for (int i = 0; i < MAPPINGS; i++) {
        int protection = i % 2 ? PROT_READ : PROT_READ | PROT_WRITE;
        if (mmap(NULL, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
            return i;
    }
    return MAPPINGS;
}

int
main(void)
{
    pthread_t t;
    for (int i = 0; i < BLOCKS; i++) {
        __asm__ volatile("" : : : "memory");
        if ((block[i] = malloc(SIZE)) == NULL)
            return 77; /* this machine does not overcommit */
    }
    for (int i = 0; i < BLOCKS; i += 2)
        free(block[i]);
    int mapped = map_many();
    int thread = pthread_create(&t, NULL, nothing, NULL);
    if (thread == 0)
        pthread_join(t, NULL);
    for (int i = 1; i < BLOCKS; i += 2)
        free(block[i]);
    printf("mapped %d, thread %d\n", mapped, thread);
    return mapped == MAPPINGS && thread == 0 ? 0 : 1;
}
