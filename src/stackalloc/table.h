/* SPDX-License-Identifier: MIT */
/*
 * table.h - address to slot: which stacks exist, and who has each.
 *
 * Bodies are 32 KiB and more and do not overlap, so at most one begins in any
 * 32 KiB of address space (a granule), and the granule's number finds its slot
 * in a three-level table: three loads, for any pointer at all.  A slot is a
 * cache line, so that neighbouring stacks in different threads do not share
 * one.  Reads take no lock; nodes are added by compare-and-swap and never
 * freed, as their neighbours are soon needed again.
 *
 * A slot's word says all that a free must know: the offset of the body in its
 * granule, its class and its state.  So one compare-and-swap with the word
 * that a stack in use must have checks the address, the size and the state,
 * and takes the stack.
 */
#ifndef STACKALLOC_TABLE_H
#define STACKALLOC_TABLE_H

#include "stack.h"

/* User addresses below 2^47 on x86-64, 2^48 on other 64-bit systems, 2^32 on 32-bit ones. */
#if UINTPTR_MAX > 0xffffffffu
#if defined(__x86_64__)
#define TABLE_VA_BITS 47
#else
#define TABLE_VA_BITS 48
#endif
/*
 * A leaf is 32 KiB for 16 MiB of address space, a middle node 16 KiB for
 * 32 GiB, the root 32 or 64 KiB: small, since mlockall() locks them whole.
 */
#define TABLE_LEAF_BITS 9
#define TABLE_MIDDLE_BITS 11
#else
#define TABLE_VA_BITS 32
#define TABLE_LEAF_BITS 6
#define TABLE_MIDDLE_BITS 5
#endif
#define TABLE_GRANULE_SHIFT STACK_SIZE_SHIFT_MIN
#define TABLE_ROOT_BITS (TABLE_VA_BITS - TABLE_GRANULE_SHIFT - TABLE_LEAF_BITS - TABLE_MIDDLE_BITS)
#define TABLE_ROOT_SIZE ((size_t)1 << TABLE_ROOT_BITS)
#define TABLE_MIDDLE_SIZE ((size_t)1 << TABLE_MIDDLE_BITS)
#define TABLE_LEAF_SIZE ((size_t)1 << TABLE_LEAF_BITS)

#define TABLE_SLOT_SIZE 64 /* a cache line: see above */

enum stack_state { STACK_NONE = 0, STACK_CACHED = 1, STACK_USED = 2 };

struct table_slot {
    _Alignas(TABLE_SLOT_SIZE) _Atomic uint32_t slot_word;
};

struct table_leaf {
    struct table_slot leaf_slot[TABLE_LEAF_SIZE];
};

struct table_middle {
    _Atomic(struct table_leaf *) middle_leaf[TABLE_MIDDLE_SIZE];
};

extern _Atomic(struct table_middle *) table_root[TABLE_ROOT_SIZE];

/*
 * The word of a constructed stack: offset in the granule (a multiple of the
 * page size, so its low 12 bits are 0) | class | state.  0 is STACK_NONE.
 */
#define TABLE_CLASS_SHIFT 4
_Static_assert((STACK_CLASSES << TABLE_CLASS_SHIFT) <= STACK_PAGE_MIN, "class overlaps offset");

static inline uint32_t
table_word(const void *body, unsigned class, enum stack_state state)
{
    uint32_t offset = (uint32_t)((uintptr_t)body & (((uintptr_t)1 << TABLE_GRANULE_SHIFT) - 1));
    return offset | class << TABLE_CLASS_SHIFT | (uint32_t)state;
}

/* The slot of the granule that holds p, or NULL where no stack ever was near. */
static inline struct table_slot *
table_find(const void *p)
{
    uintptr_t granule = (uintptr_t)p >> TABLE_GRANULE_SHIFT;
    uintptr_t top = granule >> (TABLE_LEAF_BITS + TABLE_MIDDLE_BITS);
    if (STACK_UNLIKELY(top >= TABLE_ROOT_SIZE))
        return NULL;
    struct table_middle *middle = atomic_load_explicit(&table_root[top], memory_order_acquire);
    if (STACK_UNLIKELY(middle == NULL))
        return NULL;
    size_t index = (granule >> TABLE_LEAF_BITS) & (TABLE_MIDDLE_SIZE - 1);
    struct table_leaf *leaf =
        atomic_load_explicit(&middle->middle_leaf[index], memory_order_acquire);
    if (STACK_UNLIKELY(leaf == NULL))
        return NULL;
    return &leaf->leaf_slot[granule & (TABLE_LEAF_SIZE - 1)];
}

/* The same, making the nodes on the way.  NULL with errno. */
struct table_slot *table_reserve(const void *p);

#endif
