/* SPDX-License-Identifier: MIT */
/*
 * stderr.c - see stderr.h.  Raw system calls, since write() and sigtimedwait()
 * of libc are cancellation points: a thread must not vanish in its own report.
 * Keeps no state.
 */
#include "os/stderr.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/watch.h"

/* Bytes of the kernel's signal set: 64 signals everywhere but on MIPS. */
#define KERNEL_SIGSET_SIZE ((size_t)8)

/* False: nobody reads any more. */
static bool
write_all(const char *text, size_t size)
{
    while (size > 0) {
        os_watch_syscall();
        long n = syscall(SYS_write, STDERR_FILENO, text, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0 || errno != EPIPE;
        text += n;
        size -= (size_t)n;
    }
    return true;
}

void
os_stderr(const char *text, size_t size)
{
    int saved = errno;
    sigset_t pipe_set, old, pending;

    /*
     * A broken pipe sends SIGPIPE to the thread that writes: block it, and
     * take ours off again, unless one was there before.
     */
    sigemptyset(&pipe_set);
    sigaddset(&pipe_set, SIGPIPE);
    sigemptyset(&pending);
    (void)sigpending(&pending);
    bool blocked = pthread_sigmask(SIG_BLOCK, &pipe_set, &old) == 0;
    if (!write_all(text, size) && blocked && sigismember(&pending, SIGPIPE) == 0) {
        static const long no_time[4]; /* a zero timespec of either width */
        (void)syscall(SYS_rt_sigtimedwait, &pipe_set, NULL, no_time, KERNEL_SIGSET_SIZE);
    }
    if (blocked)
        (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    errno = saved;
}
