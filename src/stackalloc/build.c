/* SPDX-License-Identifier: MIT */
/*
 * build.c - the constructor and the destructor of a stack.
 *
 * They alone change mappings: what they leave is what every stack_alloc() of
 * this object returns until the destructor runs.  The constructor fails
 * rather than hand out a stack without guards or with pages missing, and then
 * leaves the object as it found it: closed, empty, unlocked.  umem calls both
 * without holding a lock.
 *
 * A stack is split off, its body opened between closed guards, which costs two
 * mappings; or it has guard regions: the whole object is opened, with marks in
 * the page tables where the guards are, and joins its neighbours in one
 * mapping.  The marks come first, while all is closed and unlocked (a
 * locked mapping takes none), so that no moment shows an open guard.  A stack
 * with guard regions that goes leaves marks all over its object instead of a
 * closed mapping.
 *
 * Owns the count of stacks that are split off.  No locks here.
 */
#include <errno.h>
#include <stackalloc.h>

#include "look.h"
#include "note.h"
#include "page.h"
#include "stack.h"
#include "table.h"
#include "tools.h"

/* Of vm.max_map_count, what stacks may take before guards are made without mappings. */
#define MAPPINGS_SHARE 4
#define MAPPINGS_PER_STACK 2

static _Atomic size_t split_stacks;

struct place {
    char *place_object, *place_body;
    size_t place_low, place_size, place_high, place_whole;
    uint32_t place_choice;
};

static struct place
place_of(struct stack_class *class, void *object)
{
    struct place at;
    at.place_choice = atomic_load_explicit(&class->class_choice, memory_order_relaxed);
    at.place_low = atomic_load_explicit(&class->class_guard_low, memory_order_relaxed);
    at.place_high = atomic_load_explicit(&class->class_guard_high, memory_order_relaxed);
    at.place_size = stack_class_size((unsigned)(class - stack_classes));
    at.place_whole = at.place_low + at.place_size + at.place_high;
    at.place_object = object;
    at.place_body = at.place_object + at.place_low;
    return at;
}

static enum stack_backend
backend_of(const struct place *at)
{
    return (at->place_choice >> CHOICE_BACKEND_SHIFT) & CHOICE_BACKEND_MASK;
}

static bool
wants_regions(const struct place *at)
{
    if (backend_of(at) != STACK_BACKEND_AUTO)
        return backend_of(at) == STACK_BACKEND_REGIONS;
    return atomic_load_explicit(&split_stacks, memory_order_relaxed) >=
           look_mappings_limit() / MAPPINGS_SHARE / MAPPINGS_PER_STACK;
}

static int
guards_try(const struct place *at)
{
    if (page_guard(at->place_object, at->place_low) != 0)
        return -1;
    return page_guard(at->place_body + at->place_size, at->place_high);
}

/* Guard regions instead of closed guards: false where there can be none. */
static bool
guards_install(const struct place *at)
{
    if (guards_try(at) == 0)
        return true;
    page_unlock(at->place_object, at->place_whole); /* an mlockall(MCL_CURRENT) came by */
    return guards_try(at) == 0;
}

/*
 * Opens, locks and faults in a body in that order.  A locked mapping is
 * charged before any page is touched, so that RLIMIT_MEMLOCK fails early and
 * as itself.
 */
static int
body_open(const struct place *at, char *start, size_t length)
{
    int locking = page_locking();
    if (locking < 0 || page_open(start, length) != 0)
        return -1;
    if (locking && page_lock(start, length) != 0)
        return -1;
    if ((at->place_choice & CHOICE_LAZY) != 0)
        return 0;
    return page_populate(at->place_body, at->place_size);
}

/* What the object was last is told by its slot; marks in a body would kill its user. */
static int
body_build(const struct place *at, const struct table_slot *slot, bool regions)
{
    if (slot->slot_regions && page_unguard(at->place_body, at->place_size) != 0)
        return -1;
    if (regions)
        return body_open(at, at->place_object, at->place_whole);
    return body_open(at, at->place_body, at->place_size);
}

static void
body_raze(const struct place *at, bool regions)
{
    if (regions) {
        page_unlock(at->place_object, at->place_whole);
        if (page_guard(at->place_body, at->place_size) == 0)
            return;
    }
    page_discard(at->place_body, at->place_size);
    /*
     * Rejoins body and guards into one mapping.  Should it fail, the
     * constructor closes the object again before it builds in it.
     */
    page_close(at->place_object, at->place_whole);
}

/* Whether to build with guard regions: 0 or 1.  -1 with errno where no guard can be made. */
static int
guards_build(const struct place *at)
{
    if (wants_regions(at)) {
        if (guards_install(at))
            return 1;
        if (backend_of(at) == STACK_BACKEND_REGIONS)
            return -1;
    }
    /* Does nothing in a fresh slab; in one that was used before, it makes the guards sure. */
    return page_close(at->place_object, at->place_whole);
}

int
stack_construct(void *object, void *private, int flags)
{
    (void)flags;
    struct stack_class *class = private;
    unsigned index = (unsigned)(class - stack_classes);
    struct place at = place_of(class, object);

    struct table_slot *slot = table_reserve(at.place_body);
    if (slot == NULL)
        return -1;
    int regions = guards_build(&at);
    if (regions < 0)
        return -1;
    if (body_build(&at, slot, regions) != 0) {
        int error = errno;
        body_raze(&at, regions);
        slot->slot_regions |= (uint32_t)regions;
        errno = error;
        return -1;
    }
    slot->slot_regions = (uint32_t)regions;
    if (!regions)
        atomic_fetch_add_explicit(&split_stacks, 1, memory_order_relaxed);
    atomic_store_explicit(&slot->slot_word, table_word(at.place_body, index, STACK_CACHED),
                          memory_order_release);
    slot->slot_tool = tools_register(at.place_body, at.place_size);
    stack_note_construction(index);
    return 0;
}

void
stack_destruct(void *object, void *private)
{
    struct place at = place_of(private, object);
    struct table_slot *slot = table_find(at.place_body);

    if (slot == NULL) /* of what the constructor made, there is one */
        return;
    atomic_store_explicit(&slot->slot_word, STACK_NONE, memory_order_release);
    tools_forget(slot->slot_tool);
    if (!slot->slot_regions)
        atomic_fetch_sub_explicit(&split_stacks, 1, memory_order_relaxed);
    body_raze(&at, slot->slot_regions);
}
