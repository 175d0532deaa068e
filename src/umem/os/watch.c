/* SPDX-License-Identifier: MIT */
/*
 * watch.c - see watch.h.  Owns the thread's pointer.
 */
#include "os/watch.h"

UMEM_TLS struct os_watch *os_watch_self;

UMEM_COLD void
os_watch_note(enum os_watch_event event, size_t size)
{
    struct os_watch *watch = os_watch_self;

    /* What the watcher does itself does not count. */
    os_watch_self = NULL;
    watch->watch_note(watch, event, size);
    os_watch_self = watch;
}
