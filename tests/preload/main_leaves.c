/* SPDX-License-Identifier: MIT */
/* The main thread ends by pthread_exit(); others go on with what it allocated. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCKS = 3000 };
static char *block[BLOCKS];

static void *
last(void *main_thread)
{
    pthread_join(*(pthread_t *)main_thread, NULL);
    for (int i = 0; i < BLOCKS; i++) {
        if (block[i][i % 100] != 'm')
            _exit(4);
        block[i] = realloc(block[i], (size_t)i * 7 + 1);
    }
    for (int i = 0; i < BLOCKS; i++)
        free(block[i]);
    for (int i = 0; i < 100000; i++)
        free(malloc((size_t)i % 4000));
    puts("went on");
    return NULL;
}

int
main(void)
{
    static pthread_t self;
    pthread_t t;
    self = pthread_self();
    for (int i = 0; i < BLOCKS; i++) {
        if ((block[i] = malloc(100)) == NULL)
            return 3;
        memset(block[i], 'm', 100);
    }
    if (pthread_create(&t, NULL, last, &self) != 0)
        return 3;
    pthread_exit(NULL);
}
