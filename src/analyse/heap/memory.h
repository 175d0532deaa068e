/* SPDX-License-Identifier: MIT */
/*
 * memory.h - growing arrays, and zeroed memory, for the heap's model and the
 * leak finder.
 */
#ifndef ANALYSE_HEAP_MEMORY_H
#define ANALYSE_HEAP_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Makes room for one element more than count in the array that *list (a
 * pointer to any type of object) holds, by doubling *room.  False: no memory,
 * the array is as it was.
 */
bool memory_grow(void *list, size_t *room, size_t count, size_t element);
/* count zeroed elements, or NULL. */
void *memory_zeroed(size_t count, size_t element);

#endif
