/* SPDX-License-Identifier: MIT */
/* How deep the stack of a thread went: more than 20,000 bytes of zeroes. */
#include <pthread.h>
#include <stackalloc.h>
#include <stdio.h>

static void *
work(void *arg)
{
    volatile char buffer[20000];
    for (size_t i = 0; i < sizeof(buffer); i++)
        buffer[i] = 0;
    return arg;
}

int
main(void)
{
    const size_t size = 64 * 1024;
    pthread_attr_t attr;
    pthread_t thread;
    void *stack = stack_alloc(size);

    if (stack == NULL || stack_watermark(stack, size, STACK_WATERMARK_FILL) != 0)
        return 1;
    pthread_attr_init(&attr);
    pthread_attr_setstack(&attr, stack, size);
    if (pthread_create(&thread, &attr, work, NULL) != 0)
        return 1;
    pthread_join(thread, NULL);
    ssize_t used = stack_highwater(stack);
    puts(used > 20000 && used < 40000 ? "between 20,000 and 40,000 bytes" : "?");
    return stack_free(stack, size) == 0 ? 0 : 1;
}
