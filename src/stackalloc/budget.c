/* SPDX-License-Identifier: MIT */
/*
 * budget.c - stack_budget: how many bytes of stacks the library may build.
 *
 * Counted are the bodies of stacks that are built, in use or cached: what may be locked, or hold
 * memory.  The constructor takes before it builds and the destructor gives back, so
 * an allocation from a cache counts nothing.  Who finds the budget used up has freed stacks
 * of all sizes taken apart first.
 *
 * Owns the two numbers.  No locks: of constructors that take the rest at once
 * each adds first and then looks, so that none gets what there is not.
 */
#include <errno.h>
#include <stackalloc.h>

#include "stack.h"

static _Atomic size_t budget; /* 0: any number */
static _Atomic size_t built;

bool
stack_budget_take(size_t bytes)
{
    size_t most = atomic_load_explicit(&budget, memory_order_relaxed);
    size_t before = atomic_fetch_add_explicit(&built, bytes, memory_order_relaxed);
    if (most == 0 || before + bytes <= most)
        return true;
    stack_budget_give(bytes);
    return false;
}

void
stack_budget_give(size_t bytes)
{
    atomic_fetch_sub_explicit(&built, bytes, memory_order_relaxed);
}

bool
stack_budget_make_room(size_t bytes)
{
    int error = errno;
    size_t most = atomic_load_explicit(&budget, memory_order_relaxed);
    bool room = most != 0 && bytes <= most &&
                atomic_load_explicit(&built, memory_order_relaxed) > most - bytes &&
                stack_trim(0, 0) > 0;
    errno = error;
    return room;
}

STACK_EXPORT void
stack_budget(size_t bytes)
{
    atomic_store_explicit(&budget, bytes, memory_order_relaxed);
}
