/* SPDX-License-Identifier: MIT */
/*
 * span.c - the vmem arena that slabs of stacks are cut from.
 *
 * Owns the arena, one for all sizes.  It imports inaccessible address space,
 * one reservation a slab, and gives it back when a slab goes: what lies
 * between is a guard until a constructor opens a body in it, so a slab may be
 * large and costs nothing.  No locks.
 */
#include <errno.h>

#include "look.h"
#include "page.h"
#include "stack.h"

static _Atomic(vmem_t *) span_arena;

static void *
span_alloc(vmem_t *source, size_t size, int vmflag)
{
    (void)source;
    (void)vmflag;
    void *span = page_reserve(size);
    if (span != NULL) {
        look_name(span, size, "umem stacks");
        /* One touched byte of a lazy stack would bring 2 MiB: of its neighbours, too. */
        page_keep_small(span, size);
    }
    return span;
}

static void
span_free(vmem_t *source, void *addr, size_t size)
{
    (void)source;
    page_release(addr, size);
}

vmem_t *
stack_arena(void)
{
    vmem_t *found = atomic_load_explicit(&span_arena, memory_order_acquire);
    if (found != NULL)
        return found;
    vmem_t *made =
        vmem_create("stacks", NULL, 0, page_size(), span_alloc, span_free, NULL, 0, VM_SLEEP);
    if (made == NULL)
        return NULL;
    if (atomic_compare_exchange_strong(&span_arena, &found, made))
        return made;
    vmem_destroy(made);
    return found;
}
