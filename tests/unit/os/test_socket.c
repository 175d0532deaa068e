/* SPDX-License-Identifier: MIT */
/*
 * test_socket.c - local sockets: talk with a peer, without ever blocking, and
 * hands off a descriptor that the program has taken back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "os/socket.h"

static char name[64];
static struct os_descriptor listener;
static struct os_descriptor passed = OS_DESCRIPTOR_NONE;

static int
connect_to(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    memcpy(address.sun_path + 1, name, strlen(name));
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
    assert_int_equal(connect(fd, (struct sockaddr *)&address, size), 0);
    return fd;
}

static int
set_up(void **state)
{
    (void)state;
    snprintf(name, sizeof(name), "umem-test-socket.%d", (int)getpid());
    return os_socket_listen(&listener, name);
}

static int
tear_down(void **state)
{
    (void)state;
    os_socket_close(&listener);
    return listener.desc_fd == -1 ? 0 : -1;
}

static void
test_name_in_use(void **state)
{
    struct os_descriptor other;
    char longest[200];

    (void)state;
    assert_true(os_socket_listen(&other, name) == -1 && errno == EADDRINUSE);
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    assert_true(os_socket_listen(&other, longest) == -1 && errno == ENAMETOOLONG);
    assert_true((fcntl(listener.desc_fd, F_GETFD) & FD_CLOEXEC) != 0);
}

static void
test_talk(void **state)
{
    const struct os_descriptor *both[2] = {&listener, NULL};
    struct os_descriptor sock;
    bool ready[2];
    char text[16];

    (void)state;
    os_socket_wait(both, ready, 1, 0);
    assert_false(ready[0]);
    assert_true(os_socket_accept(&listener, &sock) == -1 && errno == EAGAIN);
    int peer = connect_to();
    os_socket_wait(both, ready, 1, 10000);
    assert_true(ready[0]);
    assert_int_equal(os_socket_accept(&listener, &sock), 0);
    assert_true((fcntl(sock.desc_fd, F_GETFD) & FD_CLOEXEC) != 0);
    both[1] = &sock;
    assert_true(os_socket_read(&sock, text, sizeof(text), &passed) == -1 && errno == EAGAIN);
    assert_int_equal(write(peer, "hello", 5), 5);
    os_socket_wait(both, ready, 2, 10000);
    assert_true(!ready[0] && ready[1]);
    assert_int_equal(os_socket_read(&sock, text, sizeof(text), &passed), 5);
    assert_true(os_socket_write(&sock, "world", 5));
    assert_int_equal(read(peer, text, sizeof(text)), 5);
    close(peer);
    assert_int_equal(os_socket_read(&sock, text, sizeof(text), &passed), 0);
    assert_false(os_socket_write(&sock, "gone", 4)); /* and no SIGPIPE */
    os_socket_close(&sock);
    os_socket_close(&sock);
}

static void
send_with(int peer, const int *fds, size_t count)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(4 * sizeof(int))];
    } control = {{0}};
    struct iovec part = {"x", 1};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = CMSG_SPACE(count * sizeof(int))};

    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(&control.header), fds, count * sizeof(int));
    assert_int_equal(sendmsg(peer, &message, 0), 1);
}

/* How many descriptors there are from FD_MIN on: ours are. */
static unsigned
count_ours(void)
{
    unsigned count = 0;

    for (int fd = 300; fd < 400; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* One descriptor is kept, the last that came; none is left open behind it. */
static void
test_passed(void **state)
{
    struct os_descriptor sock;
    char text[16];
    int ends[4];
    unsigned before = count_ours();

    (void)state;
    assert_true(pipe(ends) == 0 && pipe(ends + 2) == 0);
    int peer = connect_to();
    assert_int_equal(os_socket_accept(&listener, &sock), 0);
    assert_false(os_descriptor_is_ours(&passed));
    send_with(peer, &ends[1], 1);
    assert_int_equal(os_socket_read(&sock, text, sizeof(text), &passed), 1);
    assert_true(os_descriptor_is_ours(&passed) && fcntl(passed.desc_fd, F_GETFD) == FD_CLOEXEC);
    assert_int_equal(write(passed.desc_fd, "y", 1), 1);
    assert_int_equal(read(ends[0], text, sizeof(text)), 1);
    for (size_t count = 1; count <= 4; count++) {
        send_with(peer, ends, count);
        assert_int_equal(os_socket_read(&sock, text, sizeof(text), &passed), 1);
        assert_int_equal(count_ours(), before + 2);
    }
    assert_int_equal(write(peer, "z", 1), 1);
    assert_int_equal(os_socket_read(&sock, text, sizeof(text), &passed), 1);
    assert_true(os_descriptor_is_ours(&passed));
    os_socket_close(&passed);
    assert_int_equal(count_ours(), before + 1);
    os_socket_close(&sock);
    close(peer);
    for (unsigned i = 0; i < 4; i++)
        close(ends[i]);
}

/* A peer that reads nothing holds nobody up. */
static void
test_full(void **state)
{
    static char much[65536];
    struct os_descriptor sock;

    (void)state;
    int peer = connect_to();
    assert_int_equal(os_socket_accept(&listener, &sock), 0);
    int writes = 0;
    while (os_socket_write(&sock, much, sizeof(much)))
        assert_true(++writes < 1000);
    os_socket_close(&sock);
    close(peer);
}

static void
test_taken_by_the_program(void **state)
{
    struct os_descriptor sock;
    char text[16];
    int ends[2];

    (void)state;
    int peer = connect_to();
    assert_int_equal(os_socket_accept(&listener, &sock), 0);
    int fd = sock.desc_fd;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    assert_int_equal(dup2(ends[0], fd), fd);
    assert_int_equal(write(ends[1], "secret", 6), 6);
    assert_int_equal(os_socket_read(&sock, text, sizeof(text), &passed), 0);
    assert_false(os_socket_write(&sock, text, 1));
    os_socket_close(&sock);
    assert_int_equal(read(fd, text, sizeof(text)), 6);
    close(fd);
    close(ends[0]);
    close(ends[1]);
    close(peer);

    struct os_descriptor lost = listener;
    close(listener.desc_fd);
    assert_true(os_socket_accept(&lost, &sock) == -1 && errno == EBADF);
    assert_int_equal(os_socket_listen(&listener, name), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_name_in_use),
        cmocka_unit_test(test_talk),
        cmocka_unit_test(test_passed),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_taken_by_the_program),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
