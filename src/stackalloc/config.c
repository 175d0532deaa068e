/* SPDX-License-Identifier: MIT */
/*
 * config.c - stack_config: what a class of stacks will be made with.
 *
 * Owns class_choice until the class is opened (class.c), which sets
 * CHOICE_FIXED in it.  One word by compare-and-swap: no locks.  What a free does
 * beyond its task stands beside it; of two threads that choose at once, each may
 * have its part.
 */
#include <errno.h>
#include <stackalloc.h>
#include <string.h>

#include "page.h"
#include "stack.h"

_Static_assert(CHOICE_HIGH_SHIFT + CHOICE_PAGES_BITS == 32, "a choice fills its word");
_Static_assert(STACK_SCRUB_ALL <= CARE_SCRUB_MASK, "how to scrub fits");
_Static_assert(STACK_BACKEND_REGIONS <= CHOICE_BACKEND_MASK, "backend fits");

static int
refuse(int error)
{
    errno = error;
    return -1;
}

/* What a newer program sets that this library does not know is refused, not left out. */
static bool
config_read(struct stack_config *known, const struct stack_config *config, size_t size)
{
    const unsigned char *bytes = (const unsigned char *)config;
    for (size_t i = sizeof(*known); i < size; i++)
        if (bytes[i] != 0)
            return false;
    memset(known, 0, sizeof(*known));
    memcpy(known, config, size < sizeof(*known) ? size : sizeof(*known));
    return size != 0;
}

/* CHOICE_PAGES_MAX + 1 for what does not fit. */
static size_t
guard_pages(size_t width)
{
    size_t page = page_size();
    size_t pages = width / page + (width % page != 0);
    return pages <= CHOICE_PAGES_MAX ? pages : CHOICE_PAGES_MAX + 1;
}

static void
care_choose(unsigned index, const struct stack_config *known)
{
    bool trims = known->config_cache_bytes != 0 || known->config_idle_ms != 0;
    stack_trim_choose(index, known->config_cache_bytes, known->config_idle_ms);
    atomic_store_explicit(&stack_classes[index].class_care,
                          (uint32_t)known->config_scrub | (trims ? CARE_TRIM : 0) |
                              (known->config_watermark != 0 ? CARE_FILL : 0),
                          memory_order_release);
}

STACK_EXPORT int
stack_config(size_t stack_size, const struct stack_config *config, size_t size)
{
    struct stack_config known;
    if (!stack_size_supported(stack_size) || !config_read(&known, config, size))
        return refuse(EINVAL);
    size_t low = guard_pages(known.config_guard_low), high = guard_pages(known.config_guard_high);
    unsigned backend = (unsigned)known.config_backend;
    if (low > CHOICE_PAGES_MAX || high > CHOICE_PAGES_MAX || backend > STACK_BACKEND_REGIONS ||
        (unsigned)known.config_scrub > STACK_SCRUB_ALL ||
        (known.config_watermark != 0 && known.config_watermark != STACK_WATERMARK_FILL))
        return refuse(EINVAL);
    if (backend == STACK_BACKEND_REGIONS && !page_guard_known())
        return refuse(ENOTSUP);
    uint32_t choice = (uint32_t)low << CHOICE_LOW_SHIFT | (uint32_t)high << CHOICE_HIGH_SHIFT |
                      backend << CHOICE_BACKEND_SHIFT | (known.config_lazy ? CHOICE_LAZY : 0);
    _Atomic uint32_t *place = &stack_classes[stack_class_index(stack_size)].class_choice;
    uint32_t old = atomic_load_explicit(place, memory_order_relaxed);
    do
        if ((old & CHOICE_FIXED) != 0)
            return refuse(EBUSY);
    while (!atomic_compare_exchange_weak(place, &old, choice));
    care_choose(stack_class_index(stack_size), &known);
    return 0;
}
