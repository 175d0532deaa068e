/* SPDX-License-Identifier: MIT */
/*
 * fibers.c - see fibers.h.  ThreadSanitizer is told of each switch.  No state, no locks.
 */
#include "fibers.h"

#include <stackalloc.h>
#include <stdio.h>
#include <stdlib.h>

#if UNDER_TSAN
#include <sanitizer/tsan_interface.h>
#define SANITIZER_CREATE() __tsan_create_fiber(0)
#define SANITIZER_SELF() __tsan_get_current_fiber()
#define SANITIZER_SWITCH(fiber) __tsan_switch_to_fiber(fiber, 0)
#define SANITIZER_DESTROY(fiber) __tsan_destroy_fiber(fiber)
#else
#define SANITIZER_CREATE() NULL
#define SANITIZER_SELF() NULL
#define SANITIZER_SWITCH(fiber) (void)(fiber)
#define SANITIZER_DESTROY(fiber) (void)(fiber)
#endif

enum { STAMP_WORDS = 8, FRAME_WORDS = 32 };

/* At the upper end of the stack. */
struct fiber {
    ucontext_t self, back;
    char *stack;
    size_t size;
    size_t depth;
    enum fiber_end end;
    void *sanitizer_self, *sanitizer_back;
};

_Noreturn void
item_fail(const struct item *item, const char *what, uint64_t value)
{
    fprintf(stderr, "stress: %s: stack %p of %zu bytes, tag %#llx: %#llx\n", what,
            (void *)item->stack, item->size, (unsigned long long)item->tag,
            (unsigned long long)value);
    abort();
}

static struct fiber *
fiber_of(const struct item *item)
{
    uintptr_t top = (uintptr_t)item->stack + item->size - sizeof(struct fiber);
    return (struct fiber *)(top & ~(uintptr_t)63);
}

void
item_stamp(struct item *item)
{
    uint64_t *word = (uint64_t *)(void *)item->stack;
    for (unsigned i = 0; i < STAMP_WORDS; i++)
        word[i] = item->tag * (i + 1);
}

void
item_check(const struct item *item, const char *when)
{
    const uint64_t *word = (const uint64_t *)(void *)item->stack;
    for (unsigned i = 0; i < STAMP_WORDS; i++)
        if (word[i] != item->tag * (i + 1))
            item_fail(item, when, word[i]);
}

/* Writes frames all the way down, and looks at each on the way back, wherever it runs then. */
static __attribute__((noipa)) void
descend(const char *target, struct fiber *fiber)
{
    volatile uint64_t frame[FRAME_WORDS];
    uint64_t tag = (uint64_t)(uintptr_t)frame;
    for (unsigned i = 0; i < FRAME_WORDS; i++)
        frame[i] = tag + i;
    if ((uintptr_t)frame > (uintptr_t)target) {
        descend(target, fiber);
    } else if (fiber != NULL && fiber->end == FIBER_STOPS) {
        SANITIZER_SWITCH(fiber->sanitizer_back);
        swapcontext(&fiber->self, &fiber->back);
    }
    for (unsigned i = 0; i < FRAME_WORDS; i++)
        if (frame[i] != tag + i)
            abort();
}

void
go_down(const char *low, const char *high, size_t depth)
{
    const char *target = high - depth;
    descend(target > low ? target : low, NULL);
}

/* Nobody gets the stack as long as the fiber stands on it. */
static void
free_self(const struct fiber *fiber)
{
    if (stack_free_deferred(fiber->stack, fiber->size) != 0)
        abort();
    char *other = stack_alloc(fiber->size);
    if (other == NULL || other == fiber->stack || stack_free(other, fiber->size) != 0)
        abort();
}

/* A pointer in two halves: makecontext() passes numbers of 32 bits. */
static void
fiber_main(unsigned upper, unsigned lower)
{
    struct fiber *fiber = (struct fiber *)(uintptr_t)((uint64_t)upper << 32 | lower);
    bool off = fiber->end == FIBER_RUNS_OFF_BELOW;
    descend(off ? NULL : fiber->stack + fiber->size - fiber->depth, fiber);
    if (fiber->end == FIBER_FREES_ITSELF)
        free_self(fiber);
    SANITIZER_SWITCH(fiber->sanitizer_back);
    setcontext(&fiber->back);
}

static void
fiber_enter(struct item *item)
{
    struct fiber *fiber = fiber_of(item);
    fiber->sanitizer_back = SANITIZER_SELF();
    SANITIZER_SWITCH(item->sanitizer);
    swapcontext(&fiber->back, &fiber->self);
}

void
fiber_run(struct item *item, size_t depth, enum fiber_end end)
{
    struct fiber *fiber = fiber_of(item);
    item->sanitizer = SANITIZER_CREATE();
    item->suspended = end == FIBER_STOPS;
    fiber->stack = item->stack;
    fiber->size = item->size;
    fiber->depth = depth;
    fiber->end = end;
    getcontext(&fiber->self);
    fiber->self.uc_stack.ss_sp = item->stack;
    fiber->self.uc_stack.ss_size = (size_t)((char *)fiber - item->stack);
    fiber->self.uc_link = NULL;
    makecontext(&fiber->self, (void (*)(void))fiber_main, 2,
                (unsigned)((uint64_t)(uintptr_t)fiber >> 32), (unsigned)(uintptr_t)fiber);
    fiber_enter(item);
    if (!item->suspended)
        SANITIZER_DESTROY(item->sanitizer);
}

void
fiber_resume(struct item *item)
{
    fiber_enter(item);
    item->suspended = false;
    SANITIZER_DESTROY(item->sanitizer);
}
