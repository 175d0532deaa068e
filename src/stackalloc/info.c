/* SPDX-License-Identifier: MIT */
/*
 * info.c - what the table knows of stacks, told: stack_info, stack_foreach,
 * and what is noted of them: stack_name, and the thread on a stack.
 *
 * Owns what lies beside the words of slots (table.h).  No locks, no system
 * calls, nothing written into a stack: all of it is async-signal-safe.  A word
 * is read once and whole; the notes beside it can be those of a moment later.
 */
#include <errno.h>
#include <string.h>

#include "note.h"
#include "table.h"

static void
name_load(struct table_slot *slot, char name[STACK_NAME_MAX])
{
    uint32_t words[TABLE_NAME_WORDS] = {0};
    for (size_t i = 0; i < TABLE_NAME_WORDS; i++)
        words[i] = atomic_load_explicit(&slot->slot_name[i], memory_order_relaxed);
    memcpy(name, words, STACK_NAME_MAX);
    name[STACK_NAME_MAX - 1] = 0;
}

static void
place_fill(struct stack_info *info, const struct table_entry *entry, uintptr_t address)
{
    uintptr_t base = (uintptr_t)entry->entry_body;
    if (address < base) {
        info->info_place = STACK_IN_LOW_GUARD;
        info->info_beyond = base - address;
    } else if (address - base >= entry->entry_size) {
        info->info_place = STACK_IN_HIGH_GUARD;
        info->info_beyond = address - base - entry->entry_size + 1;
    }
}

static const enum stack_info_state info_states[] = {
    [STACK_CACHED] = STACK_IS_CACHED, [STACK_USED] = STACK_IS_USED, [STACK_BARE] = STACK_IS_COLD};

static void
info_fill(struct stack_info *info, const struct table_entry *entry, uintptr_t address)
{
    memset(info, 0, sizeof(*info));
    info->info_base = entry->entry_body;
    info->info_size = entry->entry_size;
    info->info_guard_low = entry->entry_low;
    info->info_guard_high = entry->entry_high;
    info->info_state = info_states[table_state(entry->entry_word)];
    place_fill(info, entry, address);
    struct table_slot *slot = entry->entry_slot;
    if (entry->entry_word & TABLE_NAMED)
        name_load(slot, info->info_name);
    if (entry->entry_word & TABLE_OWNED) {
        info->info_thread = (pid_t)atomic_load_explicit(&slot->slot_thread, memory_order_relaxed);
        info->info_start = (void *)atomic_load_explicit(&slot->slot_start, memory_order_relaxed);
    }
}

static int
no_such_stack(void)
{
    errno = EINVAL;
    return -1;
}

STACK_EXPORT int
stack_info(const void *address, struct stack_info *info)
{
    struct table_entry entry;
    if (!table_search(address, &entry))
        return no_such_stack();
    info_fill(info, &entry, (uintptr_t)address);
    return 0;
}

/* A stack in use, and an address in its body. */
static bool
find_used(const void *address, struct table_entry *entry)
{
    return table_search(address, entry) && table_state(entry->entry_word) == STACK_USED &&
           (uintptr_t)address - (uintptr_t)entry->entry_body < entry->entry_size;
}

STACK_EXPORT int
stack_name(const void *address, const char *name)
{
    struct table_entry entry;
    if (!find_used(address, &entry))
        return no_such_stack();
    uint32_t words[TABLE_NAME_WORDS] = {0};
    if (name != NULL)
        memcpy(words, name, strnlen(name, STACK_NAME_MAX - 1));
    for (size_t i = 0; i < TABLE_NAME_WORDS; i++)
        atomic_store_explicit(&entry.entry_slot->slot_name[i], words[i], memory_order_relaxed);
    return table_note(&entry, TABLE_NAMED, true) ? 0 : no_such_stack();
}

bool
stack_note_thread(const void *address, pid_t thread, const void *start)
{
    struct table_entry entry;
    if (!find_used(address, &entry))
        return false;
    atomic_store_explicit(&entry.entry_slot->slot_thread, (uint32_t)thread, memory_order_relaxed);
    atomic_store_explicit(&entry.entry_slot->slot_start, (uintptr_t)start, memory_order_relaxed);
    return table_note(&entry, TABLE_OWNED, true);
}

struct visit {
    stack_foreach_fn *visit_fn;
    void *visit_arg;
};

static int
visit_entry(const struct table_entry *entry, void *arg)
{
    const struct visit *visit = arg;
    struct stack_info info;
    if (table_state(entry->entry_word) == STACK_BARE)
        return 0;
    info_fill(&info, entry, (uintptr_t)entry->entry_body);
    return visit->visit_fn(&info, visit->visit_arg);
}

STACK_EXPORT int
stack_foreach(stack_foreach_fn *fn, void *arg)
{
    struct visit visit = {fn, arg};
    return table_walk(visit_entry, &visit);
}
