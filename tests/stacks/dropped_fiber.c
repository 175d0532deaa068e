/* SPDX-License-Identifier: MIT */
/*
 * dropped_fiber.c - built with AddressSanitizer: a fiber is dropped in the midst of a
 * function whose frame the sanitizer guards; the stack's next user writes all of it.
 */
#include <stackalloc.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>

#define SIZE ((size_t)64 * 1024)

static ucontext_t here, fiber;

static __attribute__((noinline)) void
fill(char *buffer, size_t size)
{
    memset(buffer, 1, size);
    __asm__ volatile("" : : "r"(buffer) : "memory");
}

/* Not swapcontext(), which the sanitizer knows: as switches of a runtime's own look to it. */
static __attribute__((noinline)) void
enter(void)
{
    volatile int entered = 0;
    getcontext(&here);
    if (!entered) {
        entered = 1;
        setcontext(&fiber);
    }
}

static void
run(void)
{
    char buffer[100];
    fill(buffer, sizeof(buffer));
    setcontext(&here); /* for good */
    fill(buffer, sizeof(buffer));
}

int
main(void)
{
    for (int round = 0; round < 10; round++) {
        char *stack = stack_alloc(SIZE);
        if (stack == NULL)
            return 1;
        memset(stack, 0, SIZE);
        getcontext(&fiber);
        fiber.uc_stack.ss_sp = stack;
        fiber.uc_stack.ss_size = SIZE;
        fiber.uc_link = &here;
        makecontext(&fiber, run, 0);
        enter();
        if (stack_free(stack, SIZE) != 0)
            return 1;
    }
    puts("done");
    return 0;
}
