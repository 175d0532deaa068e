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
 *
 * What is noted of a stack (its name, the thread on it) lies beside the word,
 * and a bit of the word says whether it holds.  So the next allocation, which
 * stores a word without such bits, forgets it all, and a free that meets a bit
 * takes a slower way: a stack with no note pays nothing for those that have one.
 */
#ifndef STACKALLOC_TABLE_H
#define STACKALLOC_TABLE_H

#include <stackalloc.h>

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

enum stack_state { STACK_NONE = 0, STACK_CACHED = 1, STACK_USED = 2, STACK_BARE = 3 };

#define TABLE_NAME_WORDS (STACK_NAME_MAX / sizeof(uint32_t))

struct table_slot {
    _Alignas(TABLE_SLOT_SIZE) _Atomic uint32_t slot_word;
    _Atomic uint32_t slot_thread;                 /* where TABLE_OWNED: its number */
    _Atomic uintptr_t slot_start;                 /* and an address in its start function, or 0 */
    _Atomic uint32_t slot_name[TABLE_NAME_WORDS]; /* where TABLE_NAMED: may lack the last zero */
    struct table_slot *slot_next;                 /* of a list: deferred.h, stash.c */
    void *slot_body;
    uint32_t slot_tool;         /* tools.h; of the constructor and the destructor */
    _Atomic uint32_t slot_left; /* SLOT_: how its object was left, see build.c */
};

/* Guards are regions and all of the object is open. */
#define SLOT_REGIONS 1u
/* All of it is inaccessible, and was ever since it was mapped. */
#define SLOT_CLOSED 2u
/* Huge pages are kept out of the body, where the class has them: watermark.c. */
#define SLOT_SMALL 4u

_Static_assert(sizeof(struct table_slot) == TABLE_SLOT_SIZE, "a slot is a cache line");

struct table_leaf {
    struct table_slot leaf_slot[TABLE_LEAF_SIZE];
};

struct table_middle {
    _Atomic(struct table_leaf *) middle_leaf[TABLE_MIDDLE_SIZE];
};

extern _Atomic(struct table_middle *) table_root[TABLE_ROOT_SIZE];

/*
 * The word of a constructed stack: number of the thread that may free it
 * without an atomic operation (stash.h) or 0 | offset in the granule (a multiple of
 * the page size, so its low 12 bits are 0) | notes | class | state.  0 is STACK_NONE.
 */
#define TABLE_STATE_MASK 0xfu
#define TABLE_CLASS_SHIFT 4
#define TABLE_CLASS_MASK 0x70u
#define TABLE_NAMED 0x80u
#define TABLE_OWNED 0x100u
#define TABLE_FILLED 0x200u
/*
 * What it is filled with (watermark.c): the number of the word times an odd
 * constant that spreads bits (2^64 / golden ratio), and no byte of it 0.
 */
#define TABLE_PATTERN_FACTOR UINT64_C(0x9e3779b97f4a7c15)
#define TABLE_PATTERN_ONES UINT64_C(0x0101010101010101)
#define TABLE_NOTES (TABLE_NAMED | TABLE_OWNED | TABLE_FILLED)
#define TABLE_DEFERRED 0x400u /* in use, and freed by the thread that stands on it: deferred.h */
/* In use by the library itself, for a thread that it made or for its signals: nobody's to free. */
#define TABLE_HELD 0x800u
_Static_assert(((STACK_CLASSES - 1) << TABLE_CLASS_SHIFT) <= TABLE_CLASS_MASK, "class fits");
_Static_assert((TABLE_NOTES | TABLE_DEFERRED | TABLE_HELD) < STACK_PAGE_MIN,
               "notes overlap offset");
#define TABLE_OFFSET_MASK (((uint32_t)1 << TABLE_GRANULE_SHIFT) - (uint32_t)STACK_PAGE_MIN)
#define TABLE_BIAS_SHIFT TABLE_GRANULE_SHIFT
#define TABLE_BIAS_MASK (~(uint32_t)0 << TABLE_BIAS_SHIFT)

static inline uint32_t
table_offset(const void *body)
{
    return (uint32_t)(uintptr_t)body & (((uint32_t)1 << TABLE_GRANULE_SHIFT) - 1);
}

static inline uint32_t
table_word(const void *body, unsigned class, enum stack_state state)
{
    return table_offset(body) | class << TABLE_CLASS_SHIFT | (uint32_t)state;
}

static inline enum stack_state
table_state(uint32_t word)
{
    return (enum stack_state)(word & TABLE_STATE_MASK);
}

static inline unsigned
table_class(uint32_t word)
{
    return (word & TABLE_CLASS_MASK) >> TABLE_CLASS_SHIFT;
}

/* The body that a word in the slot of granule is about. */
static inline char *
table_body(uintptr_t granule, uint32_t word)
{
    return (char *)((granule << TABLE_GRANULE_SHIFT) | (word & TABLE_OFFSET_MASK));
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

/* The same for a body that was constructed: its nodes are there, for good. */
static inline struct table_slot *
table_known(const void *body)
{
    uintptr_t granule = (uintptr_t)body >> TABLE_GRANULE_SHIFT;
    uintptr_t top = granule >> (TABLE_LEAF_BITS + TABLE_MIDDLE_BITS);
    size_t index = (granule >> TABLE_LEAF_BITS) & (TABLE_MIDDLE_SIZE - 1);
    struct table_middle *middle = atomic_load_explicit(&table_root[top], memory_order_acquire);
    struct table_leaf *leaf =
        atomic_load_explicit(&middle->middle_leaf[index], memory_order_acquire);
    return &leaf->leaf_slot[granule & (TABLE_LEAF_SIZE - 1)];
}

/* The slot of an address, making the nodes on the way.  NULL with errno. */
struct table_slot *table_reserve(const void *p);

/* A stack as its slot showed it at one moment. */
struct table_entry {
    struct table_slot *entry_slot;
    uint32_t entry_word;
    char *entry_body;
    size_t entry_size;
    size_t entry_low, entry_high; /* widths of its guards */
};

/* The stack, in whichever state, whose body or guards hold address.  Async-signal-safe. */
bool table_search(const void *address, struct table_entry *entry);

/*
 * Calls fn for every stack, STACK_BARE ones too, from low addresses to high, until it
 * returns what is not 0, and returns that.  Async-signal-safe.
 */
int table_walk(int (*fn)(const struct table_entry *entry, void *arg), void *arg);

/*
 * Says that what was written beside the word of a stack in use holds, or does
 * not: bit is TABLE_NAMED or the like.  False where it is not in use any more.
 */
bool table_note(const struct table_entry *entry, uint32_t bit, bool holds);
/*
 * Makes the word of a stack in use, that may have notes and a thread's number,
 * another, without either.  False: it is none.
 */
bool table_take(struct table_slot *slot, uint32_t used, uint32_t then);

#endif
