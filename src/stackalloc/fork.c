/* SPDX-License-Identifier: MIT */
/*
 * fork.c - stack_reprefault: after fork(), the copies of pages all at once.
 *
 * A stack that was never touched at its low end, as lazy ones are, stays so:
 * only what holds memory is copied.  No state.
 */
#include <stackalloc.h>

#include "look.h"
#include "page.h"
#include "table.h"

static int
copy_pages(const struct table_entry *entry, void *arg)
{
    (void)arg;
    if (table_state(entry->entry_word) != STACK_USED)
        return 0;
    size_t skip = look_untouched(entry->entry_body, entry->entry_size);
    return skip == entry->entry_size
               ? 0
               : page_populate(entry->entry_body + skip, entry->entry_size - skip);
}

STACK_EXPORT int
stack_reprefault(void)
{
    return table_walk(copy_pages, NULL);
}
