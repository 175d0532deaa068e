/* SPDX-License-Identifier: MIT */
/*
 * stash.h - a few freed stacks that a thread keeps in front of the caches of
 * umem, and the right to free without an atomic operation.
 *
 * 1. Bias.  A stack that a thread allocates while its pile of that class is
 *    open carries the thread's number in its slot's word.  It is the owner's:
 *    the thread frees it by a load, a comparison and a store.  Any other thread
 *    that frees it first takes the number off (stash_unbias), and then does
 *    what is done with stacks that are nobody's: a compare-and-swap.
 *
 * 2. Marks.  A comparison and a store are two steps, between which an owner
 *    may be stopped for long.  So it says beforehand which slot it is at
 *    (stash_mark), and looks once more whether its pile is open.  Who takes a
 *    number off closes the pile, has the kernel pass every running thread
 *    through a memory barrier (membarrier(2)), and then waits only for an
 *    owner who is just at this very slot: who frees the stack too, that is.
 *    After that the owner finds its pile closed and compares and swaps as
 *    everybody.  Where stacks are freed by others nothing is to be had from a bias,
 *    so a pile that was closed for this is opened again only after so many allocations
 *    (STASH_PATIENCE) that a barrier is nothing beside them, and each time after
 *    twice as many.
 *
 * 3. Piles.  An owner puts what it frees on its pile of the class, takes from
 *    there what it allocates, and goes to umem's cache where the pile is full
 *    or empty.  A word on a pile says CACHED.  Others empty piles when they are
 *    closed, for umem_reap(), fork(), seals and reserves.
 *
 * The lock stash_lock: which numbers are taken, closing and opening piles.  No
 * call of umem's is made with it held.  Owners never take it on the fast paths.
 */
#ifndef STACKALLOC_STASH_H
#define STACKALLOC_STASH_H

#include "table.h"

/* Stacks of a pile: at least one, no more than this, and of all no more than so many bytes. */
#define STASH_ROUNDS 6
#define STASH_BYTES ((size_t)1 << 20)

/* Two cache lines, of which the first holds what is used with a few stacks. */
/* Allocations of 10 ns more, where a barrier takes some 5 us; up to a million. */
#define STASH_PATIENCE ((uint32_t)1 << 10)
#define STASH_PATIENCE_MAX ((uint32_t)1 << 20)

struct stash_pile {
    _Alignas(128) size_t pile_size; /* of a stack; 0 in records that are nobody's */
    /* The word of a stack that is in use and the owner's, but for its offset; or PILE_CLOSED. */
    _Atomic uint32_t pile_bias;
    uint16_t pile_count; /* these of the owner, and of who closed the pile */
    uint16_t pile_limit;
    void *pile_body[STASH_ROUNDS];
    struct table_slot *pile_slot[STASH_ROUNDS];
    _Atomic bool pile_shared; /* others free its stacks */
    /* The owner's: allocations before it is tried again, or 0, and how many it will be next time.
     */
    uint32_t pile_wait;
    uint32_t pile_patience;
};
_Static_assert(sizeof(struct stash_pile) == 128, "a pile is found by a shift");

/* No word of a stack, whatever its offset: there is no such state. */
#define PILE_CLOSED TABLE_STATE_MASK

/* Of them the last is no class: any size finds a pile, whose size it has or not. */
#define STASH_PILES 8
_Static_assert(STACK_CLASSES < STASH_PILES, "one more");

struct stash {
    struct stash_pile stash_pile[STASH_PILES];
    _Atomic(void *) stash_mark; /* the slot or the pile that the owner is at, or NULL */
    uint32_t stash_number;
    bool stash_taken; /* by a thread; under stash_lock */
};

/* The calling thread's; a static one, all closed, where it has none. */
extern STACK_TLS struct stash *stash_self;

/*
 * The owner goes to work, and is done.  Nothing in between may be moved out:
 * before it by the compiler, and not by the processor at the time of a
 * membarrier().
 */
static inline void
stash_begin(struct stash *stash, void *what)
{
    atomic_store_explicit(&stash->stash_mark, what, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
}

static inline void
stash_end(struct stash *stash)
{
    atomic_store_explicit(&stash->stash_mark, NULL, memory_order_release);
}

static inline struct stash_pile *
stash_pile_of(struct stash *stash, size_t size)
{
    unsigned shift = (unsigned)__builtin_ctzl(size | ~(SIZE_MAX >> 1));
    return &stash->stash_pile[(shift - STACK_SIZE_SHIFT_MIN) % STASH_PILES];
}

/* A stack of any size at all, marked as used; NULL: there is none on a pile. */
static inline void *
stash_take(size_t size)
{
    struct stash *stash = stash_self;
    struct stash_pile *pile = stash_pile_of(stash, size);
    if (STACK_UNLIKELY(pile->pile_size != size))
        return NULL;
    void *body = NULL;
    stash_begin(stash, pile);
    uint32_t bias = atomic_load_explicit(&pile->pile_bias, memory_order_relaxed);
    unsigned count;
    if (STACK_LIKELY(bias != PILE_CLOSED && (count = pile->pile_count) > 0)) {
        pile->pile_count = (uint16_t)(count - 1);
        body = pile->pile_body[count - 1];
        atomic_store_explicit(&pile->pile_slot[count - 1]->slot_word, bias | table_offset(body),
                              memory_order_relaxed);
    }
    stash_end(stash);
    return body;
}

enum stash_put { STASH_NOT_MINE, STASH_KEPT, STASH_FULL };

/*
 * Frees a stack of any size that is in use and the caller's.  STASH_FULL: it is
 * cached now, but on no pile.
 */
static inline enum stash_put
stash_put(struct table_slot *slot, void *body, size_t size)
{
    struct stash *stash = stash_self;
    struct stash_pile *pile = stash_pile_of(stash, size);
    enum stash_put put = STASH_NOT_MINE;
    if (STACK_UNLIKELY(pile->pile_size != size))
        return put;
    stash_begin(stash, slot);
    uint32_t mine =
        atomic_load_explicit(&pile->pile_bias, memory_order_relaxed) | table_offset(body);
    uint32_t word = atomic_load_explicit(&slot->slot_word, memory_order_relaxed);
    if (STACK_LIKELY((word & ~TABLE_NOTES) == mine)) {
        atomic_store_explicit(&slot->slot_word, mine - STACK_USED + STACK_CACHED,
                              memory_order_relaxed);
        unsigned count = pile->pile_count;
        put = STASH_FULL;
        if (STACK_LIKELY(count < pile->pile_limit)) {
            pile->pile_body[count] = body;
            pile->pile_slot[count] = slot;
            pile->pile_count = (uint16_t)(count + 1);
            put = STASH_KEPT;
        }
    }
    stash_end(stash);
    return put;
}

/* --- stash.c --- */

/* What the word of a stack just allocated gets beside offset, class and state: a number, or 0. */
uint32_t stash_bias(unsigned class);
/*
 * Takes the number off the word of a stack in use.  Afterwards the word has
 * none, or is another altogether.
 */
void stash_unbias(struct table_slot *slot, uint32_t word);
/* Closes all piles of the class, until they are opened again, and empties them. */
void stash_close(unsigned class);

/*
 * Why all piles of a class stay closed, and no stack of it carries a number:
 * freeing one by another thread would be a system call.
 */
enum stash_why { STASH_SEALED = 1, STASH_RESERVED = 2, STASH_FORKING = 4 };
void stash_forbid(unsigned class, enum stash_why why);
void stash_permit(unsigned class, enum stash_why why);

#endif
