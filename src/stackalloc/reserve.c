/* SPDX-License-Identifier: MIT */
/*
 * reserve.c - stack_reserve, stack_seal: stacks made beforehand, and sizes
 * sealed for threads that may neither fault, nor call the system, nor wait; and
 * stack_memlock_need: what they may take of a limit.
 *
 * The engine does it for one cache; this does it for all there are.  Owns
 * nothing but whether they are sealed, which the two calls write, and
 * nobody may make them at once.  No locks.
 */
#include <errno.h>
#include <stackalloc.h>

#include "page.h"
#include "stack.h"
#include "stash.h"
#include "table.h"

static _Atomic bool sealed;

bool
stack_is_sealed(void)
{
    return atomic_load(&sealed);
}

static umem_cache_t *
class_cache(unsigned index)
{
    return atomic_load_explicit(&stack_classes[index].class_cache, memory_order_acquire);
}

static int
refuse(int error)
{
    errno = error;
    return -1;
}

/* Stacks that are faulted in one by one: what ends a number too large is the kernel's killer. */
static bool
is_beyond_memory(unsigned index, size_t n)
{
    return !stack_class_form(index).form_lazy && n > page_memory() / stack_class_size(index);
}

STACK_EXPORT int
stack_reserve(size_t size, size_t n)
{
    if (!stack_size_supported(size))
        return refuse(EINVAL);
    if (atomic_load(&sealed))
        return refuse(EBUSY);
    unsigned index = stack_class_index(size);
    if (is_beyond_memory(index, n))
        return refuse(ENOMEM);
    if (n > 0)
        stash_forbid(index, STASH_RESERVED);
    else
        stash_permit(index, STASH_RESERVED);
    umem_cache_t *cache = stack_class_open(index);
    page_locking_forget();
    if (cache != NULL && umem_cache_reserve(cache, n) == 0)
        return 0;
    return refuse(errno == EAGAIN ? EAGAIN : ENOMEM);
}

/*
 * What is locked besides, for records of the engine and the upper nodes of the table: less in
 * every test of test_lock.c, for any size.
 */
#define RECORDS_BYTES ((size_t)1 << 20)

/* With guard regions a stack is charged whole, guards and all: see build.c. */
static size_t
charged(const struct stack_form *form, size_t n)
{
    bool regions = form->form_backend != STACK_BACKEND_MPROTECT &&
                   (form->form_backend == STACK_BACKEND_REGIONS || n > stack_mappings_room());
    return regions ? form->form_whole : form->form_size;
}

STACK_EXPORT size_t
stack_memlock_need(size_t size, size_t n)
{
    size_t stacks, span, tables, need;
    if (!stack_size_supported(size)) {
        errno = EINVAL;
        return 0;
    }
    unsigned index = stack_class_index(size);
    if (stack_class_open(index) == NULL)
        return 0;
    struct stack_form form = stack_class_form(index);
    if (__builtin_mul_overflow(n, charged(&form, n), &stacks) ||
        __builtin_mul_overflow(n, form.form_whole, &span))
        return SIZE_MAX;
    /* Leaves of the table, of which the first and the last may be begun only. */
    tables = (span / (TABLE_LEAF_SIZE << TABLE_GRANULE_SHIFT) + 2) * sizeof(struct table_leaf);
    if (__builtin_add_overflow(stacks, tables + RECORDS_BYTES, &need))
        return SIZE_MAX;
    return need;
}

/* Of the first end classes. */
static void
unseal(unsigned end)
{
    for (unsigned i = 0; i < STACK_CLASSES; i++)
        stash_permit(i, STASH_SEALED);
    for (unsigned i = 0; i < end; i++)
        if (class_cache(i) != NULL)
            umem_cache_unseal(class_cache(i));
}

STACK_EXPORT int
stack_seal(void)
{
    if (atomic_load(&sealed))
        return refuse(EINVAL);
    for (unsigned i = 0; i < STACK_CLASSES; i++)
        stash_forbid(i, STASH_SEALED);
    for (unsigned i = 0; i < STACK_CLASSES; i++)
        if (class_cache(i) != NULL && umem_cache_seal(class_cache(i)) != 0) {
            unseal(i);
            return refuse(ENOMEM);
        }
    atomic_store(&sealed, true);
    return 0;
}

STACK_EXPORT int
stack_unseal(void)
{
    if (!atomic_load(&sealed))
        return refuse(EINVAL);
    /* A class of a size that came later was never sealed: its cache says so, and that is all. */
    unseal(STACK_CLASSES);
    atomic_store(&sealed, false);
    return 0;
}

STACK_EXPORT uint64_t
stack_breaches(void)
{
    uint64_t breaches = 0;
    for (unsigned i = 0; i < STACK_CLASSES; i++)
        if (class_cache(i) != NULL)
            breaches += umem_cache_breaches(class_cache(i));
    return breaches;
}
