/* SPDX-License-Identifier: MIT */
/*
 * mappings.c - how the automatic backend keeps within vm.max_map_count.
 *
 * A stack whose guards are mappings takes two of the process's 65,530.  By
 * itself the library takes a quarter of them so, and makes guard regions then.
 * Where the rest of the process has the others, and the system refuses one, the
 * stacks that there are become one mapping where they can, in use or not: a
 * guard between two of them is marked while it is closed, and then opened.  At
 * any moment it is closed, or marked, or both.  From there on guards are regions.
 *
 * Owns the count of stacks that are split off, and whether mappings ran out.
 * No locks of its own; stacks are joined under the lock of their arena, since
 * as long as that is held nobody can unmap them.
 */
#include "look.h"
#include "page.h"
#include "stack.h"
#include "table.h"

/* Of vm.max_map_count, what stacks may take before guards are made without mappings. */
#define MAPPINGS_SHARE 4
#define MAPPINGS_PER_STACK 2

static _Atomic size_t split_stacks;
static _Atomic bool ran_out;

void
stack_note_split(bool made)
{
    atomic_fetch_add_explicit(&split_stacks, made ? 1 : (size_t)-1, memory_order_relaxed);
}

size_t
stack_mappings_room(void)
{
    size_t share = look_mappings_limit() / MAPPINGS_SHARE / MAPPINGS_PER_STACK;
    size_t split = atomic_load_explicit(&split_stacks, memory_order_relaxed);
    bool none = atomic_load_explicit(&ran_out, memory_order_relaxed) || split >= share;
    return none ? 0 : share - split;
}

bool
stack_wants_regions(const struct stack_form *form)
{
    if (form->form_backend != STACK_BACKEND_AUTO)
        return form->form_backend == STACK_BACKEND_REGIONS;
    return stack_mappings_room() == 0;
}

struct joint {
    struct stack_form joint_form;
    char *joint_end; /* of the object before, where its stack is split off */
};

static bool
is_split(const char *body)
{
    struct table_slot *slot = table_find(body);
    if (slot == NULL)
        return false;
    uint32_t word = atomic_load_explicit(&slot->slot_word, memory_order_acquire);
    return table_state(word) != STACK_NONE && table_state(word) != STACK_BARE &&
           (atomic_load_explicit(&slot->slot_left, memory_order_relaxed) & SLOT_REGIONS) == 0;
}

/* Objects come in the order of their addresses; a gap between two is a mapping, and splits none. */
static void
join_object(void *arg, void *object, size_t size)
{
    struct joint *joint = arg;
    const struct stack_form *form = &joint->joint_form;
    bool split = is_split((char *)object + form->form_low);
    if (split && joint->joint_end == object) {
        char *gap = joint->joint_end - form->form_high;
        if (page_guard(gap, form->form_high + form->form_low) == 0)
            (void)page_open(gap, form->form_high + form->form_low);
    }
    joint->joint_end = split ? (char *)object + size : NULL;
}

bool
stack_mappings_relieve(void)
{
    /* Once is enough: none is split off afterwards. */
    if (!page_guard_known() || atomic_exchange(&ran_out, true))
        return false;
    for (unsigned i = 0; i < STACK_CLASSES; i++) {
        vmem_t *arena = atomic_load_explicit(&stack_classes[i].class_arena, memory_order_acquire);
        struct joint joint = {stack_class_form(i), NULL};
        if (arena != NULL && joint.joint_form.form_backend == STACK_BACKEND_AUTO)
            vmem_walk(arena, VMEM_ALLOC, join_object, &joint);
    }
    return true;
}
