/* SPDX-License-Identifier: MIT */
/* Fibers, one after the other, that free the stack they stand on. */
#include <stackalloc.h>
#include <stdio.h>
#include <ucontext.h>

#define STACK_SIZE ((size_t)64 * 1024)

static ucontext_t scheduler, fiber;
static void *stack;

static void
work(int number)
{
    printf("fiber %d\n", number);
    stack_free_deferred(stack, STACK_SIZE);
    setcontext(&scheduler); /* never to come back */
}

static int
run(int number)
{
    stack = stack_alloc(STACK_SIZE); /* the one of before, which nobody stands on now */
    if (stack == NULL || getcontext(&fiber) != 0)
        return -1;
    fiber.uc_stack.ss_sp = stack;
    fiber.uc_stack.ss_size = (size_t)((char *)stack_top(stack, STACK_SIZE) - (char *)stack);
    fiber.uc_link = NULL;
    makecontext(&fiber, (void (*)(void))work, 1, number);
    return swapcontext(&scheduler, &fiber);
}

int
main(void)
{
    struct stack_stats stats;

    if (run(1) != 0 || run(2) != 0 || run(3) != 0 || stack_stats(&stats, sizeof(stats)) != 0)
        return 1;
    printf("stacks built: %zu\n", stats.stats_constructions);
    return 0;
}
