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

/*
 * Where bodies are to be huge pages, a span is reserved with as much before it as
 * lets its first body begin one: the whole then begins where a huge page does,
 * which is where kernels place what is as large as some of them.  That is kept,
 * inaccessible, and given back with the span.
 */
static size_t
spare_of(const struct stack_form *form)
{
    return form->form_huge ? form->form_size : 0;
}

static char *
row_begin(const struct row *row)
{
    const struct stack_form *form = &row->row_form;
    return form->form_huge ? row->row_first + form->form_low - form->form_size : row->row_first;
}

/* Marks every guard; the first and the last one reach to the ends of what is reserved. */
static int
row_guard(const struct row *row, char *end)
{
    const struct stack_form *form = &row->row_form;
    char *begin = row_begin(row);
    char *last = row_body(row, row->row_count - 1) + form->form_size;
    if (page_guard(begin, (size_t)(row_body(row, 0) - begin)) != 0 ||
        page_guard(last, (size_t)(end - last)) != 0)
        return -1;
    /* Between two bodies lie the high guard of one and the low guard of the next. */
    return page_guard_each(row_body(row, 0) + form->form_size, form->form_high + form->form_low,
                           form->form_whole, row->row_count - 1);
}

/*
 * What constructors find in the slots of a span is how it was left, not what
 * those were that lay there before it.  -1 with errno: no room for slots.
 */
static int
row_note(const struct row *row, uint32_t left)
{
    for (size_t i = 0; i < row->row_count; i++) {
        struct table_slot *slot = table_reserve(row_body(row, i));
        if (slot == NULL)
            return -1;
        atomic_store_explicit(&slot->slot_left, left, memory_order_relaxed);
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

/* Begins where a huge page does, which older kernels leave to chance. */
static char *
reserve_aligned(size_t size, size_t align)
{
    char *begin = page_reserve(size);
    if (begin == NULL || ((uintptr_t)begin & (align - 1)) == 0)
        return begin;
    page_release(begin, size);
    begin = page_reserve(size + align);
    if (begin == NULL)
        return NULL;
    size_t before = -(uintptr_t)begin & (align - 1);
    if (before != 0)
        page_release(begin, before);
    page_release(begin + before + size, align - before);
    return begin + before;
}

/* Address space for a span. */
static char *
span_reserve(const struct stack_form *form, size_t size)
{
    size_t spare = spare_of(form);
    if (spare == 0)
        return page_reserve(size);
    char *begin = reserve_aligned(size + spare, spare);
    return begin != NULL ? begin + spare - form->form_low : NULL;
}

/* Guards for all stacks of a span that is reserved, if they are to be regions: SLOT_. */
static uint32_t
span_prepare(const struct row *row, size_t reserved)
{
    char *begin = row_begin(row);
    if (!stack_wants_regions(&row->row_form) || page_locking() != 0)
        return SLOT_CLOSED;
    if (row_guard(row, begin + reserved) != 0)
        return SLOT_CLOSED;
    return page_open(begin, reserved) == 0 ? SLOT_REGIONS : 0;
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
    row.row_count = size / row.row_form.form_whole;
    char *begin = row_begin(&row);
    size_t reserved = size + spare_of(&row.row_form);
    look_name(begin, reserved, "umem stacks");
    if (row.row_form.form_huge)
        page_want_huge(begin, reserved);
    else /* one touched byte of a lazy stack would bring 2 MiB: of its neighbours, too */
        page_keep_small(begin, reserved);
    if (row_note(&row, span_prepare(&row, reserved)) == 0)
        return span;
    int error = errno;
    page_release(begin, reserved);
    errno = error;
    return NULL;
}

static void
span_free(vmem_t *source, void *addr, size_t size)
{
    struct row row = {.row_first = addr, .row_form = stack_class_form(class_of(source))};
    row.row_count = size / row.row_form.form_whole;
    row_forget(&row);
    page_release(row_begin(&row), size + spare_of(&row.row_form));
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
