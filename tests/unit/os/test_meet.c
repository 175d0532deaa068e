/* SPDX-License-Identifier: MIT */
/*
 * test_meet.c - waiting ends when the other side closes, is gone or never was,
 * and a signal does not end it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "os/os.h"

static char name[64];
static _Atomic bool back;

static int
listener(void)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    static int number;
    int n = snprintf(name, sizeof(name), "umem-test-meet-%d-%d", (int)getpid(), number++);
    memcpy(addr.sun_path + 1, name, (size_t)n);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&addr,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n)),
                     0);
    assert_int_equal(listen(fd, 4), 0);
    return fd;
}

static void *
meet(void *arg)
{
    errno = 77;
    os_meet(name);
    back = true;
    return errno == 77 ? arg : NULL;
}

static void
nobody(void **state)
{
    char longer[200];
    (void)state;
    errno = 5;
    os_meet("umem-test-nobody-is-here");
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    os_meet(longer);
    assert_int_equal(errno, 5);
}

static void
on_signal(int number)
{
    (void)number;
}

static void
somebody(void **state)
{
    struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART */
    int at = listener();
    pthread_t thread;
    void *result;

    (void)state;
    back = false;
    assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
    assert_int_equal(pthread_create(&thread, NULL, meet, &at), 0);
    int fd = accept(at, NULL, NULL);
    assert_true(fd >= 0);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(pthread_kill(thread, SIGUSR1), 0);
        usleep(1000);
        assert_false(back);
    }
    close(fd);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_ptr_equal(result, &at); /* errno kept */
    close(at);
}

/* The other side ends before it has taken the call. */
static void
gone(void **state)
{
    int at = listener();
    pthread_t thread;

    (void)state;
    back = false;
    assert_int_equal(pthread_create(&thread, NULL, meet, &at), 0);
    usleep(20000);
    assert_false(back);
    close(at);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody),
        cmocka_unit_test(somebody),
        cmocka_unit_test(gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
