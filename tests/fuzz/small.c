/* SPDX-License-Identifier: MIT */
/*
 * A program whose core is small: some blocks held, some lost, some free, and,
 * unless it is to be alone, a thread.  What the corpus of the fuzz targets is
 * made of.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCKS 60

static void *volatile held[BLOCKS];

static void
work(void)
{
    void *blocks[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc(16 + 24 * i);
        if (blocks[i] == NULL)
            abort();
        memset(blocks[i], 1, 16);
    }
    for (size_t i = 0; i < BLOCKS; i++) {
        if (i % 3 == 0)
            held[i] = blocks[i];
        else if (i % 3 == 1)
            free(blocks[i]);
    }
}

static void *
run(void *arg)
{
    work();
    pause();
    return arg;
}

int
main(int argc, char **argv)
{
    pthread_t thread;
    pthread_attr_t attr;
    work();
    (void)argv;
    if (argc == 1 &&
        (pthread_attr_init(&attr) != 0 || pthread_attr_setstacksize(&attr, 65536) != 0 ||
         pthread_create(&thread, &attr, run, NULL) != 0))
        return 1;
    usleep(100000);
    puts("ready");
    fflush(stdout);
    pause();
    return 0;
}
