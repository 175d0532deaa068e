/* SPDX-License-Identifier: MIT */
/*
 * stash.c - opening, closing and emptying the piles of threads: see stash.h.
 *
 * A thread gets a record with its second allocation that comes here, so that
 * threads which allocate once, as for an alternate signal stack, have none.
 * Where the system has no membarrier(2), and for threads past the 4,095th,
 * all piles stay closed.  So they do where somebody wants to see every
 * allocation (umem_cache_watched()), for classes with more to do (class_care),
 * and while a class is sealed or reserved, since a barrier is a system call.
 *
 * Owns the records, and the table of them by number, under stash_lock.
 * fork() empties all piles first and takes the lock: the child finds nothing
 * in any, and forgets the threads that it does not have.
 */
#include "stash.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "membarrier.h"
#include "deferred.h"
#include "page.h"

/* Records that are nobody's: no size has a pile there. */
#define NOBODY                                                                                     \
    {                                                                                              \
        .stash_pile = { [0] = {.pile_size = STASH_NO_SIZE} }                                       \
    }
static struct stash stash_fresh = NOBODY; /* of a thread that has not come here */
static struct stash stash_once = NOBODY;  /* that has come once */
static struct stash stash_none = NOBODY;  /* that has ended, or cannot have its own */

STACK_TLS struct stash_own stash_own = {.own_stash = &stash_fresh};

/* Of places that never had a stack: its word is none's. */
static struct table_slot no_slot;

/*
 * Numbers count from 1 and fit a word, see table.h.  Records come by the page, which is
 * little to be locked by mlockall(), and stay for who gets the number next.
 */
#define STASH_NUMBERS 4096
_Static_assert(STASH_NUMBERS - 1 <= TABLE_BIAS_MASK >> TABLE_BIAS_SHIFT, "numbers fit");
#define CHUNK_RECORDS (STACK_PAGE_MIN / sizeof(struct stash))
#define CHUNKS ((STASH_NUMBERS + CHUNK_RECORDS - 1) / CHUNK_RECORDS)

static pthread_mutex_t stash_lock = PTHREAD_MUTEX_INITIALIZER;
static struct stash *stash_chunk[CHUNKS];
static uint32_t stash_past = 1;                         /* past the highest number ever given */
static _Atomic uint32_t stash_forbidden[STACK_CLASSES]; /* enum stash_why */

static pthread_once_t stash_init_once = PTHREAD_ONCE_INIT;
static pthread_key_t stash_key; /* its destructor takes a thread's record back */
static bool stash_possible;

static bool
is_forbidden(unsigned class)
{
    return atomic_load_explicit(&stash_forbidden[class], memory_order_acquire) != 0;
}

static struct stash *
stash_by_number(uint32_t number)
{
    return &stash_chunk[number / CHUNK_RECORDS][number % CHUNK_RECORDS];
}

static struct stash_pile *
pile_of_class(struct stash *stash, unsigned class)
{
    return stash_pile_of(stash, stack_class_size(class));
}

/* Puts what is on a pile in front of a chain, through the slots. */
static struct table_slot *
pile_gather(struct stash_pile *pile, struct table_slot *chain)
{
    for (unsigned i = 0; i < STASH_ROUNDS; i++) {
        struct stash_place *place = &pile->pile_place[i];
        uintptr_t body = place_body(place);
        if ((body & PLACE_EMPTY) != 0)
            continue;
        struct table_slot *slot = place->place_slot;
        place_set_body(place, body | PLACE_EMPTY);
        slot->slot_body = (void *)body;
        slot->slot_next = chain;
        chain = slot;
    }
    return chain;
}

static void
chain_give_back(struct table_slot *chain)
{
    while (chain != NULL) {
        struct table_slot *slot = chain;
        chain = slot->slot_next;
        uint32_t word = atomic_load_explicit(&slot->slot_word, memory_order_relaxed);
        stack_give_back(slot->slot_body, table_class(word));
    }
}

/* Until the owner is not at slot, or at nothing at all where slot is NULL. */
static void
stash_wait(struct stash *stash, const struct table_slot *slot)
{
    for (;;) {
        const void *at = atomic_load_explicit(&stash->stash_mark, memory_order_acquire);
        if (at == NULL || (slot != NULL && at != slot))
            return;
        (void)usleep(1); /* it may be a thread of lower priority */
    }
}

/* Whether it was open: then no more than a barrier closes it. */
static bool
pile_close(struct stash_pile *pile)
{
    return atomic_exchange_explicit(&pile->pile_bias, PILE_CLOSED, memory_order_relaxed) !=
           PILE_CLOSED;
}

/* Closes and empties the piles of a class, with the lock held. */
static struct table_slot *
close_all(unsigned class, struct table_slot *chain)
{
    bool open = false;
    for (uint32_t n = 1; n < stash_past; n++)
        open |= pile_close(pile_of_class(stash_by_number(n), class));
    if (open)
        barrier_all();
    for (uint32_t n = 1; n < stash_past; n++) {
        stash_wait(stash_by_number(n), NULL);
        chain = pile_gather(pile_of_class(stash_by_number(n), class), chain);
    }
    return chain;
}

void
stash_close(unsigned class)
{
    pthread_mutex_lock(&stash_lock);
    struct table_slot *chain = close_all(class, NULL);
    pthread_mutex_unlock(&stash_lock);
    chain_give_back(chain);
}

static int
strip(const struct table_entry *entry, void *class)
{
    _Atomic uint32_t *where = &entry->entry_slot->slot_word;
    uint32_t word = entry->entry_word;
    while (table_class(word) == *(unsigned *)class && (word & TABLE_BIAS_MASK) != 0)
        if (atomic_compare_exchange_weak_explicit(where, &word, word & ~TABLE_BIAS_MASK,
                                                  memory_order_relaxed, memory_order_relaxed))
            break;
    return 0;
}

void
stash_forbid(unsigned class, enum stash_why why)
{
    atomic_fetch_or(&stash_forbidden[class], why);
    stash_close(class);
    (void)table_walk(strip, &class);
}

void
stash_permit(unsigned class, enum stash_why why)
{
    atomic_fetch_and(&stash_forbidden[class], ~(uint32_t)why);
}

void
stash_unbias(struct table_slot *slot, uint32_t word)
{
    pthread_mutex_lock(&stash_lock);
    struct stash *stash = stash_by_number(word >> TABLE_BIAS_SHIFT);
    /* Of a thread that has ended no pile is open, and nobody is at work. */
    if (stash != stash_own.own_stash) {
        struct stash_pile *pile = pile_of_class(stash, table_class(word));
        atomic_store_explicit(&pile->pile_shared, true, memory_order_relaxed);
        if (pile_close(pile))
            barrier_all();
        stash_wait(stash, slot);
    }
    atomic_compare_exchange_strong_explicit(&slot->slot_word, &word, word & ~TABLE_BIAS_MASK,
                                            memory_order_acq_rel, memory_order_relaxed);
    pthread_mutex_unlock(&stash_lock);
}

/* A thread ends. */
static void
stash_leave(void *arg)
{
    struct stash *stash = arg;
    struct table_slot *chain = NULL;
    stash_own.own_stash = &stash_none;
    pthread_mutex_lock(&stash_lock);
    for (unsigned class = 0; class < STACK_CLASSES; class ++) {
        (void)pile_close(pile_of_class(stash, class));
        chain = pile_gather(pile_of_class(stash, class), chain);
    }
    stash->stash_taken = false;
    pthread_mutex_unlock(&stash_lock);
    chain_give_back(chain);
}

static void
before_fork(void)
{
    struct table_slot *chain = NULL;
    pthread_mutex_lock(&stash_lock);
    for (unsigned class = 0; class < STACK_CLASSES; class ++) {
        atomic_fetch_or(&stash_forbidden[class], STASH_FORKING);
        chain = close_all(class, chain);
    }
    pthread_mutex_unlock(&stash_lock);
    chain_give_back(chain);
    pthread_mutex_lock(&stash_lock);
}

static void
after_fork_in_parent(void)
{
    for (unsigned class = 0; class < STACK_CLASSES; class ++)
        stash_permit(class, STASH_FORKING);
    pthread_mutex_unlock(&stash_lock);
}

static void
after_fork_in_child(void)
{
    for (uint32_t n = 1; n < stash_past; n++) {
        struct stash *stash = stash_by_number(n);
        if (stash == stash_own.own_stash)
            continue;
        stash->stash_taken = false;
        /* Its owner may have been at work: to find the pile closed, as it is. */
        atomic_store_explicit(&stash->stash_mark, NULL, memory_order_relaxed);
    }
    after_fork_in_parent();
}

static void
stash_init(void)
{
    stash_possible = barrier_register() && pthread_key_create(&stash_key, stash_leave) == 0 &&
                     pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child) == 0;
}

/* Of the first number that is free.  NULL: there is no number, or no memory. */
static struct stash *
find_free(void)
{
    uint32_t n = 1;
    while (n < stash_past && stash_by_number(n)->stash_taken)
        n++;
    if (n == STASH_NUMBERS)
        return NULL;
    struct stash **chunk = &stash_chunk[n / CHUNK_RECORDS];
    if (*chunk == NULL && (*chunk = page_table_alloc(sizeof(struct stash) * CHUNK_RECORDS)) == NULL)
        return NULL;
    stash_past = n < stash_past ? stash_past : n + 1;
    stash_by_number(n)->stash_number = n;
    return stash_by_number(n);
}

static void
stash_clear(struct stash *stash)
{
    for (unsigned class = 0; class < STACK_CLASSES; class ++) {
        struct stash_pile *pile = pile_of_class(stash, class);
        size_t fit = STASH_BYTES / stack_class_size(class);
        atomic_store_explicit(&pile->pile_bias, PILE_CLOSED, memory_order_relaxed);
        atomic_store_explicit(&pile->pile_shared, false, memory_order_relaxed);
        pile->pile_wait = 0;
        pile->pile_patience_shift = STASH_PATIENCE_SHIFT;
        pile->pile_top = pile->pile_place;
        pile->pile_size = stack_class_size(class);
        pile->pile_limit = (uint8_t)(fit < 1 ? 1 : fit > STASH_ROUNDS ? STASH_ROUNDS : fit);
        for (unsigned i = 0; i < STASH_ROUNDS; i++) {
            place_set_body(&pile->pile_place[i], PLACE_EMPTY);
            pile->pile_place[i].place_slot = &no_slot;
        }
    }
    stash->stash_pile[0].pile_size = STASH_NO_SIZE;
}

/* A record for this thread, which may turn out to be none. */
static struct stash *
stash_create(void)
{
    int error = errno;
    struct stash *stash = NULL;
    pthread_once(&stash_init_once, stash_init);
    if (stash_possible) {
        pthread_mutex_lock(&stash_lock);
        stash = find_free();
        if (stash != NULL && pthread_setspecific(stash_key, stash) != 0)
            stash = NULL;
        if (stash != NULL) {
            stash_clear(stash);
            stash->stash_taken = true;
        }
        pthread_mutex_unlock(&stash_lock);
    }
    errno = error;
    return stash != NULL ? stash : &stash_none;
}

static bool
may_open(const struct stash_pile *pile, unsigned class)
{
    umem_cache_t *cache =
        atomic_load_explicit(&stack_classes[class].class_cache, memory_order_acquire);
    return !is_forbidden(class) && cache != NULL && umem_cache_watched(cache) == 0 &&
           !atomic_load_explicit(&pile->pile_shared, memory_order_relaxed);
}

/* What need not be looked at under the lock: class_care is fixed, once there are stacks. */
static bool
stays_closed(unsigned class)
{
    return is_forbidden(class) ||
           atomic_load_explicit(&stack_classes[class].class_care, memory_order_relaxed) != 0;
}

/* With the lock held: others free the stacks of this pile, which is to be left alone for a while.
 */
static void
pile_lie_low(struct stash_pile *pile)
{
    pile->pile_wait = (uint32_t)1 << pile->pile_patience_shift;
    if (pile->pile_patience_shift < STASH_PATIENCE_SHIFT_MAX)
        pile->pile_patience_shift++;
    atomic_store_explicit(&pile->pile_shared, false, memory_order_relaxed);
}

/* Returns pile_bias as it is then. */
static STACK_COLD uint32_t
pile_open(unsigned class)
{
    struct stash *stash = stash_own.own_stash;
    if (stash == &stash_none || stays_closed(class))
        return PILE_CLOSED;
    if (stash == &stash_fresh || stash == &stash_once) {
        stash_own.own_stash = stash == &stash_fresh ? &stash_once : stash_create();
        return PILE_CLOSED;
    }
    struct stash_pile *pile = pile_of_class(stash, class);
    if (pile->pile_wait > 0 && --pile->pile_wait > 0)
        return PILE_CLOSED;
    uint32_t bias = PILE_CLOSED;
    pthread_mutex_lock(&stash_lock);
    struct table_slot *chain = pile_gather(pile, NULL); /* closed by who wanted a stack alone */
    pile->pile_top = pile->pile_place;
    if (may_open(pile, class))
        bias = stash->stash_number << TABLE_BIAS_SHIFT | class << TABLE_CLASS_SHIFT | STACK_USED;
    else if (atomic_load_explicit(&pile->pile_shared, memory_order_relaxed))
        pile_lie_low(pile);
    atomic_store_explicit(&pile->pile_bias, bias, memory_order_relaxed);
    pthread_mutex_unlock(&stash_lock);
    chain_give_back(chain);
    return bias;
}

uint32_t
stash_bias(unsigned class)
{
    struct stash_pile *pile = pile_of_class(stash_own.own_stash, class);
    uint32_t bias = atomic_load_explicit(&pile->pile_bias, memory_order_relaxed);
    if ((bias & TABLE_BIAS_MASK) == 0) /* closed, or nobody's */
        bias = pile_open(class);
    return bias & TABLE_BIAS_MASK;
}
