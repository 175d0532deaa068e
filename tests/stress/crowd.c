/* SPDX-License-Identifier: MIT */
/*
 * crowd.c - a thousand threads alive at once, and twenty thousand short lives.
 *
 * In the crowd each thread sleeps until it is called; the main thread calls all,
 * then a few, then all again, and waits for those it called.  Who is awake makes
 * blocks, hands them to any thread's inbox, idle ones' too, and looks at and
 * drops what others left.  Each inbox has a mutex; a thread's slots are its own.
 */
#include "stress.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    CROWD_MAX = 1000,
    CROWD_STACK = 256 << 10, /* a thousand of the default 8 MB would be 8 GB */
    CROWD_SLOTS = 8,         /* blocks that a thread holds */
    CROWD_INBOX = 8,         /* blocks on their way to it */
    CALL_OPERATIONS = 24,    /* of one thread, each time it is called */
    FEW_IN = 16,             /* one in so many is called when not all are */
    ALL_EVERY = 4,           /* all are called every so many rounds */
    LIVES_ALIVE = 16,        /* short lives that overlap */
    LIFE_BLOCKS = 6
};

struct member {
    pthread_t thread;
    sem_t called;
    struct rng rng;
    uint64_t made, remote;
    pthread_mutex_t lock; /* of the inbox */
    unsigned waiting;
    struct block inbox[CROWD_INBOX];
    struct block slot[CROWD_SLOTS];
};

static struct member members[CROWD_MAX];
static unsigned member_count;
static sem_t answered;
static bool leaving; /* written before the last call of all */
static const struct stress_ops *driven;

static void
make(struct block *b, struct rng *r)
{
    if (!driven->make(b, r))
        stress_fail(b, "no memory", 0);
    b->tag = rng_next(r);
    stamp_write(b);
}

static void
drop(struct block *b, const char *when)
{
    stamp_check(b, b->size, when);
    driven->drop(b);
    b->ptr = NULL;
}

static void
wait_on(sem_t *semaphore)
{
    while (sem_wait(semaphore) != 0)
        if (errno != EINTR)
            abort();
}

/* Gives a block away; whether there was room. */
static bool
hand_over(struct member *to, struct block *b)
{
    pthread_mutex_lock(&to->lock);
    bool room = to->waiting < CROWD_INBOX;
    if (room)
        to->inbox[to->waiting++] = *b;
    pthread_mutex_unlock(&to->lock);
    if (room)
        b->ptr = NULL;
    return room;
}

static void
empty_inbox(struct member *m)
{
    struct block got[CROWD_INBOX];
    pthread_mutex_lock(&m->lock);
    unsigned n = m->waiting;
    memcpy(got, m->inbox, n * sizeof(got[0]));
    m->waiting = 0;
    pthread_mutex_unlock(&m->lock);
    for (unsigned i = 0; i < n; i++)
        drop(&got[i], "received");
    m->remote += n;
}

static void *
member_run(void *arg)
{
    struct member *m = arg;
    for (wait_on(&m->called); !leaving; wait_on(&m->called)) {
        empty_inbox(m);
        for (unsigned i = 0; i < CALL_OPERATIONS; i++) {
            struct block *b = &m->slot[rng_below(&m->rng, CROWD_SLOTS)];
            if (b->ptr == NULL) {
                make(b, &m->rng);
                m->made++;
            } else if (!hand_over(&members[rng_below(&m->rng, member_count)], b)) {
                drop(b, "inbox full");
            }
        }
        sem_post(&answered);
    }
    for (unsigned i = 0; i < CROWD_SLOTS; i++)
        if (m->slot[i].ptr != NULL)
            drop(&m->slot[i], "at the end");
    return NULL;
}

static void
call(struct rng *r, bool all)
{
    unsigned called = 0;
    for (unsigned i = 0; i < member_count; i++)
        if (all || rng_below(r, FEW_IN) == 0) {
            sem_post(&members[i].called);
            called++;
        }
    while (called-- > 0)
        wait_on(&answered);
}

static bool
gather(uint64_t seed)
{
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, CROWD_STACK);
    sem_init(&answered, 0, 0);
    for (unsigned i = 0; i < member_count; i++) {
        struct member *m = &members[i];
        sem_init(&m->called, 0, 0);
        pthread_mutex_init(&m->lock, NULL);
        m->rng.state = (seed + i) * 0x9e3779b97f4a7c15ULL | 1;
    }
    for (unsigned i = 0; i < member_count; i++) {
        int error = pthread_create(&members[i].thread, &attr, member_run, &members[i]);
        if (error != 0) {
            fprintf(stderr, "stress: thread %u: %s\n", i, strerror(error));
            return false;
        }
    }
    pthread_attr_destroy(&attr);
    return true;
}

int
stress_crowd(const struct stress_ops *ops, int argc, char **argv)
{
    struct stress_arguments a = stress_arguments(argc, argv, 3);
    struct rng r = {.state = a.seed * 2 + 1};
    uint64_t made = 0, remote = 0, rounds = 0;
    time_t end = time(NULL) + (time_t)a.seconds;

    driven = ops;
    member_count = a.threads < CROWD_MAX ? a.threads : CROWD_MAX;
    if (!gather(a.seed))
        return 1;
    /* Whatever the time: all were called, some slept, and came back. */
    for (; rounds <= ALL_EVERY || time(NULL) < end; rounds++) {
        call(&r, rounds % ALL_EVERY == 0);
        if (ops->tend != NULL && rounds % (ALL_EVERY * 4) == 2)
            ops->tend();
    }
    leaving = true;
    for (unsigned i = 0; i < member_count; i++)
        sem_post(&members[i].called);
    for (unsigned i = 0; i < member_count; i++)
        pthread_join(members[i].thread, NULL);
    for (unsigned i = 0; i < member_count; i++) {
        empty_inbox(&members[i]);
        made += members[i].made;
        remote += members[i].remote;
    }
    printf("%s: a crowd of %u threads, %llu rounds, %llu blocks, %llu freed by another thread\n",
           ops->name, member_count, (unsigned long long)rounds, (unsigned long long)made,
           (unsigned long long)remote);
    return made > 0 && remote > 0 ? 0 : 1;
}

/* --- Short lives --- */

/* One place of those alive: a thread, and the block that outlives it. */
struct place {
    pthread_t thread;
    bool taken;
    struct rng rng;
    struct block left;
};

static void *
life(void *arg)
{
    struct place *p = arg;
    struct block b[LIFE_BLOCKS];
    if (p->left.ptr != NULL)
        drop(&p->left, "left by a thread that ended");
    for (unsigned i = 0; i < LIFE_BLOCKS; i++)
        make(&b[i], &p->rng);
    for (unsigned i = 1; i < LIFE_BLOCKS; i++)
        drop(&b[i], "at the end of a life");
    p->left = b[0];
    return NULL;
}

int
stress_lives(const struct stress_ops *ops, int argc, char **argv)
{
    static struct place places[LIVES_ALIVE];
    unsigned lives = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 20000, lived = 0;
    time_t end = time(NULL) + stress_more_seconds();
    long warm = 0;

    driven = ops;
    for (unsigned i = 0; i < LIVES_ALIVE; i++)
        places[i].rng.state = i * 0x9e3779b97f4a7c15ULL | 1;
    for (; lived < lives || time(NULL) < end; lived++) {
        struct place *p = &places[lived % LIVES_ALIVE];
        if (lived == lives / 10)
            warm = stress_resident_kb();
        if (p->taken)
            pthread_join(p->thread, NULL);
        int error = pthread_create(&p->thread, NULL, life, p);
        if (error != 0) {
            fprintf(stderr, "stress: life %u: %s\n", lived, strerror(error));
            return 1;
        }
        p->taken = true;
    }
    for (unsigned i = 0; i < LIVES_ALIVE; i++)
        if (places[i].taken) {
            pthread_join(places[i].thread, NULL);
            drop(&places[i].left, "left by the last");
        }
    return stress_levelled_off(ops->name, "lives", lived, warm);
}
