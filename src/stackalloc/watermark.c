/* SPDX-License-Identifier: MIT */
/*
 * watermark.c - how deep a stack went: stack_watermark, stack_highwater.
 *
 * That cannot be read from a stack as it is: a scan for the first byte that is
 * not zero takes zeroes that were written for untouched memory, and a reused
 * stack holds what its last user left.  So there are three measures, and each
 * errs on the side of more, but for frames that were reserved and not written:
 *
 *   filled   a pattern without a zero byte that differs from word to word: the
 *            lowest byte that is not the pattern's.  Opt-in, as it writes; for one
 *            stack, or for each of a size (config_watermark).
 *   paged    pages that hold memory since it was given back.  Opt-in, as
 *            each page faults again.
 *   neither  pages that hold memory: what all users of the stack went to
 *            since it was built, if it was built lazily; else all of it.
 *
 * No locks, no state but the bit TABLE_FILLED of a slot.
 */
#include <errno.h>
#include <stackalloc.h>

#include "look.h"
#include "page.h"
#include "table.h"

static uint64_t
pattern_at(const uint64_t *word)
{
    return (uint64_t)((uintptr_t)word / sizeof(*word)) * TABLE_PATTERN_FACTOR | TABLE_PATTERN_ONES;
}

void
stack_fill(char *body, size_t size)
{
    uint64_t *end = (uint64_t *)(void *)(body + size);
    for (uint64_t *word = (uint64_t *)(void *)body; word < end; word++)
        *word = pattern_at(word);
}

/* Bytes from the low end on that are as they were filled. */
static size_t
pattern_length(const char *body, size_t size)
{
    const char *end = body + size;
    const volatile uint64_t *word = (const volatile uint64_t *)(const void *)body;
    while ((const char *)word < end && *word == pattern_at((const uint64_t *)word))
        word++;
    const volatile unsigned char *byte = (const volatile unsigned char *)word;
    uint64_t pattern = pattern_at((const uint64_t *)word);
    const unsigned char *want = (const unsigned char *)&pattern;
    size_t n = 0;
    while ((const char *)byte + n < end && n < sizeof(pattern) && byte[n] == want[n])
        n++;
    return (size_t)((const char *)byte - body) + n;
}

/* 0, or an error number. */
static int
watermark(const struct table_entry *entry, enum stack_watermark_how how)
{
    char *body = entry->entry_body;
    size_t size = entry->entry_size;
    if (how != STACK_WATERMARK_FILL && how != STACK_WATERMARK_PAGES)
        return EINVAL;
    if (how == STACK_WATERMARK_PAGES && look_locked(body, size))
        return EBUSY;
    if (how == STACK_WATERMARK_FILL)
        stack_fill(body, size);
    else {
        page_discard(body, size);
        page_keep_small(body, size); /* or the first touch would bring all of it */
        atomic_fetch_or_explicit(&entry->entry_slot->slot_left, SLOT_SMALL, memory_order_relaxed);
    }
    return table_note(entry, TABLE_FILLED, how == STACK_WATERMARK_FILL) ? 0 : EINVAL;
}

STACK_EXPORT int
stack_watermark(void *address, size_t size, enum stack_watermark_how how)
{
    struct table_entry entry;
    int error = EINVAL;
    if (table_search(address, &entry) && entry.entry_body == address && entry.entry_size == size &&
        table_state(entry.entry_word) == STACK_USED)
        error = watermark(&entry, how);
    if (error == 0)
        return 0;
    errno = error;
    return -1;
}

STACK_EXPORT ssize_t
stack_highwater(const void *address)
{
    struct table_entry entry;
    if (!table_search(address, &entry)) {
        errno = EINVAL;
        return -1;
    }
    size_t size = entry.entry_size;
    bool filled = (entry.entry_word & TABLE_FILLED) != 0;
    return (ssize_t)(size - (filled ? pattern_length(entry.entry_body, size)
                                    : look_untouched(entry.entry_body, size)));
}
