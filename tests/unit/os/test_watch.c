/* SPDX-License-Identifier: MIT */
/*
 * test_watch.c - a watched thread is told of its system calls, nobody of
 * others', and what the watcher does is not told to it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>

#include "os/os.h"
#include "os/watch.h"

static int noted;

static void
note(struct os_watch *watch, enum os_watch_event event, size_t size)
{
    (void)watch;
    assert_int_equal(event, OS_WATCH_SYSCALL);
    assert_int_equal(size, 0);
    (void)os_thread_id(); /* not told */
    noted++;
}

static struct os_watch watcher = {note};

static int
calls(void (*fn)(void))
{
    noted = 0;
    os_watch_self = &watcher;
    fn();
    assert_ptr_equal(os_watch_self, &watcher);
    os_watch_self = NULL;
    return noted;
}

static char *page;
static _Atomic uint32_t word;

static void
map(void)
{
    page = os_map(os_page_size(), os_page_size());
}

static void
use_page(void)
{
    (void)os_populate(page, os_page_size(), true);
    (void)os_purge(page, os_page_size());
    (void)os_protect(page, os_page_size(), false);
    os_name(page, os_page_size(), "test");
    (void)os_unmap(page, os_page_size());
}

static void
reserve(void)
{
    /* Too large by nearly a mebibyte, and cut at one end or both. */
    char *p = os_reserve(os_page_size(), 1 << 20);
    (void)os_unmap(p, os_page_size());
}

static void
wait_and_wake(void)
{
    os_futex_wait(&word, 1);
    os_futex_wake(&word, 1);
    (void)os_thread_id();
}

static void
no_call(void)
{
    (void)os_page_size();
    (void)os_clock_ns();
}

static void
test_calls(void **state)
{
    (void)state;
    assert_int_equal(calls(map), 1);
    assert_int_equal(calls(use_page), 5);
    assert_in_range(calls(reserve), 3, 4);
    assert_int_equal(calls(wait_and_wake), 3);
    (void)os_page_size();
    assert_int_equal(calls(no_call), 0);
}

static void *
other(void *arg)
{
    (void)arg;
    return os_watched() ? &watcher : NULL;
}

static void
other_thread(void)
{
    pthread_t thread;
    void *watched;

    assert_int_equal(pthread_create(&thread, NULL, other, NULL), 0);
    assert_int_equal(pthread_join(thread, &watched), 0);
    assert_null(watched);
}

static void
test_other_thread(void **state)
{
    (void)state;
    assert_int_equal(calls(other_thread), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls),
        cmocka_unit_test(test_other_thread),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
