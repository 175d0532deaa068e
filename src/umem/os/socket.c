/* SPDX-License-Identifier: MIT */
/*
 * socket.c - local sockets of the library's own; see socket.h.
 *
 * Owns no state and no lock.
 */
#include "os/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 8
/*
 * Ours lie above what programs count on: a shell's redirections use the first
 * ten or 255, some daemons expect theirs from 3 on.
 */
#define FD_MIN 300

/* Takes a descriptor over, to a high number where there is one.  -1 with errno. */
static int
adopt(struct os_socket *sock, int fd)
{
    struct stat status;
    int high = fcntl(fd, F_DUPFD_CLOEXEC, FD_MIN);

    if (high >= 0) {
        (void)close(fd);
        fd = high;
    }
    if (fstat(fd, &status) != 0) {
        int error = errno;
        (void)close(fd);
        errno = error;
        return -1;
    }
    *sock = (struct os_socket){fd, status.st_dev, status.st_ino};
    return 0;
}

static bool
is_ours(const struct os_socket *sock)
{
    struct stat status;

    return sock->sock_fd >= 0 && fstat(sock->sock_fd, &status) == 0 && S_ISSOCK(status.st_mode) &&
           status.st_dev == sock->sock_device && status.st_ino == sock->sock_inode;
}

int
os_socket_listen(struct os_socket *sock, const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(name);

    if (length + 1 > sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(address.sun_path + 1, name, length); /* behind a 0: abstract */
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    if (bind(fd, (struct sockaddr *)&address, size) == 0 && listen(fd, BACKLOG) == 0)
        return adopt(sock, fd);
    int error = errno;
    (void)close(fd);
    errno = error;
    return -1;
}

/* Whether the peer runs as this process's user, or as root. */
static bool
may_talk(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
           (peer.uid == 0 || peer.uid == geteuid());
}

int
os_socket_accept(const struct os_socket *listener, struct os_socket *sock)
{
    if (!is_ours(listener)) {
        errno = EBADF;
        return -1;
    }
    int fd = accept4(listener->sock_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return -1;
    if (may_talk(fd))
        return adopt(sock, fd);
    (void)close(fd);
    errno = EPERM;
    return -1;
}

ptrdiff_t
os_socket_read(const struct os_socket *sock, void *buf, size_t size)
{
    ssize_t n;

    if (!is_ours(sock))
        return 0;
    do
        n = recv(sock->sock_fd, buf, size, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n < 0 && errno != EAGAIN ? 0 : n;
}

bool
os_socket_write(const struct os_socket *sock, const void *buf, size_t size)
{
    ssize_t n;

    if (!is_ours(sock))
        return false;
    do
        n = send(sock->sock_fd, buf, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)size;
}

void
os_socket_close(struct os_socket *sock)
{
    int saved = errno;

    if (is_ours(sock))
        (void)close(sock->sock_fd);
    *sock = (struct os_socket)OS_SOCKET_NONE;
    errno = saved;
}

void
os_socket_wait(const struct os_socket *const *sock, bool *ready, unsigned n, unsigned ms)
{
    struct pollfd fds[OS_SOCKET_WAIT_MAX];

    for (unsigned i = 0; i < n; i++)
        fds[i] = (struct pollfd){.fd = sock[i]->sock_fd, .events = POLLIN};
    int count = poll(fds, n, (int)ms);
    for (unsigned i = 0; i < n; i++)
        ready[i] = count > 0 && fds[i].revents != 0;
}
