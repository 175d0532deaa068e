/* SPDX-License-Identifier: MIT */
/*
 * table.c - growing the address table: see table.h.
 *
 * Owns table_root and the nodes under it, which come from page_table_alloc()
 * and so are zeroed: every slot begins as STACK_NONE.  No locks: a node is
 * published by compare-and-swap, and the loser of a race frees its own.
 */
#include "table.h"

#include <errno.h>

#include "page.h"

_Atomic(struct table_middle *) table_root[TABLE_ROOT_SIZE];

static struct table_middle *
middle_reserve(_Atomic(struct table_middle *) *where)
{
    struct table_middle *found = atomic_load_explicit(where, memory_order_acquire);
    if (found != NULL)
        return found;
    struct table_middle *made = page_table_alloc(sizeof(*made));
    if (made == NULL)
        return NULL;
    if (atomic_compare_exchange_strong(where, &found, made))
        return made;
    page_table_free(made, sizeof(*made));
    return found;
}

static struct table_leaf *
leaf_reserve(_Atomic(struct table_leaf *) *where)
{
    struct table_leaf *found = atomic_load_explicit(where, memory_order_acquire);
    if (found != NULL)
        return found;
    struct table_leaf *made = page_table_alloc(sizeof(*made));
    if (made == NULL)
        return NULL;
    if (atomic_compare_exchange_strong(where, &found, made))
        return made;
    page_table_free(made, sizeof(*made));
    return found;
}

struct table_slot *
table_reserve(const void *p)
{
    uintptr_t granule = (uintptr_t)p >> TABLE_GRANULE_SHIFT;
    uintptr_t top = granule >> (TABLE_LEAF_BITS + TABLE_MIDDLE_BITS);
    if (top >= TABLE_ROOT_SIZE) {
        errno = ENOMEM; /* Beyond the addresses that the kernel gives out unasked. */
        return NULL;
    }
    struct table_middle *middle = middle_reserve(&table_root[top]);
    if (middle == NULL)
        return NULL;
    size_t index = (granule >> TABLE_LEAF_BITS) & (TABLE_MIDDLE_SIZE - 1);
    struct table_leaf *leaf = leaf_reserve(&middle->middle_leaf[index]);
    if (leaf == NULL)
        return NULL;
    return &leaf->leaf_slot[granule & (TABLE_LEAF_SIZE - 1)];
}
