/* SPDX-License-Identifier: MIT */
/*
 * membarrier.c - membarrier(2): see membarrier.h.  Makes system calls.  No state, no locks.
 */
#include "membarrier.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

/* <linux/membarrier.h>, 4.14: the kernel's headers need not be installed. */
#define CMD_PRIVATE_EXPEDITED (1 << 3)
#define CMD_REGISTER_PRIVATE_EXPEDITED (1 << 4)

/*
 * Where a filter that came later forbids the call: stores leave a processor
 * within a microsecond or so, and none is a thousand times as late.
 */
#define GRACE_US 1000

static bool
membarrier(int command)
{
/* ThreadSanitizer does not know what the call orders. */
#if defined(SYS_membarrier) && !defined(__SANITIZE_THREAD__)
    int error = errno;
    bool done = syscall(SYS_membarrier, command, 0, 0) == 0;
    errno = error;
    return done;
#else
    (void)command;
    return false;
#endif
}

bool
barrier_register(void)
{
    return membarrier(CMD_REGISTER_PRIVATE_EXPEDITED);
}

void
barrier_all(void)
{
    if (!membarrier(CMD_PRIVATE_EXPEDITED))
        (void)usleep(GRACE_US);
}
