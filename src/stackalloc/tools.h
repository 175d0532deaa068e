/* SPDX-License-Identifier: MIT */
/*
 * tools.h - what tools that run a program are told of its stacks: valgrind,
 * where its header was there when the library was built, outside of it a few
 * instructions, and never where a stack is taken and given back; and
 * AddressSanitizer, where the program was built with it.
 */
#ifndef STACKALLOC_TOOLS_H
#define STACKALLOC_TOOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The sanitizer's, if it is in the process. */
extern void __asan_unpoison_memory_region(const volatile void *addr, size_t size)
    __attribute__((weak));

static inline bool
tools_sanitize(void)
{
    return __asan_unpoison_memory_region != NULL;
}

/*
 * A fiber that is dropped in the midst of its functions leaves what the
 * sanitizer noted of their frames; the next user of the stack would be blamed.
 */
static inline void
tools_clear(const char *body, size_t size)
{
    if (tools_sanitize())
        __asan_unpoison_memory_region(body, size);
}

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

/* What is done in between on purpose, valgrind would hold against the program. */
static inline void
tools_quiet(void)
{
    VALGRIND_DISABLE_ERROR_REPORTING;
}

static inline void
tools_heed(void)
{
    VALGRIND_ENABLE_ERROR_REPORTING;
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

static inline void
tools_quiet(void)
{
}

static inline void
tools_heed(void)
{
}
#endif
#endif
