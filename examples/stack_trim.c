/* SPDX-License-Identifier: MIT */
/*
 * stack_trim.c - after a peak most of the freed stacks' memory goes back.
 */
#include <stackalloc.h>
#include <stdio.h>

#define PEAK 100

int
main(void)
{
    static void *stacks[PEAK];
    const size_t size = 64 * 1024;
    struct stack_stats before, after;

    for (int i = 0; i < PEAK; i++)
        if ((stacks[i] = stack_alloc(size)) == NULL)
            return 1;
    for (int i = 0; i < PEAK; i++)
        stack_free(stacks[i], size);
    stack_stats(&before, sizeof(before));

    /* The peak is over: ten will do. */
    if (stack_trim(size, 10) < 0)
        perror("stack_trim");
    stack_stats(&after, sizeof(after));
    printf("%zu cached, then %s\n", before.stats_cached_bytes / size,
           after.stats_cached_bytes / size <= 14 ? "few" : "many");
    return 0;
}
