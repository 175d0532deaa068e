/* SPDX-License-Identifier: MIT */
/*
 * watch.h - a thread that wants to know what it does: whoever makes a system
 * call, or comes to a slow path, says so here.
 *
 * One thread-local pointer, NULL in a thread that is not watched, which is all
 * that the others pay for.  The watcher (debug/nofault.c) lies in a layer
 * above, and owns what the pointer leads to.  (AS)
 */
#ifndef UMEM_WATCH_H
#define UMEM_WATCH_H

#include "base/base.h"

/* Values as umem.h has them: UMEM_NOFAULT_*. */
enum os_watch_event { OS_WATCH_ALLOC = 1, OS_WATCH_FREE, OS_WATCH_SYSCALL };

struct os_watch {
    /* size: of an allocation, else 0.  Keeps errno. */
    void (*watch_note)(struct os_watch *watch, enum os_watch_event event, size_t size);
};

extern UMEM_TLS struct os_watch *os_watch_self;

void os_watch_note(enum os_watch_event event, size_t size);

static inline bool
os_watched(void)
{
    return UMEM_UNLIKELY(os_watch_self != NULL);
}

/* Beside each system call of the engine but those that set it up and report. */
static inline void
os_watch_syscall(void)
{
    if (os_watched())
        os_watch_note(OS_WATCH_SYSCALL, 0);
}

#endif
