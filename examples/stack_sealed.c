/* SPDX-License-Identifier: MIT */
/* Stacks made beforehand, for threads that may not fault or call the system. */
#include <stackalloc.h>
#include <stdio.h>

int
main(void)
{
    const size_t size = 64 * 1024;
    void *stacks[20];

    stack_budget(32 * size); /* whatever happens */
    if (stack_reserve(size, 20) != 0 || stack_seal() != 0)
        return 1;
    for (int i = 0; i < 20; i++)
        stacks[i] = stack_alloc(size);
    for (int i = 0; i < 20; i++)
        stack_free(stacks[i], size);
    printf("%d beyond the reserve\n", (int)stack_breaches());
    if (stack_unseal() != 0)
        return 1;
    if (stack_alloc((size_t)2 << 20) == NULL)
        puts("2 MiB are beyond the budget");
    return 0;
}
