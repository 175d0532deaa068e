/* SPDX-License-Identifier: MIT */
/*
 * build.c - the constructor and the destructor of a stack.
 *
 * What they leave is what every stack_alloc() of this object returns until the
 * destructor runs.  The constructor fails rather than hand out a stack without
 * guards or with pages missing, and then leaves the object as it found it:
 * empty and unlocked.  umem calls both without holding a lock.
 *
 * A stack is split off, its body opened between closed guards, which costs two
 * mappings; or it has guard regions: the whole object is open, with marks in
 * the page tables where the guards are, and joins its neighbours in one
 * mapping.  The marks come first, while all is closed and unlocked (a
 * locked mapping takes none), so that no moment shows an open guard.  Mostly
 * that was done for a whole span beforehand (span.c), which SLOT_REGIONS tells;
 * else it is done here.  An object that has guard regions keeps them, and stays
 * open, when its stack goes: only what the body holds is given back.
 *
 * slot_left says how an object was left, so that no call is made for what is so
 * already.  An object of a fresh span, that nobody has seen, is closed; where a
 * stack was, its user may have opened a guard, so it is closed again.
 *
 * Owns nothing, and takes no locks.
 */
#include <errno.h>
#include <stackalloc.h>

#include "look.h"
#include "note.h"
#include "page.h"
#include "stack.h"
#include "table.h"
#include "tools.h"

struct place {
    char *place_object, *place_body;
    unsigned place_class;
    struct stack_form place_form;
    struct table_slot *place_slot;
};

static struct place
place_of(const struct stack_class *class, void *object)
{
    struct place at;
    at.place_class = (unsigned)(class - stack_classes);
    at.place_form = stack_class_form(at.place_class);
    at.place_object = object;
    at.place_body = at.place_object + at.place_form.form_low;
    at.place_slot = table_reserve(at.place_body);
    return at;
}

static uint32_t
left_as(const struct place *at)
{
    return atomic_load_explicit(&at->place_slot->slot_left, memory_order_relaxed);
}

static void
leave(const struct place *at, uint32_t bit)
{
    atomic_fetch_or_explicit(&at->place_slot->slot_left, bit, memory_order_relaxed);
}

static void
not_left(const struct place *at, uint32_t bit)
{
    atomic_fetch_and_explicit(&at->place_slot->slot_left, ~bit, memory_order_relaxed);
}

static bool
has_regions(const struct place *at)
{
    return (left_as(at) & SLOT_REGIONS) != 0;
}

static int
guards_try(const struct place *at)
{
    const struct stack_form *form = &at->place_form;
    if (page_guard(at->place_object, form->form_low) != 0)
        return -1;
    return page_guard(at->place_body + form->form_size, form->form_high);
}

/* Guard regions instead of closed guards: -1 with errno where there can be none. */
static int
regions_make(const struct place *at)
{
    size_t whole = at->place_form.form_whole;
    if (guards_try(at) != 0) {
        page_unlock(at->place_object, whole); /* an mlockall(MCL_CURRENT) came by */
        if (guards_try(at) != 0)
            return -1;
    }
    not_left(at, SLOT_CLOSED);
    if (page_open(at->place_object, whole) != 0)
        return -1;
    leave(at, SLOT_REGIONS);
    return 0;
}

/*
 * Locks and faults in what was opened, in that order.  A locked mapping is
 * charged before any page is touched, so that RLIMIT_MEMLOCK fails early and
 * as itself.
 */
static int
body_fill(const struct place *at, char *start, size_t length, int locking)
{
    if (locking < 0 || (locking && page_lock(start, length) != 0))
        return -1;
    if (at->place_form.form_lazy)
        return 0;
    if ((left_as(at) & SLOT_SMALL) != 0) {
        if (at->place_form.form_huge)
            page_want_huge(at->place_body, at->place_form.form_size);
        not_left(at, SLOT_SMALL);
    }
    return page_populate(at->place_body, at->place_form.form_size);
}

static int
build_regions(const struct place *at)
{
    if (has_regions(at)) {
        /* Whether lazy stacks are locked was asked for their whole span. */
        int locking = at->place_form.form_lazy ? 0 : page_locking();
        return body_fill(at, at->place_object, at->place_form.form_whole, locking);
    }
    int locking = page_locking();
    if (locking < 0 || regions_make(at) != 0)
        return -1;
    return body_fill(at, at->place_object, at->place_form.form_whole, locking);
}

static int
build_split(const struct place *at)
{
    const struct stack_form *form = &at->place_form;
    if ((left_as(at) & SLOT_CLOSED) == 0 && page_close(at->place_object, form->form_whole) != 0)
        return -1;
    int locking = page_locking();
    if (locking < 0)
        return -1;
    not_left(at, SLOT_CLOSED);
    if (page_open(at->place_body, form->form_size) == 0)
        return body_fill(at, at->place_body, form->form_size, locking);
    if (errno != ENOMEM || form->form_backend != STACK_BACKEND_AUTO)
        return -1;
    (void)stack_mappings_relieve();
    return build_regions(at);
}

static int
build(const struct place *at)
{
    if (has_regions(at))
        return build_regions(at);
    if (stack_wants_regions(&at->place_form)) {
        if (build_regions(at) == 0)
            return 0;
        /* There is no other way, or it was not the guards that failed. */
        if (at->place_form.form_backend == STACK_BACKEND_REGIONS || has_regions(at))
            return -1;
    }
    return build_split(at);
}

static void
raze(const struct place *at)
{
    const struct stack_form *form = &at->place_form;
    if (has_regions(at)) {
        page_discard(at->place_object, form->form_whole);
        return;
    }
    page_discard(at->place_body, form->form_size);
    /*
     * Rejoins body and guards into one mapping.  Should it fail, the
     * constructor closes the object again before it builds in it.
     */
    page_close(at->place_object, form->form_whole);
}

int
stack_construct(void *object, void *private, int flags)
{
    (void)flags;
    struct place at = place_of(private, object);
    struct table_slot *slot = at.place_slot;
    if (slot == NULL)
        return -1;
    if (!stack_budget_take(at.place_form.form_size)) {
        errno = EAGAIN;
        return -1;
    }
    if (build(&at) != 0) {
        int error = errno;
        raze(&at);
        stack_budget_give(at.place_form.form_size);
        errno = error;
        return -1;
    }
    if (!has_regions(&at))
        stack_note_split(true);
    atomic_store_explicit(&slot->slot_word, table_word(at.place_body, at.place_class, STACK_CACHED),
                          memory_order_release);
    slot->slot_tool = tools_register(at.place_body, at.place_form.form_size);
    stack_note_construction(at.place_class);
    return 0;
}

void
stack_destruct(void *object, void *private)
{
    struct place at = place_of(private, object);
    struct table_slot *slot = at.place_slot;
    if (slot == NULL) /* of what the constructor made, there is one */
        return;
    atomic_store_explicit(&slot->slot_word, table_word(at.place_body, at.place_class, STACK_BARE),
                          memory_order_release);
    tools_forget(slot->slot_tool);
    if (!has_regions(&at))
        stack_note_split(false);
    raze(&at);
    stack_budget_give(at.place_form.form_size);
}
