/* SPDX-License-Identifier: MIT */
/*
 * meet.c - waits for another process, which is known by the name of a socket.
 *
 * A name, and no descriptor that is inherited: programs close descriptors that
 * they do not know, and open others under the same number.  The end of the
 * connection is the answer, so nobody waits for a process that is gone.  Raw
 * system calls, since those of libc are cancellation points.  Keeps no state.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "os/os.h"

/* Connected, or not: there is nobody of that name. */
static bool
call(long fd, const char *name, size_t length)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    long result;

    /* An abstract name: a zero byte stands before it, and none behind. */
    if (length >= sizeof(addr.sun_path))
        return false;
    memcpy(addr.sun_path + 1, name, length);
    do
        result =
            syscall(SYS_connect, fd, &addr, offsetof(struct sockaddr_un, sun_path) + 1 + length);
    while (result < 0 && errno == EINTR);
    return result == 0;
}

void
os_meet(const char *name)
{
    int saved = errno;
    long fd = syscall(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char byte;

    if (fd >= 0) {
        if (call(fd, name, strlen(name)))
            while (syscall(SYS_read, fd, &byte, sizeof(byte)) < 0 && errno == EINTR)
                continue;
        (void)syscall(SYS_close, fd);
    }
    errno = saved;
}
