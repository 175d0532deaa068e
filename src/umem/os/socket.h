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

struct os_descriptor {
    int desc_fd; /* -1: none */
    uint64_t desc_device;
    uint64_t desc_inode;
};
#define OS_DESCRIPTOR_NONE                                                                         \
    {                                                                                              \
        -1, 0, 0                                                                                   \
    }

/* Listens on an abstract name (unix(7)).  -1 with errno; EADDRINUSE: somebody else does. */
int os_socket_listen(struct os_descriptor *sock, const char *name);
/*
 * The next connection.  -1 with errno: EAGAIN, there is none; EPERM, there was
 * one of a user who may not; EBADF, the listener is not ours any more.
 */
int os_socket_accept(const struct os_descriptor *listener, struct os_descriptor *sock);
/*
 * What has come, at most size bytes.  0: the peer has ended it; -1 with EAGAIN:
 * nothing.  A descriptor that has come along (SCM_RIGHTS) takes the
 * place of *passed, which is closed.
 */
ptrdiff_t os_socket_read(const struct os_descriptor *sock, void *buf, size_t size,
                         struct os_descriptor *passed);
/* All of buf at once, or false: the peer is gone or does not read. */
bool os_socket_write(const struct os_descriptor *sock, const void *buf, size_t size);
/* Takes fd over, to a high number where there is one.  -1 with errno, and it is closed. */
int os_descriptor_adopt(struct os_descriptor *desc, int fd);
/* Whether it is still what it was. (AS) */
bool os_descriptor_is_ours(const struct os_descriptor *desc);
/* The socket, or whichever other descriptor, is none afterwards. (AS) */
void os_socket_close(struct os_descriptor *sock);
/*
 * Waits until one of n sockets (OS_SOCKET_WAIT_MAX at most) has something, or
 * for some milliseconds; ready[i] then says which.
 */
#define OS_SOCKET_WAIT_MAX 16
void os_socket_wait(const struct os_descriptor *const *sock, bool *ready, unsigned n, unsigned ms);

#endif
