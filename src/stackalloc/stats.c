/* SPDX-License-Identifier: MIT */
/*
 * stats.c - stack_stats: what there is, counted when somebody asks.
 *
 * Allocations and frees count nothing; the table is walked instead, and the
 * kernel is asked what is locked and what holds memory, whoever made it so.
 * Makes a system call itself, for the faults of the process.
 * Owns the counts of constructions.  No locks of its own: other threads go on,
 * so each number is true of some moment of the call.
 */
#include <errno.h>
#include <stackalloc.h>
#include <string.h>
#include <sys/resource.h>

#include "look.h"
#include "note.h"
#include "table.h"

static _Atomic size_t constructions[STACK_CLASSES];
_Static_assert(STACK_CLASSES <= STACK_STATS_CLASSES, "a place for each class");

void
stack_note_construction(unsigned class)
{
    atomic_fetch_add_explicit(&constructions[class], 1, memory_order_relaxed);
}

static int
add_stack(const struct table_entry *entry, void *arg)
{
    struct stack_stats *stats = arg;
    struct stack_class_stats *class = &stats->stats_class[table_class(entry->entry_word)];
    size_t size = entry->entry_size;
    if (table_state(entry->entry_word) == STACK_USED) {
        class->class_used++;
        stats->stats_used_bytes += size;
    } else if (table_state(entry->entry_word) == STACK_BARE) {
        stats->stats_class_cold[table_class(entry->entry_word)]++;
        stats->stats_cold_bytes += size;
        return 0;
    } else {
        class->class_cached++;
        stats->stats_cached_bytes += size;
        stats->stats_cold_bytes += size - look_resident(entry->entry_body, size);
    }
    if (look_locked(entry->entry_body, size))
        stats->stats_locked_bytes += size;
    return 0;
}

static bool
is_ours(uintptr_t start)
{
    return stack_span_holds((void *)start);
}

/* The kernel does not tell on which memory. */
static size_t
faults_taken(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0)
        return 0;
    return (size_t)(usage.ru_minflt + usage.ru_majflt);
}

STACK_EXPORT int
stack_stats(struct stack_stats *stats, size_t size)
{
    if (size == 0) {
        errno = EINVAL;
        return -1;
    }
    int error = errno;
    struct stack_stats all;
    memset(&all, 0, sizeof(all));
    all.stats_classes = STACK_CLASSES;
    for (unsigned i = 0; i < STACK_CLASSES; i++) {
        size_t built = atomic_load_explicit(&constructions[i], memory_order_relaxed);
        all.stats_class[i].class_size = stack_class_size(i);
        all.stats_class[i].class_constructions = built;
        all.stats_constructions += built;
    }
    table_walk(add_stack, &all);
    all.stats_mappings = look_mappings(is_ours);
    all.stats_faults = faults_taken();
    if (size > sizeof(all))
        memset((char *)stats + sizeof(all), 0, size - sizeof(all));
    memcpy(stats, &all, size < sizeof(all) ? size : sizeof(all));
    errno = error;
    return 0;
}
