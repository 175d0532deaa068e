/* SPDX-License-Identifier: MIT */
/*
 * table.c - growing, searching and walking the address table: see table.h.
 *
 * Owns table_root and the nodes under it, which come from page_table_alloc()
 * and so are zeroed: every slot begins as STACK_NONE.  No locks: a node is
 * published by compare-and-swap, and the loser of a race frees its own.
 */
#include "table.h"

#include <errno.h>

#include "page.h"
#include "stash.h"

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

static void
entry_fill(struct table_entry *entry, struct table_slot *slot, uint32_t word, char *body)
{
    unsigned class = table_class(word);
    entry->entry_slot = slot;
    entry->entry_word = word;
    entry->entry_body = body;
    entry->entry_size = stack_class_size(class);
    entry->entry_low =
        atomic_load_explicit(&stack_classes[class].class_guard_low, memory_order_relaxed);
    entry->entry_high =
        atomic_load_explicit(&stack_classes[class].class_guard_high, memory_order_relaxed);
}

/* The stack that begins in a granule.  False where there is none. */
static bool
entry_load(uintptr_t granule, struct table_entry *entry)
{
    struct table_slot *slot = table_find((void *)(granule << TABLE_GRANULE_SHIFT));
    if (slot == NULL)
        return false;
    uint32_t word = atomic_load_explicit(&slot->slot_word, memory_order_acquire);
    if (table_state(word) == STACK_NONE)
        return false;
    entry_fill(entry, slot, word, table_body(granule, word));
    return true;
}

/* The widest guard of any class, below and above. */
static size_t
widest_guard(void)
{
    size_t widest = 0;
    for (unsigned i = 0; i < STACK_CLASSES; i++) {
        size_t low = atomic_load_explicit(&stack_classes[i].class_guard_low, memory_order_relaxed);
        size_t high =
            atomic_load_explicit(&stack_classes[i].class_guard_high, memory_order_relaxed);
        widest = low > widest ? low : widest;
        widest = high > widest ? high : widest;
    }
    return widest;
}

/*
 * A stack has a slot in its first granule only, so that building one writes
 * one word; whoever asks for an inner address looks through the granules
 * below, 64 for 2 MiB.  The first stack found there decides, as none overlap.
 */
bool
table_search(const void *address, struct table_entry *entry)
{
    uintptr_t p = (uintptr_t)address;
    uintptr_t granule = p >> TABLE_GRANULE_SHIFT;
    uintptr_t guard = (widest_guard() >> TABLE_GRANULE_SHIFT) + 1;
    uintptr_t reach = (stack_class_size(STACK_CLASSES - 1) >> TABLE_GRANULE_SHIFT) + guard;

    for (uintptr_t n = 0; n <= reach && n <= granule; n++)
        if (entry_load(granule - n, entry) && (uintptr_t)entry->entry_body <= p) {
            if (p - (uintptr_t)entry->entry_body < entry->entry_size + entry->entry_high)
                return true;
            break;
        }
    for (uintptr_t n = 0; n <= guard; n++)
        if (entry_load(granule + n, entry) && (uintptr_t)entry->entry_body > p)
            return (uintptr_t)entry->entry_body - p <= entry->entry_low;
    return false;
}

static int
leaf_walk(struct table_leaf *leaf, uintptr_t granule,
          int (*fn)(const struct table_entry *entry, void *arg), void *arg)
{
    for (size_t i = 0; i < TABLE_LEAF_SIZE; i++) {
        struct table_slot *slot = &leaf->leaf_slot[i];
        uint32_t word = atomic_load_explicit(&slot->slot_word, memory_order_acquire);
        if (table_state(word) == STACK_NONE)
            continue;
        struct table_entry entry;
        entry_fill(&entry, slot, word, table_body(granule + i, word));
        int result = fn(&entry, arg);
        if (result != 0)
            return result;
    }
    return 0;
}

int
table_walk(int (*fn)(const struct table_entry *entry, void *arg), void *arg)
{
    for (size_t top = 0; top < TABLE_ROOT_SIZE; top++) {
        struct table_middle *middle = atomic_load_explicit(&table_root[top], memory_order_acquire);
        for (size_t i = 0; middle != NULL && i < TABLE_MIDDLE_SIZE; i++) {
            struct table_leaf *leaf =
                atomic_load_explicit(&middle->middle_leaf[i], memory_order_acquire);
            if (leaf == NULL)
                continue;
            uintptr_t granule = ((top << TABLE_MIDDLE_BITS) | i) << TABLE_LEAF_BITS;
            int result = leaf_walk(leaf, granule, fn, arg);
            if (result != 0)
                return result;
        }
    }
    return 0;
}

bool
table_note(const struct table_entry *entry, uint32_t bit, bool holds)
{
    _Atomic uint32_t *where = &entry->entry_slot->slot_word;
    uint32_t word = atomic_load_explicit(where, memory_order_relaxed), noted;
    do {
        if (((word ^ entry->entry_word) & ~(TABLE_NOTES | TABLE_BIAS_MASK)) != 0 ||
            table_state(word) != STACK_USED)
            return false;
        noted = holds ? word | bit : word & ~bit;
    } while (!atomic_compare_exchange_weak_explicit(where, &word, noted, memory_order_release,
                                                    memory_order_relaxed));
    return true;
}

bool
table_take(struct table_slot *slot, uint32_t used, uint32_t then)
{
    uint32_t word = atomic_load_explicit(&slot->slot_word, memory_order_relaxed);
    while ((word & ~(TABLE_NOTES | TABLE_BIAS_MASK)) == used) {
        if ((word & TABLE_BIAS_MASK) != 0) {
            stash_unbias(slot, word);
            word = atomic_load_explicit(&slot->slot_word, memory_order_relaxed);
        } else if (atomic_compare_exchange_weak_explicit(
                       &slot->slot_word, &word, then, memory_order_acq_rel, memory_order_relaxed)) {
            return true;
        }
    }
    return false;
}
