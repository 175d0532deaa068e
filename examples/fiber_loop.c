/* SPDX-License-Identifier: MIT */
/*
 * fiber_loop.c - a loop of fibers: a hundred at a time take turns, and the
 * stack of each that ends serves one that begins.
 */
#include <stackalloc.h>
#include <stdio.h>
#include <ucontext.h>

#define STACK_SIZE ((size_t)32 * 1024)
#define FIBERS 100
#define JOBS 1000
#define TURNS 10

struct fiber {
    ucontext_t context;
    void *stack;
    int done;
};

static ucontext_t loop;
static struct fiber fibers[FIBERS];
static long turns;

static void
work(int number)
{
    for (int i = 0; i < TURNS; i++) {
        turns++;
        swapcontext(&fibers[number].context, &loop);
    }
    fibers[number].done = 1; /* then uc_link goes back to the loop */
}

static int
start(int number)
{
    struct fiber *fiber = &fibers[number];
    if ((fiber->stack = stack_alloc(STACK_SIZE)) == NULL || getcontext(&fiber->context) != 0)
        return -1;
    /* From stack_top() on: tops of many stacks at equal offsets would share cache sets. */
    char *top = stack_top(fiber->stack, STACK_SIZE);
    fiber->context.uc_stack.ss_sp = fiber->stack;
    fiber->context.uc_stack.ss_size = (size_t)(top - (char *)fiber->stack);
    fiber->context.uc_link = &loop;
    fiber->done = 0;
    makecontext(&fiber->context, (void (*)(void))work, 1, number);
    return 0;
}

int
main(void)
{
    int started = 0, ended = 0;
    while (ended < JOBS)
        for (int i = 0; i < FIBERS; i++) {
            if (fibers[i].stack == NULL) {
                if (started == JOBS)
                    continue;
                if (start(i) != 0)
                    return 1;
                started++;
            }
            swapcontext(&loop, &fibers[i].context);
            if (fibers[i].done) {
                stack_free(fibers[i].stack, STACK_SIZE);
                fibers[i].stack = NULL;
                ended++;
            }
        }
    struct stack_stats stats;
    if (stack_stats(&stats, sizeof(stats)) != 0)
        return 1;
    printf("%d fibers, %ld turns, at most %d stacks: %s\n", ended, turns, FIBERS,
           stats.stats_constructions <= FIBERS ? "yes" : "no");
    return 0;
}
