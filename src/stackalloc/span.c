/* SPDX-License-Identifier: MIT */
/*
 * span.c - the arenas that stacks are cut from, and the spans that those import.
 *
 * Owns two arenas a class.  class_arena hands out objects, all of one size, and
 * so a span of it is a row of them, from its start on, with a rest at its end
 * that is too small for one.  It imports in units of the quantum of its source,
 * class_spans, which exists for that and has nothing of its own to give.
 *
 * A span is inaccessible address space, never locked.  Where its stacks are to
 * have guard regions it is made ready at once: all guards are marked, in calls
 * for many, then the whole is opened, so that the constructor of a stack has
 * little left to do, and span joins span in one mapping.  Under
 * mlockall(MCL_FUTURE) this waits for each constructor, since a span that is
 * locked is charged whole against RLIMIT_MEMLOCK.
 *
 * No locks: who imports a span is alone with it.
 */
#include <errno.h>

#include "look.h"
#include "page.h"
#include "stack.h"
#include "table.h"

/*
 * A span is 4 MiB, 80 stacks of 32 KiB: the dozen system calls that it takes are
 * then a tenth of what its guards take.  And 8 stacks of any size.
 */
#define SPAN_MIN ((size_t)4 << 20)
#define SPAN_STACKS_MIN 8

static const char *const arena_names[STACK_CLASSES] = {"stacks_32k",  "stacks_64k",  "stacks_128k",
                                                       "stacks_256k", "stacks_512k", "stacks_1m",
                                                       "stacks_2m"};

/* The objects of a span: the arena, which knows one size, cuts nothing but these. */
struct row {
    char *row_first;
    size_t row_count;
    struct stack_form row_form;
};

static char *
row_body(const struct row *row, size_t i)
{
    return row->row_first + i * row->row_form.form_whole + row->row_form.form_low;
}

/* Marks every guard; the last one reaches to end. */
static int
row_guard(const struct row *row, char *end)
{
    const struct stack_form *form = &row->row_form;
    char *last = row_body(row, row->row_count - 1) + form->form_size;
    if (page_guard(row->row_first, form->form_low) != 0 ||
        page_guard(last, (size_t)(end - last)) != 0)
        return -1;
    /* Between two bodies lie the high guard of one and the low guard of the next. */
    return page_guard_each(row_body(row, 0) + form->form_size, form->form_high + form->form_low,
                           form->form_whole, row->row_count - 1);
}

/*
 * What constructors find in the slots of a span is what was found of the span,
 * not of those that lay there before it.  -1 with errno: no room for slots.
 */
static int
row_note(const struct row *row, bool regions)
{
    for (size_t i = 0; i < row->row_count; i++) {
        struct table_slot *slot = table_reserve(row_body(row, i));
        if (slot == NULL)
            return -1;
        atomic_store_explicit(&slot->slot_regions, regions, memory_order_relaxed);
    }
    return 0;
}

static void
row_forget(const struct row *row)
{
    for (size_t i = 0; i < row->row_count; i++)
        atomic_store_explicit(&table_known(row_body(row, i))->slot_word, STACK_NONE,
                              memory_order_release);
}

static unsigned
class_of(vmem_t *spans)
{
    unsigned index = 0;
    while (index < STACK_CLASSES - 1 &&
           atomic_load_explicit(&stack_classes[index].class_spans, memory_order_acquire) != spans)
        index++;
    return index;
}

/* Address space for a span; bodies that are to be huge pages begin where those do. */
static char *
span_reserve(const struct stack_form *form, size_t size)
{
    size_t spare = form->form_huge ? form->form_size : 0;
    char *span = page_reserve(size + spare);
    if (span == NULL || spare == 0)
        return span;
    size_t before = -((uintptr_t)span + form->form_low) & (spare - 1);
    if (before != 0)
        page_release(span, before);
    if (before != spare)
        page_release(span + before + size, spare - before);
    return span + before;
}

static void *
span_alloc(vmem_t *source, size_t size, int vmflag)
{
    (void)vmflag;
    struct row row = {.row_form = stack_class_form(class_of(source))};
    char *span = span_reserve(&row.row_form, size);
    if (span == NULL && errno == ENOMEM && row.row_form.form_backend == STACK_BACKEND_AUTO &&
        stack_mappings_relieve())
        span = span_reserve(&row.row_form, size);
    if (span == NULL)
        return NULL;
    row.row_first = span;
    look_name(span, size, "umem stacks");
    if (row.row_form.form_huge)
        page_want_huge(span, size);
    else /* one touched byte of a lazy stack would bring 2 MiB: of its neighbours, too */
        page_keep_small(span, size);
    row.row_count = size / row.row_form.form_whole;
    bool regions = stack_wants_regions(&row.row_form) && page_locking() == 0 &&
                   row_guard(&row, span + size) == 0 && page_open(span, size) == 0;
    if (row_note(&row, regions) == 0)
        return span;
    int error = errno;
    page_release(span, size);
    errno = error;
    return NULL;
}

static void
span_free(vmem_t *source, void *addr, size_t size)
{
    struct row row = {.row_first = addr, .row_form = stack_class_form(class_of(source))};
    row.row_count = size / row.row_form.form_whole;
    row_forget(&row);
    page_release(addr, size);
}

bool
stack_span_holds(const void *address)
{
    for (unsigned i = 0; i < STACK_CLASSES; i++) {
        vmem_t *arena = atomic_load_explicit(&stack_classes[i].class_arena, memory_order_acquire);
        if (arena != NULL && vmem_contains(arena, (void *)(uintptr_t)address, 1))
            return true;
    }
    return false;
}

/* The arena in its place, or the one that another thread put there first.  NULL with errno. */
static vmem_t *
publish(_Atomic(vmem_t *) *place, vmem_t *made)
{
    vmem_t *found = NULL;
    if (made == NULL || atomic_compare_exchange_strong(place, &found, made))
        return made;
    vmem_destroy(made);
    return found;
}

static size_t
span_quantum(unsigned index)
{
    size_t wanted = SPAN_STACKS_MIN * stack_class_form(index).form_whole, quantum = SPAN_MIN;
    while (quantum < wanted)
        quantum *= 2;
    return quantum;
}

vmem_t *
stack_arena(unsigned index)
{
    struct stack_class *class = &stack_classes[index];
    vmem_t *arena = atomic_load_explicit(&class->class_arena, memory_order_acquire);
    if (arena != NULL)
        return arena;
    vmem_t *spans = atomic_load_explicit(&class->class_spans, memory_order_acquire);
    if (spans == NULL)
        spans = publish(&class->class_spans,
                        vmem_create(arena_names[index], NULL, 0, span_quantum(index), NULL, NULL,
                                    NULL, 0, VM_SLEEP));
    if (spans == NULL)
        return NULL;
    return publish(&class->class_arena, vmem_create(arena_names[index], NULL, 0, page_size(),
                                                    span_alloc, span_free, spans, 0, VM_SLEEP));
}
