/* SPDX-License-Identifier: MIT */
/*
 * deferred.c - stack_free_deferred: see deferred.h.
 *
 * The bit TABLE_DEFERRED in a slot's word says that the stack is spoken for, so that
 * it cannot be freed again; slot_next and slot_body are its list's.  Owns
 * the head of each thread's list and a key whose destructor sees to what is
 * left when a thread ends.  In the child of a fork the lists of all other threads
 * are lost, and nobody stands on what was on them: the table tells what that
 * was.  No locks.
 */
#include "deferred.h"

#include <errno.h>
#include <pthread.h>
#include <stackalloc.h>

static pthread_once_t deferred_once = PTHREAD_ONCE_INIT;
static pthread_key_t deferred_key;
static int deferred_error; /* of making the key */

static void
take_back(struct table_slot *slot, void *body, unsigned class)
{
    atomic_store_explicit(&slot->slot_word, table_word(body, class, STACK_CACHED),
                          memory_order_release);
    stack_give_back(body, class);
}

/* Noinline, so that the address is one in the stack that the caller runs on. */
STACK_COLD void
deferred_take_back(void)
{
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    struct table_slot **link = &stash_own.own_deferred;
    while (*link != NULL) {
        struct table_slot *slot = *link;
        uint32_t word = atomic_load_explicit(&slot->slot_word, memory_order_relaxed);
        unsigned class = table_class(word);
        if (here - (uintptr_t)slot->slot_body < stack_class_size(class)) {
            link = &slot->slot_next;
            continue;
        }
        *link = slot->slot_next;
        take_back(slot, slot->slot_body, class);
    }
}

static void
thread_ends(void *unused)
{
    (void)unused;
    deferred_take_back();
}

static bool
is_mine(const struct table_slot *slot)
{
    const struct table_slot *mine = stash_own.own_deferred;
    while (mine != NULL && mine != slot)
        mine = mine->slot_next;
    return mine != NULL;
}

static int
take_back_orphan(const struct table_entry *entry, void *unused)
{
    (void)unused;
    if (table_state(entry->entry_word) == STACK_USED && (entry->entry_word & TABLE_DEFERRED) &&
        !is_mine(entry->entry_slot))
        take_back(entry->entry_slot, entry->entry_body, table_class(entry->entry_word));
    return 0;
}

static void
after_fork_in_child(void)
{
    (void)table_walk(take_back_orphan, NULL);
}

static void
make_key(void)
{
    deferred_error = pthread_key_create(&deferred_key, thread_ends);
    if (deferred_error == 0)
        deferred_error = pthread_atfork(NULL, NULL, after_fork_in_child);
}

STACK_EXPORT int
stack_free_deferred(void *address, size_t size)
{
    struct table_entry entry;
    int error = EINVAL;
    deferred_take_back();
    if (table_search(address, &entry) && entry.entry_body == address && entry.entry_size == size) {
        pthread_once(&deferred_once, make_key);
        error = deferred_error;
        /* Any value but NULL: the destructor is what is wanted. */
        if (error == 0)
            error = pthread_setspecific(deferred_key, &deferred_key);
        uint32_t used = table_word(address, table_class(entry.entry_word), STACK_USED);
        if (error == 0 && !table_take(entry.entry_slot, used, used | TABLE_DEFERRED))
            error = EINVAL;
    }
    if (error != 0) {
        errno = error;
        return -1;
    }
    entry.entry_slot->slot_body = address;
    entry.entry_slot->slot_next = stash_own.own_deferred;
    stash_own.own_deferred = entry.entry_slot;
    return 0;
}
