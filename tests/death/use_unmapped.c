/* SPDX-License-Identifier: MIT */
/*
 * Touches a freed block of 5 MB whose memory the system has back.
 *
 *   use_unmapped read|write main|thread
 */
#include "death.h"

#include <stdbool.h>

#define SIZE 5000003

static char *block;
static bool writes;

KEEP void
touch(void)
{
    volatile char *p = opaque(block);

    if (writes)
        p[SIZE / 2] = 'A';
    else
        (void)p[SIZE / 2];
    __asm__ volatile("" : : : "memory");
}

static void *
thread_main(void *arg)
{
    touch();
    return arg;
}

int
main(int argc, char **argv)
{
    pthread_t thread;

    if (argc != 3)
        return 2;
    writes = strcmp(argv[1], "write") == 0;
    block = make_buffer(SIZE);
    memset(block, 1, SIZE);
    printf("%p\n", (void *)block);
    fflush(stdout);
    drop_buffer(block);
    if (strcmp(argv[2], "thread") == 0) {
        pthread_create(&thread, NULL, thread_main, NULL);
        pthread_join(thread, NULL);
    } else {
        touch();
    }
    return survived();
}
