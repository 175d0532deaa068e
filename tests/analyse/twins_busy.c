/* SPDX-License-Identifier: MIT */
/*
 * Threads allocate and free blocks of every kind, each other's too, while audit
 * is switched on and off all the time.  Now and then each loses one of a kind.
 * Then some blocks are kept and some freed, all are looked at, and the program
 * waits:
 *
 *   twins_busy SWITCHES on|off
 *
 * Prints "kept ADDRESS", "freed ADDRESS", "lost N"; on: audit stays so.
 */
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <umem.h>
#include <unistd.h>

enum { THREADS = 4, SLOTS = 300, LOSE_EVERY = 10, SCRUBBED = 32768 };
enum kind { MALLOC, CALLOC, RESIZED, ALIGNED, LARGE, SIZED, OBJECT, UNTOUCHED, KINDS };

/* At the start of each block; the last byte is as the first of the size. */
struct block {
    size_t size;
    enum kind kind;
};

static struct block *_Atomic slot[THREADS][SLOTS];
static umem_cache_t *cache[2];
static _Atomic int phase;
static _Atomic int to_lose; /* threads that have not lost theirs in this phase */
static _Atomic bool over;

static void
fail(const char *what)
{
    fprintf(stderr, "%s\n", what);
    abort();
}

static size_t
size_of(enum kind kind, unsigned random)
{
    switch (kind) {
    case OBJECT:
    case UNTOUCHED:
        return 200;
    case LARGE:
        return 140000 + random % 100000;
    default:
        return random % 16 == 0 ? 5000 + random % 20000 : sizeof(struct block) + 1 + random % 500;
    }
}

static __attribute__((noinline)) struct block *
make(enum kind kind, unsigned random)
{
    size_t size = size_of(kind, random);
    struct block *b = NULL;

    switch (kind) {
    case CALLOC:
        b = calloc(1, size);
        if (((char *)b)[size - 1] != 0 || b->size != 0)
            fail("calloc is not zero");
        break;
    case RESIZED:
        b = malloc(size / 2 + 1);
        memset(b, 's', size / 2 + 1);
        b = realloc(b, size);
        if (((char *)b)[size / 2] != 's')
            fail("realloc has lost a byte");
        break;
    case ALIGNED:
        b = memalign(64 << random % 4, size);
        break;
    case SIZED:
        b = umem_alloc(size, UMEM_NOFAIL);
        break;
    case OBJECT:
    case UNTOUCHED:
        b = umem_cache_alloc(cache[kind == UNTOUCHED], UMEM_NOFAIL);
        break;
    default:
        b = malloc(size);
    }
    b->size = size;
    b->kind = kind;
    ((char *)b)[size - 1] = (char)size;
    return b;
}

static __attribute__((noinline)) void
drop(struct block *b)
{
    if (b == NULL)
        return;
    if (((char *)b)[b->size - 1] != (char)b->size)
        fail("a block has lost what was in it");
    if (b->kind == SIZED)
        umem_free(b, b->size);
    else if (b->kind == OBJECT || b->kind == UNTOUCHED)
        umem_cache_free(cache[b->kind == UNTOUCHED], b);
    else
        free(b);
}

static struct block *volatile last;

static __attribute__((noinline)) void
lose(unsigned random)
{
    for (int kind = 0; kind < KINDS; kind++)
        last = make(kind, random + (unsigned)kind);
    last = NULL;
}

/* Neither the stack nor registers hold a block any more. */
static __attribute__((noinline)) void
scrub(void)
{
    volatile char stack[SCRUBBED];

    for (size_t i = 0; i < sizeof(stack); i++)
        stack[i] = 0;
}

static __attribute__((noinline)) void
churn(unsigned random)
{
    int seen = 0;

    while (!over) {
        random = random * 1103515245 + 12345; /* the C standard's example of rand() */
        unsigned r = random >> 8;
        struct block *b = r % 3 == 0 ? NULL : make(r % 61 == 0 ? LARGE : r / 64 % KINDS, r);
        drop(atomic_exchange(&slot[r / 7 % THREADS][r / 31 % SLOTS], b));
        if (phase != seen) {
            seen = phase;
            lose(r);
            to_lose--;
        }
    }
}

static void *
work(void *arg)
{
    churn((unsigned)(uintptr_t)arg + 1);
    scrub();
    return NULL;
}

/* Audit on, in one way or another, and off. */
static void
switch_audit(int turn)
{
    struct umem_audit_spec spec = {.audit_frames = 8};

    if (turn % 2 == 1)
        spec.audit_flags = UMEM_AUDIT_GUARDS;
    if (turn % 5 == 2)
        spec.audit_cache = "shared";
    if (turn % 7 == 3) {
        spec.audit_size_min = 50;
        spec.audit_size_max = 250;
    }
    if (umem_audit_start(&spec) != 0)
        fail("audit cannot be started");
    usleep(2000);
    if (umem_audit_stop() != 0)
        fail("audit cannot be stopped");
    if (turn % 10 == 5)
        umem_reap();
    usleep(1000);
}

/* All that threads have left is freed but for one of a kind, and some that are freed last. */
static void
settle(void)
{
    for (int i = 0; i < THREADS; i++)
        for (int j = 0; j < SLOTS; j++)
            drop(atomic_exchange(&slot[i][j], NULL));
    for (int kind = 0; kind < KINDS; kind++) {
        slot[0][kind] = make(kind, 100);
        printf("kept %p\n", (void *)slot[0][kind]);
    }
    for (int kind = 0; kind < KINDS; kind++) {
        struct block *b = make(kind, 100);
        printf("freed %p\n", (void *)b);
        drop(b);
    }
}

int
main(int argc, char **argv)
{
    pthread_t thread[THREADS];
    int switches = argc > 2 ? atoi(argv[1]) : 0, lost = 0;

    cache[0] = umem_cache_create("shared", 200, 0, NULL, NULL, NULL, NULL, NULL, 0);
    cache[1] = umem_cache_create("untouched", 200, 0, NULL, NULL, NULL, NULL, NULL, UMC_NOTOUCH);
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&thread[i], NULL, work, (void *)i);
    for (int turn = 0; turn < switches; turn++) {
        if (turn % LOSE_EVERY == 0 && to_lose == 0) {
            to_lose = THREADS;
            phase++;
            lost += THREADS * KINDS;
        }
        switch_audit(turn);
    }
    while (to_lose != 0)
        usleep(1000);
    over = true;
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    if (strcmp(argv[2], "on") == 0)
        umem_audit_start(NULL);
    settle();
    if (umem_verify() != 0)
        fail("a block is corrupt");
    scrub();
    printf("lost %d\nready\n", lost);
    fflush(stdout);
    pause();
    return 0;
}
