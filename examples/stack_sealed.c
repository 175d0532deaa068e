/* SPDX-License-Identifier: MIT */
/* Stacks made beforehand, for threads that may not fault or call the system. */
#include <stackalloc.h>
#include <stdio.h>
#include <sys/resource.h>

/* For an mlockall(MCL_CURRENT | MCL_FUTURE) to come. */
static void
raise_limit(size_t bytes)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur < bytes) {
        limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
        setrlimit(RLIMIT_MEMLOCK, &limit);
    }
}

int
main(void)
{
    const size_t size = 64 * 1024;
    void *stacks[20];

    stack_budget(32 * size); /* whatever happens */
    raise_limit(stack_memlock_need(size, 20));
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
