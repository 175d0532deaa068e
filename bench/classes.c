/* SPDX-License-Identifier: MIT */
/*
 * classes.c - prints the size classes of the malloc that it runs under, one a
 * line, as malloc_usable_size() tells them.
 *
 *   classes LIMIT
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

int
main(int argc, char **argv)
{
    size_t limit = argc == 2 ? strtoul(argv[1], NULL, 10) : 0;

    if (limit == 0) {
        fprintf(stderr, "usage: classes LIMIT\n");
        return 2;
    }
    for (size_t size = 1; size <= limit;) {
        void *block = malloc(size);
        size_t usable = malloc_usable_size(block);
        free(block);
        if (usable < size)
            return 1;
        printf("%zu\n", usable);
        size = usable + 1;
    }
    return 0;
}
