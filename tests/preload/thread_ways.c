/* SPDX-License-Identifier: MIT */
/*
 * thread_ways.c - threads that end in every way, and what stack a thread has.
 *
 *   thread_ways N           N rounds of threads joined, detached, cancelled, exiting
 *   thread_ways size BYTES  prints the size of the stack of a thread that asks for BYTES
 *   thread_ways own         runs a thread on a stack that the program brings
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int pthread_getattr_np(pthread_t, pthread_attr_t *);

static atomic_long ended, cleaned, destroyed;
static pthread_key_t key;

static void
clean(void *arg)
{
    (void)arg;
    atomic_fetch_add(&cleaned, 1);
}

static void
destroy(void *arg)
{
    volatile char frame[8192]; /* destructors run on the same stack */
    memset((char *)frame, 1, sizeof(frame));
    (void)arg;
    atomic_fetch_add(&destroyed, frame[5]);
}

static void *
returns(void *arg)
{
    pthread_setspecific(key, arg);
    atomic_fetch_add(&ended, 1);
    return arg;
}

static void *
exits(void *arg)
{
    pthread_setspecific(key, arg);
    pthread_cleanup_push(clean, NULL);
    atomic_fetch_add(&ended, 1);
    pthread_exit(arg);
    pthread_cleanup_pop(0);
    return NULL;
}

static void *
waits(void *arg)
{
    pthread_setspecific(key, arg);
    pthread_cleanup_push(clean, NULL);
    atomic_fetch_add(&ended, 1);
    for (;;)
        pause();
    pthread_cleanup_pop(0);
    return NULL;
}

static void
rounds(long n)
{
    pthread_attr_t detached;
    long expected = 0;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    pthread_key_create(&key, destroy);
    for (long i = 1; i <= n; i++) {
        pthread_t one, two, three, four;
        void *result;
        if (pthread_create(&one, NULL, returns, &key) != 0 ||
            pthread_create(&two, NULL, exits, &key) != 0 ||
            pthread_create(&three, NULL, waits, &key) != 0 ||
            pthread_create(&four, &detached, i % 2 != 0 ? returns : exits, &key) != 0)
            abort();
        expected += 4;
        if (i % 3 == 0)
            pthread_detach(one);
        else if (pthread_join(one, &result) != 0 || result != &key)
            abort();
        if (pthread_join(two, &result) != 0 || result != &key)
            abort();
        pthread_cancel(three);
        if (pthread_join(three, &result) != 0 || result != PTHREAD_CANCELED)
            abort();
    }
    for (int i = 0; i < 5000 && (ended < expected - n || destroyed < ended); i++)
        usleep(1000);
    /* A thread that was cancelled before it began has counted nothing. */
    printf("%s\n", cleaned >= n && destroyed == ended ? "all ended" : "some are missing");
}

static void *
size_of(void *arg)
{
    pthread_attr_t attr;
    void *base;
    pthread_getattr_np(pthread_self(), &attr);
    pthread_attr_getstack(&attr, &base, arg);
    pthread_attr_destroy(&attr);
    return base;
}

static int
on(pthread_attr_t *attr, size_t *size, void **base)
{
    pthread_t id;
    return pthread_create(&id, attr, size_of, size) != 0 || pthread_join(id, base) != 0;
}

int
main(int argc, char **argv)
{
    static char stack[262144] __attribute__((aligned(4096)));
    pthread_attr_t attr;
    size_t size;
    void *base;
    pthread_attr_init(&attr);
    if (argc > 2) {
        size_t asked = strtoul(argv[2], NULL, 10);
        if (asked != 0 && pthread_attr_setstacksize(&attr, asked) != 0)
            return 2;
        if (on(asked != 0 ? &attr : NULL, &size, &base) != 0)
            return 1;
        printf("%zu\n", size);
    } else if (strcmp(argv[1], "own") == 0) {
        pthread_attr_setstack(&attr, stack, sizeof(stack));
        if (on(&attr, &size, &base) != 0)
            return 1;
        puts(base == stack && size == sizeof(stack) ? "own" : "another");
    } else {
        rounds(strtol(argv[1], NULL, 10));
    }
    return 0;
}
