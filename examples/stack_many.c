/* SPDX-License-Identifier: MIT */
/* A hundred thousand guarded stacks for fibers, more than mprotect() has guards for. */
#include <stackalloc.h>
#include <stdio.h>

#define FIBERS 100000

int
main(void)
{
    static void *stacks[FIBERS];
    const size_t size = 32 * 1024;
    const struct stack_config config = {.config_lazy = 1};
    int n = 0;

    if (stack_config(size, &config, sizeof(config)) != 0)
        return 1;
    while (n < FIBERS && (stacks[n] = stack_alloc(size)) != NULL)
        n++;
    if (n < FIBERS)
        perror("stack_alloc");
    printf("%d stacks\n", n);
    while (n > 0)
        stack_free(stacks[--n], size);
    return 0;
}
