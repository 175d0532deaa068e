/* SPDX-License-Identifier: MIT */
/* Exits while other threads are in the middle of malloc and free. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void *
busy(void *arg)
{
    for (size_t i = (size_t)(uintptr_t)arg;; i++) {
        void *p = malloc(i % 3000 + 1);
        __asm__ volatile("" : "+r"(p));
        free(p);
    }
    return NULL;
}

static void
late(void)
{
    for (size_t i = 0; i < 1000; i++)
        free(malloc(i));
}

int
main(void)
{
    atexit(late);
    for (size_t i = 0; i < 4; i++) {
        pthread_t t;
        if (pthread_create(&t, NULL, busy, (void *)(uintptr_t)i) != 0)
            return 1;
        pthread_detach(t);
    }
    usleep(20000);
    puts("leaving");
    return 5;
}
