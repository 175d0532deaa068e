/* SPDX-License-Identifier: MIT */
/*
 * fiber_callbacks.c - stacks for coroutine libraries that take memory from
 * callbacks, as minicoro does, or a block, as libco's co_derive() does: sizes
 * that are none of the library's are rounded up, at both ends alike.
 */
#include <stackalloc.h>
#include <stdio.h>
#include <ucontext.h>

static size_t
stack_size_for(size_t bytes)
{
    size_t size = (size_t)32 * 1024;
    while (size < bytes)
        size *= 2;
    return size; /* above 2 MiB stack_alloc() refuses it */
}

static void *
alloc_cb(size_t bytes, void *data)
{
    (void)data;
    return stack_alloc(stack_size_for(bytes));
}

static void
dealloc_cb(void *block, size_t bytes, void *data)
{
    (void)data;
    stack_free(block, stack_size_for(bytes));
}

/* What such a library does: its own data in front, the stack behind it, in one block. */
struct desc {
    size_t coro_size;
    void *(*alloc_cb)(size_t bytes, void *data);
    void (*dealloc_cb)(void *block, size_t bytes, void *data);
    void *allocator_data;
};
struct coro {
    ucontext_t own;
    ucontext_t caller;
    int value;
};
static struct coro *running;

static void
generate(void)
{
    for (int i = 1; i <= 3; i++) {
        running->value = i * i;
        swapcontext(&running->own, &running->caller);
    }
}

int
main(void)
{
    const struct desc desc = {50000, alloc_cb, dealloc_cb, NULL};
    struct coro *coro = desc.alloc_cb(desc.coro_size, desc.allocator_data);
    if (coro == NULL || getcontext(&coro->own) != 0)
        return 1;
    coro->own.uc_stack.ss_sp = coro + 1;
    coro->own.uc_stack.ss_size = desc.coro_size - sizeof(*coro);
    coro->own.uc_link = NULL;
    makecontext(&coro->own, generate, 0);
    running = coro;
    for (int i = 0; i < 3; i++) {
        swapcontext(&coro->caller, &coro->own);
        printf("%d\n", coro->value);
    }
    desc.dealloc_cb(coro, desc.coro_size, desc.allocator_data);
    return 0;
}
