/* SPDX-License-Identifier: MIT */
/*
 * stress.c - sizes, stamps, arguments, and the mix: threads with a table of
 * blocks each, which they make, resize, drop, or put into another's queue.
 *
 * A thread ends after some thousand operations and another goes on with its
 * table, so that blocks outlive their makers.  Each queue has a mutex; all
 * else belongs to one thread at a time (handed over by join).
 */
#include "stress.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    MAX_THREADS = 64,
    SLOTS = 400,             /* blocks a thread holds: some megabytes */
    QUEUE = 256,             /* blocks on their way to a thread */
    TURN_OPERATIONS = 30000, /* operations of one thread's life */
    STAMPED_WHOLE = 512,     /* blocks to this size are stamped throughout */
    STAMPED_END = 128,       /* of larger ones, this much at both ends */
    STAMPED_STEP = 509       /* and a byte here and there: a prime */
};

uint64_t
rng_next(struct rng *r)
{
    uint64_t x = r->state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    r->state = x;
    return x * 0x2545f4914f6cdd1dULL;
}

uint64_t
rng_below(struct rng *r, uint64_t limit)
{
    return (rng_next(r) >> 16) % limit;
}

size_t
rng_size(struct rng *r)
{
    uint64_t what = rng_below(r, 1000);
    if (what < 550)
        return 1 + (size_t)rng_below(r, 128);
    if (what < 850)
        return 1 + (size_t)rng_below(r, 1024);
    if (what < 960)
        return 1 + (size_t)rng_below(r, 16384);
    if (what < 994)
        return 1 + (size_t)rng_below(r, 131072);
    return 131073 + (size_t)rng_below(r, 1500000);
}

/* --- Stamps --- */

static unsigned char
stamp_byte(uint64_t tag, size_t offset)
{
    return (unsigned char)((tag >> (offset % 8 * 8)) ^ (offset >> 3));
}

_Noreturn void
stress_fail(const struct block *b, const char *what, size_t offset)
{
    const unsigned char *p = b->ptr + (offset & ~(size_t)15);
    fprintf(stderr, "stress: %s: block %p of %zu bytes, kind %u, tag %#llx, offset %zu:", what,
            (void *)b->ptr, b->size, b->kind, (unsigned long long)b->tag, offset);
    for (size_t i = 0; i < 16 && (offset & ~(size_t)15) + i < b->size; i++)
        fprintf(stderr, " %02x(%02x)", p[i], stamp_byte(b->tag, (offset & ~(size_t)15) + i));
    fprintf(stderr, "\n");
    abort();
}

/* The next offset after i that is stamped in a block of size bytes. */
static size_t
stamp_next(size_t i, size_t size)
{
    if (size <= STAMPED_WHOLE || i + 1 < STAMPED_END || i + 1 >= size - STAMPED_END)
        return i + 1;
    size_t next = i + STAMPED_STEP;
    return next < size - STAMPED_END ? next : size - STAMPED_END;
}

void
stamp_write(const struct block *b)
{
    for (size_t i = 0; i < b->size; i = stamp_next(i, b->size))
        b->ptr[i] = stamp_byte(b->tag, i);
}

void
stamp_check(const struct block *b, size_t size, const char *when)
{
    for (size_t i = 0; i < size; i = stamp_next(i, b->size))
        if (b->ptr[i] != stamp_byte(b->tag, i))
            stress_fail(b, when, i);
}

/* --- The mix --- */

struct queue {
    pthread_mutex_t lock;
    unsigned head, count;
    struct block block[QUEUE];
};

struct worker {
    pthread_t thread;
    struct rng rng;
    unsigned number;
    uint64_t made, remote;
    struct block slot[SLOTS];
    struct queue inbox;
};

static struct worker workers[MAX_THREADS];
static unsigned worker_count;
static const struct stress_ops *driven;

static bool
queue_put(struct queue *q, const struct block *b)
{
    pthread_mutex_lock(&q->lock);
    bool room = q->count < QUEUE;
    if (room)
        q->block[(q->head + q->count++) % QUEUE] = *b;
    pthread_mutex_unlock(&q->lock);
    return room;
}

static bool
queue_get(struct queue *q, struct block *b)
{
    pthread_mutex_lock(&q->lock);
    bool any = q->count > 0;
    if (any) {
        *b = q->block[q->head];
        q->head = (q->head + 1) % QUEUE;
        q->count--;
    }
    pthread_mutex_unlock(&q->lock);
    return any;
}

static void
block_drop(struct block *b, const char *when)
{
    stamp_check(b, b->size, when);
    driven->drop(b);
    b->ptr = NULL;
}

static void
block_make(struct worker *w, struct block *b)
{
    if (!driven->make(b, &w->rng))
        stress_fail(b, "no memory", 0);
    w->made++;
    b->tag = (uint64_t)(w->number + 1) << 56 ^ w->made << 16 ^ (uintptr_t)b->ptr >> 4;
    stamp_write(b);
}

static void
block_resize(struct worker *w, struct block *b)
{
    size_t size = rng_size(&w->rng);
    struct block old = *b;
    stamp_check(b, b->size, "before resize");
    if (!driven->resize(b, size))
        stress_fail(b, "no memory to resize", 0);
    /* What was stamped by the old size's rule has to be there still. */
    old.ptr = b->ptr;
    stamp_check(&old, size < old.size ? size : old.size, "after resize");
    stamp_write(b);
}

static void
receive(struct worker *w, unsigned most)
{
    struct block b;
    while (most-- > 0 && queue_get(&w->inbox, &b)) {
        block_drop(&b, "received");
        w->remote++;
    }
}

static void
operate(struct worker *w)
{
    struct block *b = &w->slot[rng_below(&w->rng, SLOTS)];
    uint64_t what = rng_below(&w->rng, 100);

    if (b->ptr == NULL) {
        block_make(w, b);
    } else if (what < 35 && worker_count > 1) {
        struct worker *other = &workers[rng_below(&w->rng, worker_count)];
        if (queue_put(&other->inbox, b))
            b->ptr = NULL;
        else
            block_drop(b, "queue full");
    } else if (what < 50 && driven->resize != NULL) {
        block_resize(w, b);
    } else {
        block_drop(b, "own");
        if (what < 90)
            block_make(w, b);
    }
    if (what % 8 == 0)
        receive(w, 16);
}

static void *
worker_turn(void *arg)
{
    struct worker *w = arg;
    for (unsigned i = 0; i < TURN_OPERATIONS; i++)
        operate(w);
    return NULL;
}

static void
worker_start(struct worker *w)
{
    int error = pthread_create(&w->thread, NULL, worker_turn, w);
    if (error != 0) {
        fprintf(stderr, "stress: pthread_create: %s\n", strerror(error));
        abort();
    }
}

struct stress_arguments
stress_arguments(int argc, char **argv, unsigned seconds)
{
    struct stress_arguments a = {.seconds = seconds, .threads = 4, .seed = 1};
    const char *override = getenv("UMEM_STRESS_SECONDS");
    if (argc > 1)
        a.seconds = (unsigned)strtoul(argv[1], NULL, 10);
    if (argc > 2)
        a.threads = (unsigned)strtoul(argv[2], NULL, 10);
    if (argc > 3)
        a.seed = strtoull(argv[3], NULL, 10);
    if (override != NULL)
        a.seconds = (unsigned)strtoul(override, NULL, 10);
    if (a.threads == 0)
        a.threads = 4;
    return a;
}

time_t
stress_more_seconds(void)
{
    const char *seconds = getenv("UMEM_STRESS_SECONDS");
    return seconds != NULL ? strtol(seconds, NULL, 10) : 0;
}

int
stress_mix(const struct stress_ops *ops, int argc, char **argv)
{
    struct stress_arguments a = stress_arguments(argc, argv, 10);
    uint64_t made = 0, remote = 0, turns = 0;
    time_t end = time(NULL) + (time_t)a.seconds;

    driven = ops;
    worker_count = a.threads < MAX_THREADS ? a.threads : MAX_THREADS;
    for (unsigned i = 0; i < worker_count; i++) {
        workers[i].number = i;
        workers[i].rng.state = (a.seed + i) * 0x9e3779b97f4a7c15ULL | 1;
        pthread_mutex_init(&workers[i].inbox.lock, NULL);
    }
    for (unsigned i = 0; i < worker_count; i++)
        worker_start(&workers[i]);
    while (time(NULL) < end) {
        struct worker *w = &workers[turns++ % worker_count];
        pthread_join(w->thread, NULL);
        worker_start(w);
        if (ops->tend != NULL && turns % 8 == 0)
            ops->tend();
    }
    for (unsigned i = 0; i < worker_count; i++)
        pthread_join(workers[i].thread, NULL);
    for (unsigned i = 0; i < worker_count; i++) {
        struct worker *w = &workers[i];
        receive(w, QUEUE);
        for (unsigned s = 0; s < SLOTS; s++)
            if (w->slot[s].ptr != NULL)
                block_drop(&w->slot[s], "at the end");
        made += w->made;
        remote += w->remote;
    }
    printf("%s: %u threads, %llu lives, %llu blocks, %llu freed by another thread\n", ops->name,
           worker_count, (unsigned long long)(turns + worker_count), (unsigned long long)made,
           (unsigned long long)remote);
    return made > 0 ? 0 : 1;
}

int
stress_main(const struct stress_ops *ops, int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(const struct stress_ops *, int, char **);
    } modes[] = {{"mix", stress_mix},
                 {"fork", stress_fork},
                 {"threads", stress_threads},
                 {"crowd", stress_crowd},
                 {"lives", stress_lives}};

    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (argc < 2 || strcmp(argv[1], modes[i].name) != 0)
            continue;
        if (ops->set_up != NULL && !ops->set_up())
            return 1;
        int status = modes[i].run(ops, argc - 1, argv + 1);
        if (ops->tear_down != NULL)
            ops->tear_down();
        return status;
    }
    fprintf(stderr, "usage: %s mix|fork|threads|crowd|lives [N [THREADS [SEED]]]\n", argv[0]);
    return 2;
}
