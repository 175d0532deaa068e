/* SPDX-License-Identifier: MIT */
/*
 * What tests of memory look at: alignment, fills, and patterns that tell one
 * block from another.
 */
#ifndef BYTES_H
#define BYTES_H

#include <stddef.h>
#include <stdint.h>

static inline int
aligned(const void *p, size_t align)
{
    return ((uintptr_t)p & (align - 1)) == 0;
}

static inline int
all_bytes(const void *p, int c, size_t n)
{
    const unsigned char *b = p;
    for (size_t i = 0; i < n; i++)
        if (b[i] != c)
            return 0;
    return 1;
}

static inline unsigned char
pattern(size_t i, size_t seed)
{
    return (unsigned char)(i * 31 + seed * 7 + 1);
}

static inline void
stamp(void *p, size_t n, size_t seed)
{
    for (size_t i = 0; i < n; i++)
        ((unsigned char *)p)[i] = pattern(i, seed);
}

static inline int
stamped(const void *p, size_t n, size_t seed)
{
    for (size_t i = 0; i < n; i++)
        if (((const unsigned char *)p)[i] != pattern(i, seed))
            return 0;
    return 1;
}

#endif
