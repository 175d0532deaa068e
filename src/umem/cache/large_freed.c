/* SPDX-License-Identifier: MIT */
/*
 * large_freed.c - see large_freed.h.
 *
 * State: the ring.  A reader may run in a handler of SIGSEGV, whichever locks
 * the thread holds that it struck; so it takes none, and a few tries are enough,
 * since no writer stands still within the ring but one that was struck itself.
 */
#include "cache/large_freed.h"

#include "cache/cache.h"
#include "os/os.h"

#define FREED_KEPT 32
#define READ_TRIES 100

static struct umem_large_freed freed[FREED_KEPT]; /* a ring */
static size_t freed_next;
static _Atomic uint32_t freed_sequence; /* odd while the ring is being written */

UMEM_COLD void
umem_large_freed_note(const struct umem_large *large)
{
    size_t last = (freed_next + FREED_KEPT - 1) % FREED_KEPT;
    size_t slot = freed[last].freed_base == large->large_base ? last : freed_next;
    uint32_t sequence = atomic_load_explicit(&freed_sequence, memory_order_relaxed);

    atomic_store_explicit(&freed_sequence, sequence + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    freed[slot] = (struct umem_large_freed){.freed_base = large->large_base,
                                            .freed_size = large->large_size,
                                            .freed_flags = large->large_flags,
                                            .freed_bufctl = large->large_bufctl};
    if (slot == freed_next)
        freed_next = (freed_next + 1) % FREED_KEPT;
    atomic_store_explicit(&freed_sequence, sequence + 2, memory_order_release);
}

/* What of a freed block an access may have meant: its pages, tag and all. */
static size_t
reach(const struct umem_large_freed *entry)
{
    return umem_align_up(entry->freed_size + sizeof(struct umem_buftag), os_page_size());
}

/*
 * The latest entry that addr is in, or, exact, that begins there.  May read what
 * is just being written: whoever calls looks at freed_sequence then.
 */
__attribute__((no_sanitize("thread"))) static bool
find(const void *addr, bool exact, struct umem_large_freed *found)
{
    for (size_t i = 1; i <= FREED_KEPT; i++) {
        const struct umem_large_freed *entry = &freed[(freed_next + FREED_KEPT - i) % FREED_KEPT];
        size_t offset = (uintptr_t)addr - (uintptr_t)entry->freed_base;
        if (entry->freed_base != NULL && offset < (exact ? 1 : reach(entry))) {
            *found = *entry;
            return true;
        }
    }
    return false;
}

/* The same beside writers; false also where they would not let it read. */
static UMEM_COLD bool
find_beside_writers(const void *addr, bool exact, struct umem_large_freed *found)
{
    for (int i = 0; i < READ_TRIES; i++) {
        uint32_t before = atomic_load_explicit(&freed_sequence, memory_order_acquire);
        bool any = find(addr, exact, found);
        atomic_thread_fence(memory_order_acquire);
        if (before % 2 == 0 &&
            atomic_load_explicit(&freed_sequence, memory_order_relaxed) == before)
            return any;
    }
    return false;
}

bool
umem_large_freed_at(const void *base, struct umem_large_freed *found)
{
    return find_beside_writers(base, true, found);
}

UMEM_COLD bool
umem_large_explain(const struct os_fault *fault)
{
    struct umem_large_freed before;

    /* Where something else is mapped by now, it is that which was not to be touched. */
    if (fault->fault_cause != OS_FAULT_UNMAPPED ||
        !find_beside_writers((const void *)fault->fault_addr, false, &before))
        return false;
    struct umem_buffer found = {.buf_bufctl = &before.freed_bufctl,
                                .buf_addr = before.freed_base,
                                .buf_space = before.freed_size,
                                .buf_flags = before.freed_flags & UMF_AUDIT};
    umem_report(&(struct umem_error_info){
        .err_kind = UMERR_AFTER_FREE,
        .err_addr = (const void *)fault->fault_addr,
        .err_buffer = &found,
        .err_offset = fault->fault_addr - (uintptr_t)before.freed_base,
        .err_fault = fault,
    });
    return true;
}
