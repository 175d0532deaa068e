/* SPDX-License-Identifier: MIT */
/*
 * Loses blocks of every kind whenever a line comes, in two threads whose
 * windows have been open for long: what was lost before audit was switched on
 * has no stack, what is lost later has.  Says "early", "later" and so on.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <umem.h>

enum { SMALL = 70, OBJECTS = 9, LARGE = 2, PASSING = 2000 };

static umem_cache_t *cache;
static pthread_barrier_t barrier;

/* Many blocks come and go, so that windows are full of the sizes that are lost then. */
static void
warm_up(void)
{
    static __thread void *passing[PASSING];

    for (int i = 0; i < PASSING; i++)
        passing[i] = i % 2 == 0 ? malloc(100) : umem_cache_alloc(cache, UMEM_DEFAULT);
    for (int i = 0; i < PASSING; i++) {
        if (i % 2 == 0)
            free(passing[i]);
        else
            umem_cache_free(cache, passing[i]);
        passing[i] = NULL;
    }
}

static void *volatile last;

static void
lose(void)
{
    for (int i = 0; i < SMALL; i++)
        last = memset(malloc(100), 0, 100);
    for (int i = 0; i < OBJECTS; i++)
        last = memset(umem_cache_alloc(cache, UMEM_DEFAULT), 0, 200);
    for (int i = 0; i < LARGE; i++)
        last = malloc(300000);
    last = NULL;
}

static __attribute__((noinline)) void
lose_early(void)
{
    lose();
}

static __attribute__((noinline)) void
lose_later(void)
{
    lose();
    __asm__ volatile("");
}

static __attribute__((noinline)) void
lose_at_last(void)
{
    lose();
    __asm__ volatile("" : : : "memory");
}

static void (*const ways[])(void) = {lose_early, lose_later, lose_at_last};
static const char *const names[] = {"early", "later", "at last"};

/* Registers and the stack hold no block any more. */
static __attribute__((noinline)) void
scrub(void)
{
    volatile char stack[16384];

    for (size_t i = 0; i < sizeof(stack); i++)
        stack[i] = 0;
}

static void
act(int i)
{
    warm_up();
    ways[i]();
    scrub();
}

static void *
other_thread(void *arg)
{
    for (int i = 0; i < 3; i++) {
        pthread_barrier_wait(&barrier);
        act(i);
        pthread_barrier_wait(&barrier);
    }
    pthread_barrier_wait(&barrier);
    return arg;
}

int
main(void)
{
    pthread_t thread;
    char line[100];

    cache = umem_cache_create("later", 200, 0, NULL, NULL, NULL, NULL, NULL, 0);
    pthread_barrier_init(&barrier, NULL, 2);
    if (cache == NULL || pthread_create(&thread, NULL, other_thread, NULL) != 0)
        return 1;
    for (int i = 0; i < 3; i++) {
        pthread_barrier_wait(&barrier);
        act(i);
        pthread_barrier_wait(&barrier);
        printf("%s\n", names[i]);
        fflush(stdout);
        if (fgets(line, sizeof(line), stdin) == NULL)
            return 1;
    }
    return 0;
}
