/* SPDX-License-Identifier: MIT */
/*
 * api.c - the public calls: see <stackalloc.h>.
 *
 * The fast paths are those of stash.h; free has three loads from the address
 * table besides.  Past them come umem's, with one store (alloc) or one
 * compare-and-swap (free) in the table.  Owns no state, takes no lock.
 */
#include <stackalloc.h>

#include <errno.h>
#include <stdlib.h>

#include "deferred.h"
#include "page.h"
#include "stack.h"
#include "stash.h"
#include "table.h"
#include "tools.h"

_Static_assert(STACK_SIZE_SHIFT_MAX < sizeof(uint_t) * 8, "sizes fit fetch_stack_sizes()");

/* The engine passes on what a mapping, a table or the constructor met. */
static STACK_COLD void *
alloc_failed(void)
{
    if (errno != EAGAIN)
        errno = ENOMEM;
    return NULL;
}

/* The first stack of a size, and every size that is none.  NULL with errno. */
static STACK_COLD umem_cache_t *
open_slow(size_t size)
{
    if (!stack_size_supported(size)) {
        errno = EINVAL;
        return NULL;
    }
    umem_cache_t *cache = stack_class_open(stack_class_index(size));
    return cache != NULL ? cache : alloc_failed();
}

/* The cache for size, whatever size is.  NULL with errno. */
static inline umem_cache_t *
open_cache(size_t size)
{
    if (STACK_LIKELY(size != 0 && (size & (size - 1)) == 0)) {
        unsigned index = stack_class_index(size);
        if (STACK_LIKELY(index < STACK_CLASSES)) {
            umem_cache_t *cache =
                atomic_load_explicit(&stack_classes[index].class_cache, memory_order_acquire);
            if (STACK_LIKELY(cache != NULL))
                return cache;
        }
    }
    return open_slow(size);
}

/* From the cache of the size: the first ones, and where the thread has none at hand. */
static STACK_NOINLINE void *
alloc_slow(size_t size)
{
    umem_cache_t *cache = open_cache(size);
    if (STACK_UNLIKELY(cache == NULL))
        return NULL;
    page_locking_forget();
    char *object = umem_cache_alloc(cache, UMEM_DEFAULT);
    if (STACK_UNLIKELY(object == NULL) && stack_budget_make_room(size))
        object = umem_cache_alloc(cache, UMEM_DEFAULT);
    if (STACK_UNLIKELY(object == NULL))
        return alloc_failed();
    unsigned index = stack_class_index(size);
    struct stack_class *class = &stack_classes[index];
    char *body = object + atomic_load_explicit(&class->class_guard_low, memory_order_relaxed);
    uint32_t word = table_word(body, index, STACK_USED) | stash_bias(index);
    if (STACK_UNLIKELY(
            (atomic_load_explicit(&class->class_care, memory_order_relaxed) & CARE_FILL) != 0)) {
        stack_fill(body, size);
        word |= TABLE_FILLED;
    }
    /* No other thread can want this word: the object is ours alone. */
    atomic_store_explicit(&table_known(body)->slot_word, word, memory_order_relaxed);
    return body;
}

static STACK_NOINLINE void *
alloc_after_deferred(size_t size)
{
    deferred_take_back();
    void *body;
    return stash_take(size, &body) ? body : alloc_slow(size);
}

STACK_EXPORT STACK_HOT void *
stack_alloc(size_t size)
{
    if (STACK_UNLIKELY(stash_own.own_deferred != NULL))
        return alloc_after_deferred(size);
    void *body;
    return STACK_LIKELY(stash_take(size, &body)) ? body : alloc_slow(size);
}

/* Of a class that stack_config(), or a tool, gave more to do. */
static STACK_COLD void
give_back_with_care(char *body, unsigned index, uint32_t care)
{
    struct stack_class *class = &stack_classes[index];
    if ((care & CARE_TOOLS) != 0)
        tools_clear(body, stack_class_size(index));
    if ((care & CARE_SCRUB_MASK) != STACK_SCRUB_NONE)
        stack_scrub(body, index, (enum stack_scrub)(care & CARE_SCRUB_MASK));
    umem_cache_free(atomic_load_explicit(&class->class_cache, memory_order_relaxed),
                    body - atomic_load_explicit(&class->class_guard_low, memory_order_relaxed));
    if ((care & CARE_TRIM) != 0)
        stack_trim_after_free(index);
}

static inline void
give_back(void *body, unsigned index)
{
    uint32_t care = atomic_load_explicit(&stack_classes[index].class_care, memory_order_relaxed);
    if (STACK_UNLIKELY(care != 0)) {
        give_back_with_care(body, index, care);
        return;
    }
    size_t low = atomic_load_explicit(&stack_classes[index].class_guard_low, memory_order_relaxed);
    umem_cache_free(atomic_load_explicit(&stack_classes[index].class_cache, memory_order_relaxed),
                    (char *)body - low);
}

void
stack_give_back(void *body, unsigned class)
{
    give_back(body, class);
}

static STACK_COLD int
free_refused(void)
{
    errno = EINVAL;
    return -1;
}

/* A stack that may be anybody's, or none, or no size of one. */
static STACK_NOINLINE int
free_slow(struct table_slot *slot, void *address, size_t size)
{
    unsigned index = size != 0 ? stack_class_index(size) : STACK_CLASSES;
    if (index >= STACK_CLASSES || size != stack_class_size(index) ||
        !table_take(slot, table_word(address, index, STACK_USED),
                    table_word(address, index, STACK_CACHED)))
        return free_refused();
    /* Ours now: whoever frees it again finds the other word. */
    give_back(address, index);
    return 0;
}

/* Ours already. */
static STACK_NOINLINE int
free_kept_nowhere(void *address, size_t size)
{
    give_back(address, stack_class_index(size));
    return 0;
}

static STACK_NOINLINE int
free_by_table(void *address, size_t size)
{
    /* An address that is no multiple of a page could fake the word's low bits. */
    if (STACK_UNLIKELY(((uintptr_t)address & (STACK_PAGE_MIN - 1)) != 0))
        return free_refused();
    struct table_slot *slot = table_find(address);
    if (STACK_UNLIKELY(slot == NULL))
        return free_refused();
    enum stash_put put = stash_put(slot, address, size);
    if (STACK_LIKELY(put == STASH_KEPT))
        return 0;
    return put == STASH_FULL ? free_kept_nowhere(address, size) : free_slow(slot, address, size);
}

STACK_EXPORT STACK_HOT int
stack_free(void *address, size_t size)
{
    return STACK_LIKELY(stash_put_back(address, size)) ? 0 : free_by_table(address, size);
}

void *
stack_hold(size_t size)
{
    void *body = stack_alloc(size);
    if (body != NULL)
        atomic_fetch_or_explicit(&table_known(body)->slot_word, TABLE_HELD, memory_order_relaxed);
    return body;
}

void
stack_release(void *body, size_t size)
{
    atomic_fetch_and_explicit(&table_known(body)->slot_word, ~TABLE_HELD, memory_order_relaxed);
    (void)stack_free(body, size);
}

STACK_EXPORT uint_t *
fetch_stack_sizes(void)
{
    uint_t *sizes = malloc((STACK_CLASSES + 1) * sizeof(*sizes));
    if (sizes == NULL)
        return NULL;
    unsigned n = 0;
    for (unsigned index = 0; index < STACK_CLASSES; index++)
        if (stack_size_supported(stack_class_size(index)))
            sizes[n++] = (uint_t)stack_class_size(index);
    sizes[n] = 0;
    return sizes;
}
