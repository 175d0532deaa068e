/* SPDX-License-Identifier: MIT */
/*
 * test_threads.c - many threads at once: first use, a hammering of all sizes
 * with an ownership check, double frees that race, fork in the midst of it.
 */
#include "stacktest.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define THREADS 8
#define HELD 6
#define EXCHANGES 32

struct worker {
    pthread_t thread;
    unsigned number;
    uint64_t random;
    long steps;
};

/* What a thread writes into a stack that is its own: who, and which. */
struct tag {
    uint64_t tag_owner;
    uint64_t tag_serial;
};

struct held {
    char *stack;
    size_t size;
    struct tag tag;
};

/* Stacks on their way to other threads, with what to check in a second array. */
static _Atomic(struct held *) exchanges[EXCHANGES];
static atomic_bool stopping;

static uint64_t
next_random(struct worker *worker)
{
    worker->random ^= worker->random << 13;
    worker->random ^= worker->random >> 7;
    worker->random ^= worker->random << 17;
    return worker->random;
}

/* The tag goes to the first, a middle and the last bytes. */
static struct tag *
tag_place(const struct held *held, int which)
{
    size_t offset = which == 0 ? 0 : which == 1 ? held->size / 2 : held->size - sizeof(struct tag);
    return (struct tag *)(void *)(held->stack + offset);
}

static void
hold(struct worker *worker, struct held *held, uint64_t serial)
{
    held->size = all_sizes[next_random(worker) % SIZES];
    held->stack = stack_alloc(held->size);
    CHECK(held->stack != NULL);
    held->tag = (struct tag){worker->number, serial};
    for (int which = 0; which < 3; which++)
        *tag_place(held, which) = held->tag;
}

static void
release(struct held *held)
{
    for (int which = 0; which < 3; which++) {
        const struct tag *tag = tag_place(held, which);
        CHECK(tag->tag_owner == held->tag.tag_owner && tag->tag_serial == held->tag.tag_serial);
    }
    CHECK(is_refused(held->stack, held->size ^ all_sizes[0]));
    CHECK(is_refused(held->stack + PAGE, held->size));
    CHECK(stack_free(held->stack, held->size) == 0);
    held->stack = NULL;
}

/* Puts ours where another thread finds it, and frees what we find there. */
static void
exchange(struct worker *worker, struct held *held)
{
    struct held *mine = malloc(sizeof(*mine));
    CHECK(mine != NULL);
    *mine = *held;
    struct held *other = atomic_exchange(&exchanges[next_random(worker) % EXCHANGES], mine);
    held->stack = NULL;
    if (other != NULL) {
        release(other);
        free(other);
    }
}

static void *
hammer(void *arg)
{
    struct worker *worker = arg;
    struct held held[HELD] = {0};
    for (long step = 0; step < worker->steps && !atomic_load(&stopping); step++) {
        struct held *one = &held[next_random(worker) % HELD];
        if (one->stack == NULL)
            hold(worker, one, (uint64_t)step);
        else if (next_random(worker) % 4 == 0)
            exchange(worker, one);
        else
            release(one);
    }
    for (int i = 0; i < HELD; i++)
        if (held[i].stack != NULL)
            release(&held[i]);
    return NULL;
}

static void
start(struct worker *workers, int count, void *(*fn)(void *), long steps)
{
    for (int i = 0; i < count; i++) {
        workers[i].number = (unsigned)i;
        workers[i].random = 0x9e3779b97f4a7c15u * (uint64_t)(i + 1);
        workers[i].steps = steps;
        CHECK(pthread_create(&workers[i].thread, NULL, fn, &workers[i]) == 0);
    }
}

static void
join(struct worker *workers, int count)
{
    for (int i = 0; i < count; i++)
        CHECK(pthread_join(workers[i].thread, NULL) == 0);
    for (int i = 0; i < EXCHANGES; i++) {
        struct held *left = atomic_exchange(&exchanges[i], NULL);
        if (left != NULL) {
            release(left);
            free(left);
        }
    }
}

static pthread_barrier_t barrier;

static void *
first_user(void *arg)
{
    struct worker *worker = arg;
    char *stacks[SIZES];
    pthread_barrier_wait(&barrier);
    for (size_t s = 0; s < SIZES; s++) {
        CHECK((stacks[s] = stack_alloc(all_sizes[s])) != NULL);
        memset(stacks[s], (int)worker->number, all_sizes[s]);
    }
    pthread_barrier_wait(&barrier);
    for (size_t s = 0; s < SIZES; s++) {
        CHECK(stacks[s][0] == (char)worker->number);
        CHECK(stacks[s][all_sizes[s] - 1] == (char)worker->number);
        CHECK(stack_free(stacks[s], all_sizes[s]) == 0);
    }
    return NULL;
}

static void
child_first_use(void *arg)
{
    (void)arg;
    struct worker workers[THREADS];
    pthread_barrier_init(&barrier, NULL, THREADS);
    start(workers, THREADS, first_user, 0);
    join(workers, THREADS);
}

static void
test_first_use_by_all_at_once(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++)
        must_succeed(child_first_use, NULL);
}

static void
child_hammer(void *arg)
{
    (void)arg;
    struct worker workers[THREADS];
    start(workers, THREADS, hammer, SANITIZED ? 2000 : 10000);
    join(workers, THREADS);
}

static void
test_hammer(void **state)
{
    (void)state;
    must_succeed(child_hammer, NULL);
}

/*
 * Two threads, no barrier: sleepers would wake too far apart to race.  The
 * first opens a round and waits a little, another while each time, so that
 * some rounds meet the second thread, which spins, to the nanosecond.
 */
struct race {
    _Atomic(long) round;    /* the stack of this round is there */
    _Atomic(long) finished; /* the second thread has tried */
    _Atomic(int) won;
    void *stack;
    size_t size;
};
static struct race race;

#define RACE_DELAYS 128

static void
spin_until(_Atomic(long) *what, long value)
{
    for (unsigned i = 0; atomic_load(what) < value; i++)
        if (i % 4096 == 4095)
            sched_yield();
}

static void
race_free(void)
{
    /* Refused, but brings the slot near: both threads then start from a copy of their own. */
    CHECK(is_refused(race.stack, race.size ^ all_sizes[0]));
    if (stack_free(race.stack, race.size) == 0)
        atomic_fetch_add(&race.won, 1);
    else
        CHECK(errno == EINVAL);
}

static void *
second_racer(void *arg)
{
    struct worker *worker = arg;
    for (long i = 1; i <= worker->steps; i++) {
        spin_until(&race.round, i);
        race_free();
        atomic_store(&race.finished, i);
    }
    return NULL;
}

static void
child_race(void *arg)
{
    (void)arg;
    struct worker second;
    const long rounds = SANITIZED ? 2000 : 50000;
    start(&second, 1, second_racer, rounds);
    for (long i = 1; i <= rounds; i++) {
        race.size = all_sizes[(size_t)i % SIZES];
        CHECK((race.stack = stack_alloc(race.size)) != NULL);
        atomic_store(&race.won, 0);
        atomic_store(&race.round, i);
        for (volatile long delay = i % RACE_DELAYS; delay > 0; delay--)
            ;
        race_free();
        spin_until(&race.finished, i);
        CHECK(atomic_load(&race.won) == 1);
    }
    join(&second, 1);
}

static void
test_one_of_racing_frees_wins(void **state)
{
    (void)state;
    must_succeed(child_race, NULL);
}

static void
grandchild(void *arg)
{
    struct held *held = arg;
    release(held);
    CHECK(is_refused(held->stack, held->size));
    FOR_SIZES(size)
    for (int i = 0; i < 4; i++) {
        char *stack = stack_alloc(size);
        CHECK(stack != NULL);
        memset(stack, i, size);
        CHECK(stack_free(stack, size) == 0);
        CHECK(is_refused(stack, size));
    }
}

static void
child_fork_in_threads(void *arg)
{
    (void)arg;
    struct worker workers[4], self = {.number = 99, .random = 77};
    start(workers, 4, hammer, INT64_MAX);
    for (int i = 0; i < (SANITIZED ? 20 : 100); i++) {
        struct held held;
        hold(&self, &held, (uint64_t)i);
        int status = run_child(grandchild, &held);
        CHECK(status == 0);
        release(&held);
    }
    atomic_store(&stopping, true);
    join(workers, 4);
}

static void
test_fork_in_a_thread_storm(void **state)
{
    (void)state;
    if (SANITIZED)
        skip(); /* their own locks do not survive a fork from a threaded process */
    must_succeed(child_fork_in_threads, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_use_by_all_at_once),
        cmocka_unit_test(test_hammer),
        cmocka_unit_test(test_one_of_racing_frees_wins),
        cmocka_unit_test(test_fork_in_a_thread_storm),
    };
    return cmocka_run_group_tests_name("stackalloc/threads", tests, NULL, NULL);
}
