/* SPDX-License-Identifier: MIT */
/*
 * class.c - the sizes of stacks, and the umem cache of each.
 *
 * Owns stack_classes.  A cache is made by the first stack_alloc() of its size
 * and lives for ever.  No locks: of several threads that make the same cache
 * at once, one publishes it and the others destroy theirs, still empty.
 */
#include <errno.h>

#include "look.h"
#include "page.h"
#include "stack.h"
#include "stash.h"
#include "tools.h"

struct stack_class stack_classes[STACK_CLASSES];

static const char *const class_names[STACK_CLASSES] = {
    "stack_32k", "stack_64k", "stack_128k", "stack_256k", "stack_512k", "stack_1m", "stack_2m"};

/* A stack is whole pages: where those are larger than 32 KiB, the row starts later. */
bool
stack_size_supported(size_t size)
{
    return size != 0 && (size & (size - 1)) == 0 && size >> STACK_SIZE_SHIFT_MIN != 0 &&
           size >> (STACK_SIZE_SHIFT_MAX + 1) == 0 && size % page_size() == 0;
}

static size_t
whole_pages(size_t size)
{
    size_t page = page_size();
    return (size + page - 1) & ~(page - 1);
}

static size_t
guard_width(uint32_t choice, size_t usual)
{
    size_t pages = choice & CHOICE_PAGES_MAX;
    return pages != 0 ? pages * page_size() : whole_pages(usual);
}

struct stack_form
stack_class_form(unsigned index)
{
    struct stack_class *class = &stack_classes[index];
    uint32_t choice = atomic_load_explicit(&class->class_choice, memory_order_relaxed);
    struct stack_form form;
    form.form_low = atomic_load_explicit(&class->class_guard_low, memory_order_relaxed);
    form.form_size = stack_class_size(index);
    form.form_high = atomic_load_explicit(&class->class_guard_high, memory_order_relaxed) +
                     atomic_load_explicit(&class->class_gap, memory_order_relaxed);
    form.form_whole = form.form_low + form.form_size + form.form_high;
    form.form_huge = atomic_load_explicit(&class->class_huge, memory_order_relaxed) != 0;
    form.form_lazy = (choice & CHOICE_LAZY) != 0;
    form.form_backend = (choice >> CHOICE_BACKEND_SHIFT) & CHOICE_BACKEND_MASK;
    return form;
}

/* A umem_reclaim_t: umem_reap() takes what threads have at hand, too. */
static void
class_reclaim(void *private)
{
    stash_close((unsigned)((struct stack_class *)private - stack_classes));
}

umem_cache_t *
stack_class_open(unsigned index)
{
    struct stack_class *class = &stack_classes[index];
    umem_cache_t *found = atomic_load_explicit(&class->class_cache, memory_order_acquire);
    if (found != NULL)
        return found;
    /* From here the choice is fixed, so every thread that comes here stores the same widths. */
    uint32_t choice =
        atomic_fetch_or_explicit(&class->class_choice, CHOICE_FIXED, memory_order_relaxed);
    if (tools_sanitize())
        atomic_fetch_or_explicit(&class->class_care, CARE_TOOLS, memory_order_relaxed);
    size_t low = guard_width(choice >> CHOICE_LOW_SHIFT, STACK_GUARD_LOW);
    size_t high = guard_width(choice >> CHOICE_HIGH_SHIFT, STACK_GUARD_HIGH);
    atomic_store_explicit(&class->class_guard_low, low, memory_order_relaxed);
    atomic_store_explicit(&class->class_guard_high, high, memory_order_relaxed);
    size_t size = stack_class_size(index);
    if (size == look_huge_page() && (choice & CHOICE_LAZY) == 0) {
        /* Bodies are as far apart as to begin huge pages each: address space, and no more. */
        atomic_store_explicit(&class->class_gap, -(low + high) & (size - 1), memory_order_relaxed);
        atomic_store_explicit(&class->class_huge, 1, memory_order_relaxed);
    }
    vmem_t *arena = stack_arena(index);
    if (arena == NULL)
        return NULL;
    umem_cache_t *made = umem_cache_create(class_names[index], stack_class_form(index).form_whole,
                                           page_size(), stack_construct, stack_destruct,
                                           class_reclaim, class, arena, UMC_NOTOUCH);
    if (made == NULL)
        return NULL;
    if (atomic_compare_exchange_strong(&class->class_cache, &found, made))
        return made;
    umem_cache_destroy(made);
    return found;
}
