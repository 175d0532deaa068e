/* SPDX-License-Identifier: MIT */
/*
 * barrier.c - a memory barrier on all running threads of the process, by
 * membarrier(2).
 *
 * Owns whether the system has it.  Registered once, early: with a single thread
 * that costs nothing, with many the kernel waits for a grace period.
 */
#include <errno.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/os.h"
#include "os/watch.h"

/* <linux/membarrier.h>, 4.14: the kernel's headers need not be installed. */
#define CMD_PRIVATE_EXPEDITED (1 << 3)
#define CMD_REGISTER_PRIVATE_EXPEDITED (1 << 4)

static _Atomic bool registered;

static bool
membarrier(int command)
{
#ifdef __SANITIZE_THREAD__
    (void)command;
    return false; /* the sanitizer does not know what it orders */
#else
    int saved = errno;

    os_watch_syscall();
    bool done = syscall(SYS_membarrier, command, 0, 0) == 0;

    errno = saved;
    return done;
#endif
}

void
os_barrier_init(void)
{
    atomic_store_explicit(&registered, membarrier(CMD_REGISTER_PRIVATE_EXPEDITED),
                          memory_order_relaxed);
}

bool
os_barrier(void)
{
    return atomic_load_explicit(&registered, memory_order_relaxed) &&
           membarrier(CMD_PRIVATE_EXPEDITED);
}
