/* SPDX-License-Identifier: MIT */
/*
 * test_stop.c - threads of every kind stand still, where they were is known, and
 * no call of theirs ends of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "os/os.h"
#include "os/stop.h"

/*
 * The handler is put there by the system call itself: a sanitizer, which delays
 * handlers until its own code is done, does not know of it.
 */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif
#define SKIPPED 77
#define ROUNDS 200
#define MANY 300
#define ALTERNATE_SIZE 65536

static _Atomic unsigned started, ended;
static _Atomic uint64_t count;
static _Atomic bool ending;
static sem_t never;

static void *
run(void *arg)
{
    started++;
    while (!ending)
        count++;
    return arg;
}

static void *
poll_for_ever(void *arg)
{
    started++;
    (void)poll(NULL, 0, -1);
    ended++;
    return arg;
}

static void *
sleep_long(void *arg)
{
    struct timespec time = {3600, 0};

    started++;
    (void)nanosleep(&time, &time);
    ended++;
    return arg;
}

static void *
wait_in_time(void *arg)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_REALTIME, &time);
    time.tv_sec += 3600;
    started++;
    (void)sem_timedwait(&never, &time);
    ended++;
    return arg;
}

/* Blocks, and waits for, all there are. */
static void *
wait_for_signals(void *arg)
{
    sigset_t all;
    int number;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    started++;
    (void)sigwait(&all, &number);
    ended++;
    return arg;
}

/* Has a signal stack, and little of its own left to a handler. */
static void *
on_alternate(void *arg)
{
    stack_t stack = {.ss_sp = malloc(ALTERNATE_SIZE), .ss_size = ALTERNATE_SIZE};

    (void)sigaltstack(&stack, NULL);
    started++;
    while (!ending)
        (void)syscall(SYS_sched_yield);
    return arg;
}

static unsigned
start(void *(*body)(void *), pthread_t *thread)
{
    pthread_attr_t attr;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 65536);
    assert_int_equal(pthread_create(thread, &attr, body, NULL), 0);
    return 1;
}

static void
check_stop(size_t expected)
{
    size_t n;
    const struct os_stopped *all = os_stop_begin(&n);

    assert_non_null(all);
    uint64_t before = count;
    size_t here = 0, self = 0;
    for (size_t i = 0; i < n; i++) {
        if (all[i].stop_tid == 0)
            continue;
        here++;
        self += all[i].stop_context == NULL;
        assert_true(all[i].stop_answered);
        assert_true(all[i].stop_pointer != 0);
    }
    os_sleep_ms(1);
    assert_int_equal(count, before);
    os_stop_end();
    assert_int_equal(here, expected);
    assert_int_equal(self, 1);
}

static void
test_kinds(void **state)
{
    void *(*const bodies[])(void *) = {run,          run,          poll_for_ever,   sleep_long,
                                       on_alternate, wait_in_time, wait_for_signals};
    pthread_t threads[UMEM_ARRAY_SIZE(bodies)];
    size_t n = 0;

    (void)state;
    sem_init(&never, 0, 0);
    for (; n < UMEM_ARRAY_SIZE(bodies); n++)
        start(bodies[n], &threads[n]);
    while (started < n)
        os_sleep_ms(1);
    for (unsigned i = 0; i < ROUNDS; i++)
        check_stop(n + 1);
    uint64_t before = count;
    while (count == before)
        os_sleep_ms(1);
#if defined(__x86_64__)
    assert_int_equal(ended, 0);
#endif
    ending = true;
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
}

static void *
rest(void *arg)
{
    started++;
    for (;;)
        (void)pause();
    return arg;
}

/* More than there was room for. */
static void
test_many(void **state)
{
    pthread_t thread;

    (void)state;
    started = 0;
    for (unsigned i = 0; i < MANY; i++)
        start(rest, &thread);
    while (started < MANY)
        os_sleep_ms(1);
    size_t n;
    assert_non_null(os_stop_begin(&n));
    os_stop_end();
    assert_true(n > MANY);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_many),
    };

    if (SANITIZED)
        return SKIPPED;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
