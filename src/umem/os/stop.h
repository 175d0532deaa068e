/* SPDX-License-Identifier: MIT */
/*
 * stop.h - makes the other threads of the process stand still for some
 * milliseconds, and tells where each of them was, without ptrace(2).
 *
 * For one thread, which is the library's own: it must need no lock and no
 * memory meanwhile, since whoever stands still may have what it waits for.
 */
#ifndef UMEM_STOP_H
#define UMEM_STOP_H

#include "base/base.h"

struct os_stopped {
    uint32_t stop_tid; /* 0: it has ended */
    /* False: it did not come in time; nothing else is known of it, and it runs. */
    _Atomic bool stop_answered;
    const void *stop_context; /* a ucontext_t on its stack; NULL: the caller */
    uintptr_t stop_pointer;   /* its thread pointer */
};

/*
 * Stops them and returns all threads, the caller among them, *count of them,
 * valid until os_stop_end().  NULL with errno where none could be stopped:
 * ENOENT, /proc is not there; ENOMEM.
 */
const struct os_stopped *os_stop_begin(size_t *count);
/* They go on. */
void os_stop_end(void);

/*
 * For the handler: has a system call that the signal interrupted and that would
 * now fail with EINTR be made once more, where it can.
 */
void os_stop_restart(void *context);

#endif
