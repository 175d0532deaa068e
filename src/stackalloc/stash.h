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
 * 4. Places.  A stack that was taken from a pile stays noted in its place, so
 *    when it comes back before any other its slot needs no looking for.  Nor
 *    do such a take and its return write where the top is: each would have to wait
 *    for the other's store.  What is noted may be old; a slot and its body belong
 *    together for ever, though, and the word decides, as always.
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

/* Allocations of 10 ns more, where a barrier takes some 5 us: 1,024 at first, up to a million. */
#define STASH_PATIENCE_SHIFT 10
#define STASH_PATIENCE_SHIFT_MAX 20

struct stash_place {
    _Atomic uintptr_t place_body; /* and PLACE_EMPTY where it was taken */
    struct table_slot *place_slot;
};
#define PLACE_EMPTY ((uintptr_t)1) /* no body has an odd address */

/* Two cache lines, of which the first holds what is used with two stacks. */
struct stash_pile {
    _Alignas(128) size_t pile_size; /* of a stack; what no size is in records that are nobody's */
    /* The word of a stack that is in use and the owner's, but for its offset; or PILE_CLOSED. */
    _Atomic uint32_t pile_bias;
    uint32_t pile_wait; /* the owner's: allocations before it is tried again, or 0 */
    /* The owner's: the last place with a stack, or the next; below it none is empty, while open. */
    struct stash_place *pile_top;
    struct stash_place pile_place[STASH_ROUNDS]; /* of the owner, and of who closed the pile */
    uint8_t pile_limit;                          /* of them, how many are used */
    _Atomic bool pile_shared;                    /* others free its stacks */
    uint8_t pile_patience_shift;                 /* the owner's: for pile_wait, next time */
};
_Static_assert(sizeof(struct stash_pile) == 128, "a pile is found by a shift");

/* No word of a stack, whatever its offset: there is no such state. */
#define PILE_CLOSED TABLE_STATE_MASK

/*
 * Any size finds a pile, whose size it has or not, by a multiplication: a power of two shifts
 * three bits of the factor to where they count, and no three neighbours in it are alike.  So the
 * classes have a pile each, and all that is below them (0 is) has the first, which is no class's.
 */
#define STASH_PILES 8
#define STASH_FACTOR ((size_t)0x1d3)
#define STASH_FACTOR_SHIFT STACK_SIZE_SHIFT_MAX
/* A size that no pile has, and which is looked for in another one than the first. */
#define STASH_NO_SIZE (((size_t)1 << STACK_SIZE_SHIFT_MIN) + 1)
_Static_assert(STACK_CLASSES < STASH_PILES, "one more");

struct stash {
    struct stash_pile stash_pile[STASH_PILES];
    _Atomic(void *) stash_mark; /* the slot or the pile that the owner is at, or NULL */
    uint32_t stash_number;
    bool stash_taken; /* by a thread; under stash_lock */
};

/* What a thread has, in one place, so that it is found once. */
struct stash_own {
    struct stash *own_stash;         /* a static one, all closed, where it has none */
    struct table_slot *own_deferred; /* see deferred.h */
};
extern STACK_TLS struct stash_own stash_own;

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
    return &stash->stash_pile[(size * STASH_FACTOR >> STASH_FACTOR_SHIFT) % STASH_PILES];
}

static inline uintptr_t
place_body(const struct stash_place *place)
{
    return atomic_load_explicit(&place->place_body, memory_order_relaxed);
}

static inline void
place_set_body(struct stash_place *place, uintptr_t body)
{
    atomic_store_explicit(&place->place_body, body, memory_order_relaxed);
}

/* What lies on top of a pile is taken from it.  False: nothing does. */
static inline bool
pile_take(struct stash_pile *pile, void **body, struct table_slot **slot)
{
    struct stash_place *place = pile->pile_top;
    uintptr_t top = place_body(place);
    if (STACK_UNLIKELY((top & PLACE_EMPTY) != 0)) {
        if (place == pile->pile_place)
            return false;
        pile->pile_top = --place;
        top = place_body(place);
    }
    place_set_body(place, top | PLACE_EMPTY);
    *body = (void *)top;
    *slot = place->place_slot;
    return true;
}

/* A stack of any size at all, marked as used.  False: there is none on a pile. */
static inline bool
stash_take(size_t size, void **body)
{
    struct stash *stash = stash_own.own_stash;
    struct stash_pile *pile = stash_pile_of(stash, size);
    if (STACK_UNLIKELY(pile->pile_size != size))
        return false;
    struct table_slot *slot;
    stash_begin(stash, pile);
    uint32_t bias = atomic_load_explicit(&pile->pile_bias, memory_order_relaxed);
    bool took = STACK_LIKELY(bias != PILE_CLOSED) && pile_take(pile, body, &slot);
    if (STACK_LIKELY(took))
        atomic_store_explicit(&slot->slot_word, bias | table_offset(*body), memory_order_relaxed);
    stash_end(stash);
    return took;
}

/* The word that a stack in use, and the owner's, has, if it has no notes. */
static inline uint32_t
pile_word(struct stash_pile *pile, const void *body)
{
    return atomic_load_explicit(&pile->pile_bias, memory_order_relaxed) | table_offset(body);
}

/* Frees the stack that was taken last and is not back yet, if it is that and the caller's. */
static inline bool
stash_put_back(void *body, size_t size)
{
    struct stash *stash = stash_own.own_stash;
    struct stash_pile *pile = stash_pile_of(stash, size);
    if (STACK_UNLIKELY(pile->pile_size != size))
        return false;
    /* Should the pile be closed just now, its places change, and words differ from then on. */
    struct stash_place *place = pile->pile_top;
    if (STACK_UNLIKELY(place_body(place) != ((uintptr_t)body | PLACE_EMPTY)))
        return false;
    struct table_slot *slot = place->place_slot;
    stash_begin(stash, slot);
    uint32_t mine = pile_word(pile, body);
    bool put = atomic_load_explicit(&slot->slot_word, memory_order_relaxed) == mine;
    if (STACK_LIKELY(put)) {
        atomic_store_explicit(&slot->slot_word, mine - STACK_USED + STACK_CACHED,
                              memory_order_relaxed);
        place_set_body(place, (uintptr_t)body);
    }
    stash_end(stash);
    return put;
}

enum stash_put { STASH_NOT_MINE, STASH_KEPT, STASH_FULL };

static inline enum stash_put
pile_put(struct stash_pile *pile, struct table_slot *slot, void *body)
{
    struct stash_place *place = pile->pile_top;
    if ((place_body(place) & PLACE_EMPTY) == 0 && ++place == pile->pile_place + pile->pile_limit)
        return STASH_FULL;
    pile->pile_top = place;
    place_set_body(place, (uintptr_t)body);
    place->place_slot = slot;
    return STASH_KEPT;
}

/*
 * Frees a stack of any size that is in use and the caller's.  STASH_FULL: it is
 * cached now, but on no pile.
 */
static inline enum stash_put
stash_put(struct table_slot *slot, void *body, size_t size)
{
    struct stash *stash = stash_own.own_stash;
    struct stash_pile *pile = stash_pile_of(stash, size);
    enum stash_put put = STASH_NOT_MINE;
    if (STACK_UNLIKELY(pile->pile_size != size))
        return put;
    stash_begin(stash, slot);
    uint32_t mine = pile_word(pile, body);
    uint32_t word = atomic_load_explicit(&slot->slot_word, memory_order_relaxed);
    if (STACK_LIKELY((word & ~TABLE_NOTES) == mine)) {
        atomic_store_explicit(&slot->slot_word, mine - STACK_USED + STACK_CACHED,
                              memory_order_relaxed);
        put = pile_put(pile, slot, body);
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
