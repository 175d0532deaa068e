/* SPDX-License-Identifier: MIT */
/*
 * tools.h - what tools that run a program are told of its stacks: valgrind,
 * where its header was there when the library was built.  Outside of valgrind
 * a few instructions, and only when a stack is built or torn down.
 */
#ifndef STACKALLOC_TOOLS_H
#define STACKALLOC_TOOLS_H

#include <stddef.h>
#include <stdint.h>

#ifdef STACK_HAVE_VALGRIND
#include <valgrind/valgrind.h>

/* A number for tools_forget(). */
static inline uint32_t
tools_register(char *body, size_t size)
{
    return (uint32_t)VALGRIND_STACK_REGISTER(body, body + size - 1);
}

static inline void
tools_forget(uint32_t number)
{
    VALGRIND_STACK_DEREGISTER(number);
}
#else
static inline uint32_t
tools_register(char *body, size_t size)
{
    (void)body;
    (void)size;
    return 0;
}

static inline void
tools_forget(uint32_t number)
{
    (void)number;
}
#endif
#endif
