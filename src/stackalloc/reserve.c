/* SPDX-License-Identifier: MIT */
/*
 * reserve.c - stack_reserve, stack_seal: stacks made beforehand, and sizes
 * sealed for threads that may neither fault, nor call the system, nor wait.
 *
 * The engine does it for one cache; this does it for all there are.  Owns
 * nothing but whether they are sealed, which the two calls write, and
 * nobody may make them at once.  No locks.
 */
#include <errno.h>
#include <stackalloc.h>

#include "stack.h"
#include "stash.h"

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

STACK_EXPORT int
stack_reserve(size_t size, size_t n)
{
    if (!stack_size_supported(size))
        return refuse(EINVAL);
    if (atomic_load(&sealed))
        return refuse(EBUSY);
    unsigned index = stack_class_index(size);
    if (n > 0)
        stash_forbid(index, STASH_RESERVED);
    else
        stash_permit(index, STASH_RESERVED);
    umem_cache_t *cache = stack_class_open(index);
    if (cache != NULL && umem_cache_reserve(cache, n) == 0)
        return 0;
    return refuse(errno == EAGAIN ? EAGAIN : ENOMEM);
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
