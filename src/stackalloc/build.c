/* SPDX-License-Identifier: MIT */
/*
 * build.c - the constructor and the destructor of a stack.
 *
 * They alone change mappings: what they leave is what every stack_alloc() of
 * this object returns until the destructor runs.  The constructor fails
 * rather than hand out a stack without guards or with pages missing, and then
 * leaves the object as it found it: closed, empty, unlocked.  umem calls both
 * without holding a lock.  No locks here.
 */
#include <errno.h>

#include "note.h"
#include "page.h"
#include "stack.h"
#include "table.h"
#include "tools.h"

static char *
object_body(const struct stack_class *class, void *object)
{
    return (char *)object + atomic_load_explicit(&class->class_guard_low, memory_order_relaxed);
}

/*
 * Opens, locks and faults in a body in that order.  A locked mapping is
 * charged before any page is touched, so that RLIMIT_MEMLOCK fails early and
 * as itself.
 */
static int
body_build(char *body, size_t size)
{
    int locking = page_locking();
    if (locking < 0 || page_open(body, size) != 0)
        return -1;
    if (locking && page_lock(body, size) != 0)
        return -1;
    return page_populate(body, size);
}

static void
body_raze(char *body, size_t size)
{
    page_discard(body, size);
    /*
     * Rejoins body and guards into one mapping.  Should it fail, the
     * constructor closes the object again before it builds in it.
     */
    page_close(body, size);
}

int
stack_construct(void *object, void *private, int flags)
{
    (void)flags;
    struct stack_class *class = private;
    unsigned index = (unsigned)(class - stack_classes);
    size_t size = stack_class_size(index);
    char *body = object_body(class, object);
    size_t high = atomic_load_explicit(&class->class_guard_high, memory_order_relaxed);

    struct table_slot *slot = table_reserve(body);
    if (slot == NULL)
        return -1;
    /* Does nothing in a fresh slab; in one that was used before, it makes the guards sure. */
    if (page_close(object, (size_t)(body - (char *)object) + size + high) != 0)
        return -1;
    if (body_build(body, size) != 0) {
        int error = errno;
        body_raze(body, size);
        errno = error;
        return -1;
    }
    atomic_store_explicit(&slot->slot_word, table_word(body, index, STACK_CACHED),
                          memory_order_release);
    slot->slot_tool = tools_register(body, size);
    stack_note_construction(index);
    return 0;
}

void
stack_destruct(void *object, void *private)
{
    struct stack_class *class = private;
    char *body = object_body(class, object);
    struct table_slot *slot = table_find(body);
    atomic_store_explicit(&slot->slot_word, STACK_NONE, memory_order_release);
    tools_forget(slot->slot_tool);
    body_raze(body, stack_class_size((unsigned)(class - stack_classes)));
}
