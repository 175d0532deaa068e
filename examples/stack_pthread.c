/* SPDX-License-Identifier: MIT */
/*
 * stack_pthread.c - threads on cached stacks: one after the other they run on
 * the same one, which nobody allocates, frees or maps.
 */
#include <pthread.h>
#include <stackalloc.h>
#include <stdio.h>
#include <string.h>

static void *
work(void *arg)
{
    struct stack_info info = {0};
    if (stack_info(&info, &info) != 0)
        return NULL;
    return arg != NULL && arg != info.info_base ? NULL : info.info_base;
}

int
main(void)
{
    void *stack = NULL;
    for (int i = 0; i < 1000; i++) {
        pthread_t thread;
        int error = stack_pthread_create(&thread, NULL, 128 * 1024, work, stack);
        if (error != 0) {
            fprintf(stderr, "stack_pthread_create: %s\n", strerror(error));
            return 1;
        }
        pthread_join(thread, &stack);
        if (stack == NULL)
            return 1;
    }
    puts("1000 threads, one stack");
    return 0;
}
