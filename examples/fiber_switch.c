/* SPDX-License-Identifier: MIT */
/*
 * fiber_switch.c - switches that AddressSanitizer is told of: a fiber that
 * counts, and leaves by longjmp() from deep within.
 */
#include <setjmp.h>
#include <stackalloc.h>
#include <stackalloc/switch.h>
#include <stdio.h>
#include <ucontext.h>

#define STACK_SIZE ((size_t)64 * 1024)

static ucontext_t thread, fiber;
static const void *thread_stack; /* told at the first switch, where a sanitizer is there */
static size_t thread_size;
static struct stack_switch in_fiber;
static int value;

static void
yield(void)
{
    stack_switch_begin(&in_fiber, thread_stack, thread_size);
    swapcontext(&fiber, &thread);
    stack_switch_end(&in_fiber, NULL, NULL);
}

static void
count(int n, jmp_buf out)
{
    char digits[16]; /* guarded by the sanitizer, as long as this function runs */
    for (int i = 1; i <= n; i++) {
        snprintf(digits, sizeof(digits), "%d", i);
        value = digits[0] - '0';
        yield();
    }
    longjmp(out, 1);
}

static void
run(void)
{
    jmp_buf out;
    stack_switch_end(NULL, &thread_stack, &thread_size);
    if (setjmp(out) == 0)
        count(3, out);
    value = 0;
    stack_switch_begin(NULL, thread_stack, thread_size); /* for good */
    setcontext(&thread);
}

static void
resume(void *stack)
{
    struct stack_switch here;
    stack_switch_begin(&here, stack, STACK_SIZE);
    swapcontext(&thread, &fiber);
    stack_switch_end(&here, NULL, NULL);
}

int
main(void)
{
    void *stack = stack_alloc(STACK_SIZE);
    if (stack == NULL || getcontext(&fiber) != 0)
        return 1;
    fiber.uc_stack.ss_sp = stack;
    fiber.uc_stack.ss_size = (size_t)((char *)stack_top(stack, STACK_SIZE) - (char *)stack);
    fiber.uc_link = NULL;
    makecontext(&fiber, run, 0);
    do {
        resume(stack);
        printf("%d\n", value);
    } while (value != 0);
    return stack_free(stack, STACK_SIZE);
}
