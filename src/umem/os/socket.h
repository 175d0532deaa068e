/* SPDX-License-Identifier: MIT */
/*
 * socket.h - local sockets of the library's own: names that are in no file
 * system, peers of the same user or root only, nothing that ever blocks but
 * os_socket_wait().
 *
 * The program does not know of our descriptors and may close them (as daemons
 * close all they find) and get the number anew for a file of its own.  So each
 * is known by the kernel's number of its socket too, which is asked before it
 * is used: a descriptor that is not ours any more reads as an ended connection
 * and is left alone.
 */
#ifndef UMEM_SOCKET_H
#define UMEM_SOCKET_H

#include "base/base.h"

struct os_socket {
    int sock_fd; /* -1: none */
    uint64_t sock_device;
    uint64_t sock_inode;
};
#define OS_SOCKET_NONE                                                                             \
    {                                                                                              \
        -1, 0, 0                                                                                   \
    }

/* Listens on an abstract name (unix(7)).  -1 with errno; EADDRINUSE: somebody else does. */
int os_socket_listen(struct os_socket *sock, const char *name);
/*
 * The next connection.  -1 with errno: EAGAIN, there is none; EPERM, there was
 * one of a user who may not; EBADF, the listener is not ours any more.
 */
int os_socket_accept(const struct os_socket *listener, struct os_socket *sock);
/* What has come, at most size bytes.  0: the peer has ended it; -1 with EAGAIN: nothing. */
ptrdiff_t os_socket_read(const struct os_socket *sock, void *buf, size_t size);
/* All of buf at once, or false: the peer is gone or does not read. */
bool os_socket_write(const struct os_socket *sock, const void *buf, size_t size);
/* The socket is none afterwards. (AS) */
void os_socket_close(struct os_socket *sock);
/*
 * Waits until one of n sockets (OS_SOCKET_WAIT_MAX at most) has something, or
 * for some milliseconds; ready[i] then says which.
 */
#define OS_SOCKET_WAIT_MAX 16
void os_socket_wait(const struct os_socket *const *sock, bool *ready, unsigned n, unsigned ms);

#endif
