/* SPDX-License-Identifier: MIT */
/*
 * pagemap.c - writing the page map: see pagemap.h.
 *
 * Leaves are mapped as needed and stay.  pagemap_lock orders the making of
 * leaves only; a granule's word is written by whoever owns the granule.
 */
#include "slab/pagemap.h"

#include <errno.h>

#include "os/lock.h"
#include "os/os.h"

_Atomic(uint64_t) *_Atomic umem_pagemap_root[UMEM_PAGEMAP_ROOT_SIZE];
static struct umem_lock pagemap_lock = UMEM_LOCK_INIT(UMEM_RANK_PAGEMAP);

static uintptr_t
granule_of(uintptr_t addr)
{
    return addr >> UMEM_GRANULE_SHIFT;
}

static _Atomic(uint64_t) *
leaf_of(uintptr_t granule)
{
    return atomic_load_explicit(&umem_pagemap_root[granule >> UMEM_PAGEMAP_LEAF_BITS],
                                memory_order_acquire);
}

/* Makes the leaf that covers a granule.  False with errno: no memory. */
static bool
ensure_leaf(uintptr_t granule)
{
    uintptr_t top = granule >> UMEM_PAGEMAP_LEAF_BITS;

    if (top >= UMEM_PAGEMAP_ROOT_SIZE) {
        errno = ENOMEM;
        return false;
    }
    if (atomic_load_explicit(&umem_pagemap_root[top], memory_order_acquire) != NULL)
        return true;

    size_t size = umem_align_up(UMEM_PAGEMAP_LEAF_SIZE * sizeof(_Atomic(uint64_t)), os_page_size());
    umem_lock_acquire(&pagemap_lock);
    _Atomic(uint64_t) *leaf = atomic_load_explicit(&umem_pagemap_root[top], memory_order_relaxed);
    if (leaf == NULL) {
        leaf = os_map(size, os_page_size());
        if (leaf != NULL)
            os_name(leaf, size, "umem_pagemap");
        atomic_store_explicit(&umem_pagemap_root[top], leaf, memory_order_release);
    }
    umem_lock_release(&pagemap_lock);
    return leaf != NULL;
}

static void
write_words(uintptr_t first, uintptr_t last, uint64_t word)
{
    for (uintptr_t granule = first; granule <= last; granule++) {
        _Atomic(uint64_t) *leaf = leaf_of(granule);
        atomic_store_explicit(&leaf[granule & (UMEM_PAGEMAP_LEAF_SIZE - 1)], word,
                              memory_order_release);
    }
}

bool
pagemap_set(const void *base, size_t size, uint64_t word)
{
    uintptr_t first = granule_of((uintptr_t)base);
    uintptr_t last = granule_of((uintptr_t)base + size - 1);

    for (uintptr_t top = first >> UMEM_PAGEMAP_LEAF_BITS; top <= last >> UMEM_PAGEMAP_LEAF_BITS;
         top++)
        if (!ensure_leaf(top << UMEM_PAGEMAP_LEAF_BITS))
            return false;
    write_words(first, last, word);
    return true;
}

void
pagemap_clear(const void *base, size_t size)
{
    write_words(granule_of((uintptr_t)base), granule_of((uintptr_t)base + size - 1), 0);
}

/* --- Looking round, for reports --- */

#define TABLE_SIZE (UMEM_PAGEMAP_ROOT_SIZE * UMEM_PAGEMAP_LEAF_SIZE) /* granules */

static uint64_t
word_in(_Atomic(uint64_t) *leaf, uintptr_t granule)
{
    return atomic_load_explicit(&leaf[granule & (UMEM_PAGEMAP_LEAF_SIZE - 1)],
                                memory_order_acquire);
}

UMEM_COLD uint64_t
pagemap_below(const void *p, uintptr_t *granule)
{
    uintptr_t at = umem_min(granule_of((uintptr_t)p), TABLE_SIZE);
    uint64_t word = 0;

    while (at > 0) {
        _Atomic(uint64_t) *leaf = leaf_of(--at);
        if (leaf == NULL)
            at = umem_align_down(at, UMEM_PAGEMAP_LEAF_SIZE);
        else if ((word = word_in(leaf, at)) != 0)
            break;
    }
    *granule = at << UMEM_GRANULE_SHIFT;
    return word;
}

UMEM_COLD uint64_t
pagemap_above(const void *p, uintptr_t *granule)
{
    uintptr_t at = granule_of((uintptr_t)p) + 1;
    uint64_t word = 0;

    for (; at < TABLE_SIZE; at++) {
        _Atomic(uint64_t) *leaf = leaf_of(at);
        if (leaf == NULL)
            at |= UMEM_PAGEMAP_LEAF_SIZE - 1;
        else if ((word = word_in(leaf, at)) != 0)
            break;
    }
    *granule = at << UMEM_GRANULE_SHIFT;
    return word;
}

UMEM_COLD bool
pagemap_has_leaf(const void *p)
{
    uintptr_t granule = granule_of((uintptr_t)p);

    return granule < TABLE_SIZE && leaf_of(granule) != NULL;
}

void
pagemap_fork_prepare(void)
{
    umem_lock_acquire_fork(&pagemap_lock);
}

void
pagemap_fork_parent(void)
{
    umem_lock_release(&pagemap_lock);
}

void
pagemap_fork_child(void)
{
    umem_lock_reset_child(&pagemap_lock);
}
