/* SPDX-License-Identifier: MIT */
/*
 * stack_scrub.c - a stack that held a secret is clear for the next user.
 */
#include <stackalloc.h>
#include <stdio.h>
#include <string.h>

int
main(void)
{
    const size_t size = 64 * 1024;
    const struct stack_config config = {.config_scrub = STACK_SCRUB_USED};
    const char secret[] = "open sesame";

    /* Before the first stack of that size. */
    if (stack_config(size, &config, sizeof(config)) != 0)
        return 1;
    char *stack = stack_alloc(size);
    if (stack == NULL)
        return 1;
    memcpy(stack + size - 1000, secret, sizeof(secret));
    stack_free(stack, size);

    char *next = stack_alloc(size);
    if (next == NULL)
        return 1;
    printf("%s stack, \"%s\"\n", next == stack ? "the same" : "another", next + size - 1000);
    stack_free(next, size);
    return 0;
}
