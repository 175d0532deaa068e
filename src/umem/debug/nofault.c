/* SPDX-License-Identifier: MIT */
/*
 * nofault.c - sections of code that are to run without a fault:
 * umem_nofault_begin() and its sisters.
 *
 * A section's record is the caller's; those of a thread are a chain, innermost
 * first, whose head is the thread's watch (os/watch.h).  An event counts in all
 * of them, and each keeps the stack of its first one.
 *
 * No lock, no allocation, no state but the chain.  The chain changes by one
 * store, and a signal handler leaves it as it found it: begin and end are
 * async-signal-safe.
 */
#include <errno.h>
#include <string.h>
#include <umem.h>

#include "debug/audit.h"
#include "debug/log.h"
#include "debug/text.h"
#include "os/os.h"
#include "os/watch.h"

_Static_assert(UMEM_NOFAULT_ALLOC == (int)OS_WATCH_ALLOC &&
                   UMEM_NOFAULT_FREE == (int)OS_WATCH_FREE &&
                   UMEM_NOFAULT_SYSCALL == (int)OS_WATCH_SYSCALL,
               "events are told as they come");

/* What lies in nf_private. */
struct section {
    struct os_watch section_watch;
    struct umem_nofault *section_outer;
    uint64_t section_faults; /* of the thread, that were none of the section's */
};
_Static_assert(sizeof(struct section) <= sizeof(((struct umem_nofault *)0)->nf_private),
               "a section fits");

static struct section *
section_of(struct umem_nofault *nf)
{
    return (struct section *)(void *)nf->nf_private;
}

static struct umem_nofault *
record_of(struct os_watch *watch)
{
    if (watch == NULL)
        return NULL;
    return UMEM_CONTAINER_OF(UMEM_CONTAINER_OF(watch, struct section, section_watch),
                             struct umem_nofault, nf_private);
}

static uint64_t *
counter_of(struct umem_nofault *nf, enum os_watch_event event)
{
    if (event == OS_WATCH_ALLOC)
        return &nf->nf_allocs;
    return event == OS_WATCH_FREE ? &nf->nf_frees : &nf->nf_syscalls;
}

/* The stack of the first event, for every section that has none yet. */
static void
keep_stack(struct umem_nofault *innermost, enum os_watch_event event, size_t size)
{
    uintptr_t frames[UMEM_NOFAULT_DEPTH + UMEM_OWN_FRAMES_MAX];
    int saved = errno;
    uint64_t before = os_page_faults();
    uint32_t depth = umem_audit_stack(frames, UMEM_NOFAULT_DEPTH);
    struct umem_nofault *nf;

    for (nf = innermost; nf != NULL; nf = section_of(nf)->section_outer) {
        if (nf->nf_first != UMEM_NOFAULT_NONE)
            continue;
        nf->nf_first = event;
        nf->nf_size = size;
        nf->nf_depth = depth;
        memcpy(nf->nf_stack, frames, depth * sizeof(frames[0]));
    }
    /* The unwinder's own faults are not the program's. */
    uint64_t own = os_page_faults() - before;
    for (nf = innermost; nf != NULL; nf = section_of(nf)->section_outer)
        section_of(nf)->section_faults += own;
    errno = saved;
}

static void
note(struct os_watch *watch, enum os_watch_event event, size_t size)
{
    struct umem_nofault *innermost = record_of(watch);
    bool first = false;

    for (struct umem_nofault *nf = innermost; nf != NULL; nf = section_of(nf)->section_outer) {
        ++*counter_of(nf, event);
        first |= nf->nf_first == UMEM_NOFAULT_NONE;
    }
    if (first)
        keep_stack(innermost, event, size);
}

UMEM_EXPORT void
umem_nofault_begin(struct umem_nofault *nf)
{
    int saved = errno;
    struct section *section = section_of(nf);

    memset(nf, 0, sizeof(*nf));
    section->section_watch.watch_note = note;
    section->section_outer = record_of(os_watch_self);
    /* Once for nothing: what the call itself may fault in is no part of the section. */
    (void)os_page_faults();
    section->section_faults = os_page_faults();
    os_watch_self = &section->section_watch;
    errno = saved;
}

UMEM_EXPORT int
umem_nofault_end(struct umem_nofault *nf)
{
    uint64_t faults = os_page_faults();
    struct umem_nofault *open = record_of(os_watch_self);

    while (open != NULL && open != nf)
        open = section_of(open)->section_outer;
    if (open == NULL) {
        errno = EINVAL;
        return -1;
    }
    struct section *section = section_of(nf);
    os_watch_self =
        section->section_outer != NULL ? &section_of(section->section_outer)->section_watch : NULL;
    /* In the child of a fork the thread's count has begun anew. */
    nf->nf_faults = faults >= section->section_faults ? faults - section->section_faults : faults;
    if (nf->nf_first == UMEM_NOFAULT_NONE && nf->nf_faults != 0)
        nf->nf_first = UMEM_NOFAULT_FAULT;
    return nf->nf_first != UMEM_NOFAULT_NONE;
}

static void
say_first(const struct umem_nofault *nf)
{
    switch (nf->nf_first) {
    case UMEM_NOFAULT_ALLOC:
        umem_text_add("first an allocation of %zu bytes came to a slow path:\n", nf->nf_size);
        break;
    case UMEM_NOFAULT_FREE:
        umem_text_add("first a free came to a slow path:\n");
        break;
    case UMEM_NOFAULT_SYSCALL:
        umem_text_add("first a system call was made:\n");
        break;
    case UMEM_NOFAULT_FAULT:
        umem_text_add("first a page fault, in no slow path of umem's\n");
        return;
    default:
        return;
    }
    umem_text_stack((const uintptr_t *)(const void *)nf->nf_stack,
                    (uint32_t)umem_min(nf->nf_depth, UMEM_NOFAULT_DEPTH));
}

UMEM_EXPORT void
umem_nofault_print(const struct umem_nofault *nf)
{
    int saved = errno;

    /* A handler that interrupted a report of this thread has to do without. */
    if (!umem_log_enter())
        return;
    umem_text_add("umem: section without faults: slow allocations %llu, slow frees %llu, "
                  "system calls %llu, page faults %llu\n",
                  (unsigned long long)nf->nf_allocs, (unsigned long long)nf->nf_frees,
                  (unsigned long long)nf->nf_syscalls, (unsigned long long)nf->nf_faults);
    say_first(nf);
    umem_text_flush();
    umem_log_leave();
    errno = saved;
}
