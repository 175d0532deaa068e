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

int
os_descriptor_adopt(struct os_descriptor *desc, int fd)
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
    *desc = (struct os_descriptor){fd, status.st_dev, status.st_ino};
    return 0;
}

bool
os_descriptor_is_ours(const struct os_descriptor *desc)
{
    struct stat status;

    return desc->desc_fd >= 0 && fstat(desc->desc_fd, &status) == 0 &&
           status.st_dev == desc->desc_device && status.st_ino == desc->desc_inode;
}

int
os_socket_listen(struct os_descriptor *sock, const char *name)
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
        return os_descriptor_adopt(sock, fd);
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
os_socket_accept(const struct os_descriptor *listener, struct os_descriptor *sock)
{
    if (!os_descriptor_is_ours(listener)) {
        errno = EBADF;
        return -1;
    }
    int fd = accept4(listener->desc_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return -1;
    if (may_talk(fd))
        return os_descriptor_adopt(sock, fd);
    (void)close(fd);
    errno = EPERM;
    return -1;
}

/* Keeps the first descriptor that came with a message; the kernel hands out two at most, for room.
 */
static void
take_passed(struct msghdr *message, struct os_descriptor *passed)
{
    struct cmsghdr *part = CMSG_FIRSTHDR(message);

    if (part == NULL || part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
        return;
    size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
        int fd;
        memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(fd));
        if (i > 0) {
            (void)close(fd);
            continue;
        }
        os_socket_close(passed);
        (void)os_descriptor_adopt(passed, fd);
    }
}

ptrdiff_t
os_socket_read(const struct os_descriptor *sock, void *buf, size_t size,
               struct os_descriptor *passed)
{
    union {
        struct cmsghdr header; /* for the alignment */
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part = {buf, size};
    ssize_t n;

    if (!os_descriptor_is_ours(sock))
        return 0;
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    do
        n = recvmsg(sock->desc_fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n >= 0)
        take_passed(&message, passed);
    return n < 0 && errno != EAGAIN ? 0 : n;
}

bool
os_socket_write(const struct os_descriptor *sock, const void *buf, size_t size)
{
    ssize_t n;

    if (!os_descriptor_is_ours(sock))
        return false;
    do
        n = send(sock->desc_fd, buf, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)size;
}

void
os_socket_close(struct os_descriptor *sock)
{
    int saved = errno;

    if (os_descriptor_is_ours(sock))
        (void)close(sock->desc_fd);
    *sock = (struct os_descriptor)OS_DESCRIPTOR_NONE;
    errno = saved;
}

void
os_socket_wait(const struct os_descriptor *const *sock, bool *ready, unsigned n, unsigned ms)
{
    struct pollfd fds[OS_SOCKET_WAIT_MAX];

    for (unsigned i = 0; i < n; i++)
        fds[i] = (struct pollfd){.fd = sock[i]->desc_fd, .events = POLLIN};
    int count = poll(fds, n, (int)ms);
    for (unsigned i = 0; i < n; i++)
        ready[i] = count > 0 && fds[i].revents != 0;
}
