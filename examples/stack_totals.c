/* SPDX-License-Identifier: MIT */
/* How many stacks of each size are in use and cached. */
#include <stackalloc.h>
#include <stdio.h>

int
main(void)
{
    const size_t size = 64 * 1024;
    void *stacks[3];
    struct stack_stats stats;

    for (int i = 0; i < 3; i++)
        if ((stacks[i] = stack_alloc(size)) == NULL)
            return 1;
    stack_free(stacks[0], size);
    if (stack_stats(&stats, sizeof(stats)) != 0)
        return 1;
    for (size_t i = 0; i < stats.stats_classes; i++)
        if (stats.stats_class[i].class_constructions > 0)
            printf("%zu bytes: %zu in use, %zu cached\n", stats.stats_class[i].class_size,
                   stats.stats_class[i].class_used, stats.stats_class[i].class_cached);
    return 0;
}
