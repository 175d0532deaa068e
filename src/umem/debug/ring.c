/* SPDX-License-Identifier: MIT */
/*
 * ring.c - the message ring (ring.h), who owns the log (log.h), and one-line
 * messages.
 *
 * Everything here is async-signal-safe, allocates nothing and keeps errno.
 */
#include "debug/ring.h"

#include <errno.h>
#include <string.h>

#include "base/print.h"
#include "debug/audit.h"
#include "debug/contents.h"
#include "debug/debug.h"
#include "debug/log.h"
#include "debug/stacks.h"
#include "os/os.h"
#include "os/stderr.h"

/* A message is a line: two names of 31 characters, addresses, an item of an option list. */
#define MESSAGE_SIZE 400

struct umem_ring umem_ring;

/* Kernel id of the owner, 0 nobody. */
static _Atomic uint32_t log_owner;
/* fork_prepare() of a thread that owned the log anyway. */
static bool fork_nested;

UMEM_TLS uint32_t umem_thread_known;

uint32_t
umem_thread_ask(void)
{
    umem_thread_known = os_thread_id();
    return umem_thread_known;
}

bool
umem_log_enter(void)
{
    uint32_t self = umem_thread_self();
    uint32_t owner = 0;

    while (!atomic_compare_exchange_strong_explicit(&log_owner, &owner, self, memory_order_acquire,
                                                    memory_order_relaxed)) {
        if (owner == self)
            return false;
        os_futex_wait(&log_owner, owner);
        owner = 0;
    }
    return true;
}

void
umem_log_leave(void)
{
    atomic_store_explicit(&log_owner, 0, memory_order_release);
    /* Messages are rare: waking without knowing of a waiter is one system call. */
    os_futex_wake(&log_owner, 1);
}

void
umem_ring_write(const char *text, size_t size)
{
    if (size > UMEM_RING_SIZE) {
        text += size - UMEM_RING_SIZE;
        umem_ring.ring_head += size - UMEM_RING_SIZE;
        size = UMEM_RING_SIZE;
    }
    size_t at = (size_t)(umem_ring.ring_head % UMEM_RING_SIZE);
    size_t before_wrap = umem_min(size, UMEM_RING_SIZE - at);

    memcpy(umem_ring.ring_text + at, text, before_wrap);
    memcpy(umem_ring.ring_text, text + before_wrap, size - before_wrap);
    umem_ring.ring_head += size;
}

void
umem_log_text(const char *text, size_t size, bool to_stderr)
{
    umem_ring_write(text, size);
    if (to_stderr)
        os_stderr(text, size);
}

void
umem_message(bool always, const char *fmt, ...)
{
    static const char prefix[] = "umem: ";
    char text[MESSAGE_SIZE];
    int saved = errno;
    size_t length = sizeof(prefix) - 1;
    va_list ap;

    memcpy(text, prefix, length);
    va_start(ap, fmt);
    /* One byte is kept for the newline, which takes the terminator's place. */
    length += umem_vsnprintf(text + length, sizeof(text) - length, fmt, ap);
    va_end(ap);
    length = umem_min(length, sizeof(text) - 1);
    text[length++] = '\n';

    bool entered = umem_log_enter();
    umem_log_text(text, length, always || umem_options.opt_verbose || umem_options.opt_allverbose);
    if (entered)
        umem_log_leave();
    errno = saved;
}

UMEM_USUAL void
umem_debug_fork_prepare(void)
{
    fork_nested = !umem_log_enter();
}

UMEM_USUAL void
umem_debug_fork_parent(void)
{
    if (!fork_nested)
        umem_log_leave();
}

void
umem_debug_fork_child(void)
{
    /* The child's only thread has a new id. */
    umem_thread_known = 0;
    umem_contents_fork_child();
    umem_trails_fork_child();
    umem_events_fork_child();
    atomic_store_explicit(&log_owner, fork_nested ? umem_thread_self() : 0, memory_order_relaxed);
}
