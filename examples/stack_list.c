/* SPDX-License-Identifier: MIT */
/* Names stacks, tells which one an address is in, and lists all that there are. */
#include <stackalloc.h>
#include <stdio.h>

static int
print_used(const struct stack_info *info, void *cached)
{
    if (info->info_state == STACK_IS_USED)
        printf("%zu bytes in use by the %s\n", info->info_size, info->info_name);
    else
        ++*(int *)cached;
    return 0;
}

int
main(void)
{
    const size_t size = 64 * 1024;
    char *reader = stack_alloc(size);
    char *writer = stack_alloc(2 * size);
    struct stack_info info;
    int cached = 0;

    if (reader == NULL || writer == NULL)
        return 1;
    stack_name(reader, "reader");
    stack_name(writer, "writer");
    if (stack_info(reader - 8, &info) == 0 && info.info_place == STACK_IN_LOW_GUARD)
        printf("%zu bytes below the stack of the %s\n", info.info_beyond, info.info_name);
    stack_free(reader, size);
    stack_foreach(print_used, &cached);
    printf("%d cached\n", cached);
    return 0;
}
