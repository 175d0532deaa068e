/* SPDX-License-Identifier: MIT */
/*
 * memory.c - see memory.h.
 */
#include "heap/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Most arrays stay below this. */
#define FIRST_ROOM 64

bool
memory_grow(void *list, size_t *room, size_t count, size_t element)
{
    void *old;
    size_t wanted = *room == 0 ? FIRST_ROOM : 2 * *room;

    if (count < *room)
        return true;
    if (wanted > SIZE_MAX / element)
        return false;
    memcpy(&old, list, sizeof(old)); /* the pointer itself, whatever its type */
    void *grown = realloc(old, wanted * element);
    if (grown == NULL)
        return false;
    memcpy(list, &grown, sizeof(grown));
    *room = wanted;
    /* cppcheck-suppress memleak; it is in the list */
    return true;
}

void *
memory_zeroed(size_t count, size_t element)
{
    return calloc(count, element);
}
