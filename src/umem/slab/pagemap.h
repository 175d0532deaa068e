/* SPDX-License-Identifier: MIT */
/*
 * pagemap.h - address to slab, for every granule of the heap.
 *
 * A two-level table of one 64-bit word a granule (64 KiB).  A word holds the
 * pointer to the record of what lives there, what kind of record that is, and
 * the number of the thread-cache bin that frees go to, so that free() learns
 * all it needs from one load, and an address that is not ours reads as 0.
 * Reads are lock-free; leaves are never freed.  Writers own the granules they
 * write, and take pagemap_lock (UMEM_RANK_PAGEMAP) only to add a leaf.
 */
#ifndef UMEM_PAGEMAP_H
#define UMEM_PAGEMAP_H

#include "base/base.h"

/*
 * 64 KiB: the unit the heap hands out.  Large enough that 50,000 live blocks
 * of 256 bytes need 200 words of this table (a random free stays in the L1
 * cache), small enough that a size class used once costs address space only.
 */
#define UMEM_GRANULE_SHIFT 16
#define UMEM_GRANULE ((size_t)1 << UMEM_GRANULE_SHIFT)

/* User addresses below 2^47 on x86-64, 2^48 on aarch64, 2^32 on 32-bit systems. */
#if UINTPTR_MAX > 0xffffffffu
#if defined(__x86_64__)
#define UMEM_VA_BITS 47
#else
#define UMEM_VA_BITS 48
#endif
#define UMEM_PAGEMAP_LEAF_BITS 16
#else
#define UMEM_VA_BITS 32
#define UMEM_PAGEMAP_LEAF_BITS 8
#endif
#define UMEM_PAGEMAP_LEAF_SHIFT (UMEM_GRANULE_SHIFT + UMEM_PAGEMAP_LEAF_BITS)
#define UMEM_PAGEMAP_ROOT_BITS (UMEM_VA_BITS - UMEM_PAGEMAP_LEAF_SHIFT)
#define UMEM_PAGEMAP_ROOT_SIZE ((size_t)1 << UMEM_PAGEMAP_ROOT_BITS)
#define UMEM_PAGEMAP_LEAF_SIZE ((size_t)1 << UMEM_PAGEMAP_LEAF_BITS)

/* A word: bin << 48 | pointer | kind. */
#define UMEM_PAGEMAP_BIN_SHIFT 48
#define UMEM_PAGEMAP_POINTER_MASK (((uint64_t)1 << UMEM_PAGEMAP_BIN_SHIFT) - 8)
#define UMEM_PAGEMAP_KIND_MASK ((uint64_t)7)
#define UMEM_PAGEMAP_SLAB ((uint64_t)1)     /* struct slab */
#define UMEM_PAGEMAP_LARGE ((uint64_t)2)    /* struct umem_large: its first granule only */
#define UMEM_PAGEMAP_FIREWALL ((uint64_t)3) /* struct umem_firewall */

/* A quarter of a word, of which the upper one is the bin. */
typedef uint16_t __attribute__((may_alias)) pagemap_quarter;

extern _Atomic(uint64_t) *_Atomic umem_pagemap_root[UMEM_PAGEMAP_ROOT_SIZE];

/* Where the word of the granule that holds p is; NULL where p is surely not ours. */
static inline _Atomic(uint64_t) *
pagemap_place(const void *p)
{
    uintptr_t top = (uintptr_t)p >> UMEM_PAGEMAP_LEAF_SHIFT;
    uint32_t in_leaf = (uint32_t)((uintptr_t)p & (((uint64_t)1 << UMEM_PAGEMAP_LEAF_SHIFT) - 1));
#if UINTPTR_MAX > 0xffffffffu
    if (UMEM_UNLIKELY(top >= UMEM_PAGEMAP_ROOT_SIZE))
        return NULL;
#endif
    _Atomic(uint64_t) *leaf = atomic_load_explicit(&umem_pagemap_root[top], memory_order_acquire);
    return UMEM_UNLIKELY(leaf == NULL) ? NULL : &leaf[in_leaf >> UMEM_GRANULE_SHIFT];
}

/* The word of the granule that holds p; 0 where p is not ours. */
static inline uint64_t
pagemap_get(const void *p)
{
    _Atomic(uint64_t) *place = pagemap_place(p);

    return place == NULL ? 0 : atomic_load_explicit(place, memory_order_relaxed);
}

/*
 * The word of the nearest granule below, or above, that of p which has one, and
 * where that granule begins; 0: there is none.  Each looks at every granule on
 * its way: for reports.  (AS)
 */
uint64_t pagemap_below(const void *p, uintptr_t *granule);
uint64_t pagemap_above(const void *p, uintptr_t *granule);
/* Whether the heap ever had an address with the same leaf of the table as p: 4 GiB of them. (AS) */
bool pagemap_has_leaf(const void *p);

static inline unsigned
pagemap_bin(uint64_t word)
{
    return (unsigned)(word >> UMEM_PAGEMAP_BIN_SHIFT);
}

/* pagemap_bin(pagemap_get(p)) in fewer instructions, by a load of these 16 bits alone. */
static inline unsigned
pagemap_bin_of(const void *p)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    _Atomic(uint64_t) *place = pagemap_place(p);

    return place == NULL ? 0 : __atomic_load_n((pagemap_quarter *)place + 3, __ATOMIC_RELAXED);
#else
    return pagemap_bin(pagemap_get(p));
#endif
}

static inline void *
pagemap_pointer(uint64_t word)
{
    return (void *)(uintptr_t)(word & UMEM_PAGEMAP_POINTER_MASK);
}

static inline uint64_t
pagemap_kind(uint64_t word)
{
    return word & UMEM_PAGEMAP_KIND_MASK;
}

/* The word for a record (8-aligned) of a kind, with frees going to bin. */
static inline uint64_t
pagemap_word(const void *record, uint64_t kind, unsigned bin)
{
    return (uint64_t)bin << UMEM_PAGEMAP_BIN_SHIFT | (uint64_t)(uintptr_t)record | kind;
}

/*
 * Writes word for every granule of [base, base + size).  False with errno: no
 * memory, nothing written.
 */
bool pagemap_set(const void *base, size_t size, uint64_t word);
void pagemap_clear(const void *base, size_t size);

void pagemap_fork_prepare(void);
void pagemap_fork_parent(void);
void pagemap_fork_child(void);

#endif
