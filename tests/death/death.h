/* SPDX-License-Identifier: MIT */
/*
 * death.h - what the programs of this folder share: each commits one misuse of
 * the heap and must not live to print "survived".
 *
 * Buffers are made by make_buffer() and friends, which are kept out of line
 * and as they are (noipa), so that the report can be asked for their names.
 */
#ifndef DEATH_H
#define DEATH_H

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEEP __attribute__((noipa, unused)) static

/* The value, of which the compiler knows nothing any more. */
static inline void *
opaque(void *p)
{
    __asm__ volatile("" : "+r"(p) : : "memory");
    return p;
}

KEEP void *
make_buffer(size_t size)
{
    return opaque(malloc(size));
}

KEEP void
drop_buffer(void *buf)
{
    free(opaque(buf));
    __asm__ volatile("" : : : "memory");
}

/* Writes n bytes at buf + offset. */
KEEP void
scribble(void *buf, long offset, size_t n)
{
    memset((char *)opaque(buf) + offset, 'A', n);
    __asm__ volatile("" : : : "memory");
}

/* Uses the heap as a program does between two mistakes. */
KEEP void
other_work(void)
{
    void *p[200];
    for (size_t i = 0; i < 200; i++)
        p[i] = opaque(malloc(200 + i * 40));
    for (size_t i = 0; i < 200; i++)
        free(p[i]);
}

/* Takes and drops blocks of size until every free one of that size was looked at again. */
KEEP void
reuse_all(size_t size)
{
    for (size_t i = 0; i < 40000; i++) {
        void *p = opaque(malloc(size));
        if (i % 2 != 0)
            drop_buffer(p);
    }
}

KEEP int
survived(void)
{
    puts("survived");
    fflush(stdout); /* before anything is found at exit */
    return 0;
}

#endif
