/* SPDX-License-Identifier: MIT */
/*
 * creates.c - how long pthread_create() takes at its worst: 300 runs, in each of which 16
 * threads at once create and join another, with all memory locked.
 *
 *   creates normal|fifo glibc|stacks BYTES
 *
 * glibc: threads with default attributes.  stacks: runs of three kinds in turn, so that
 * what else the machine does hits all of them:
 *
 *   umem    stack_pthread_create()
 *   reused  pthread_create() on a stack that the thread keeps, faulted in: what
 *           libc and the kernel take, and the least that any library can
 *   spin    no call at all, but a loop that is as long as the median of reused:
 *           what the machine adds, by interrupts, or by running others
 *
 * Of each it prints, by wall time and by the processor time of the thread, "run_worst", the
 * slowest create of a run in medians of that run, the median over the runs.  Of all creates
 * together it prints "median" in ns; "p99" and "p99.9", what so many of a hundred were within,
 * and "worst", the slowest, in medians; "over", how many took more than ten medians,
 * "over_switched", how many of those did not keep the processor, and "unswitched", the slowest
 * of those that did, in medians.  "waits": in how many the thread
 * gave up the processor by itself, waiting for a lock.  Of umem also "own", wall
 * time before and after libc's pthread_create(), which this program stands in front of.
 *
 * Exit code 77: the system does not permit SCHED_FIFO.
 */
#include "common.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <stackalloc.h>
#include <stdbool.h>
#include <sys/resource.h>

#define THREADS 16
#define CREATES 300
#define REHEARSALS 50 /* before that: stacks are there, ours and the kernel's */
#define PRIORITY 1
#define NOT_PERMITTED 77
#define OVER 10 /* in medians: what no create is to reach */
/* Some 10 us, until the rehearsals have told what makes a median. */
#define SPIN_FIRST 20000

enum way { UMEM, REUSED, SPIN, GLIBC, WAYS };
static const char *const way_names[WAYS] = {"umem", "reused", "spin", "glibc"};
enum field { WALL, PROCESSOR, OWN, FIELDS };
static const char *const field_names[FIELDS] = {"wall", "processor", "own"};

struct create {
    double create_ns[FIELDS];
    long create_preempted, create_waited;
};

static struct create creates[WAYS][THREADS][CREATES];
static pthread_barrier_t together;
static size_t size;
static enum way first_way, past_way;
static bool fifo;
static uint64_t spin_turns = SPIN_FIRST;

typedef int create_fn(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
static create_fn *libc_create;
static __thread double libc_entered, libc_left; /* the thread's last call, or the same time twice */

static double
clock_now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec * NS_PER_S + (double)t.tv_nsec;
}

/* Libraries find this one before libc's. */
int
pthread_create(pthread_t *id, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
    libc_entered = clock_now(CLOCK_MONOTONIC);
    int error = libc_create(id, attr, fn, arg);
    libc_left = clock_now(CLOCK_MONOTONIC);
    return error;
}

/* Page by page downwards, as frames go. */
static void *
use(void *arg)
{
    size_t depth = size / 4 * 3;
    volatile char *low = __builtin_alloca(depth);
    while (depth >= PAGE)
        low[depth -= PAGE] = 1;
    return arg;
}

static void
spin(uint64_t turns)
{
    for (uint64_t i = 0; i < turns; i++)
        __asm__ volatile("" ::: "memory");
}

static int
one_way(enum way way, pthread_t *id, const pthread_attr_t *kept)
{
    switch (way) {
    case UMEM:
        return stack_pthread_create(id, NULL, size, use, NULL);
    case REUSED:
        return pthread_create(id, kept, use, NULL);
    case GLIBC:
        return pthread_create(id, NULL, use, NULL);
    default:
        spin(spin_turns);
        return 0;
    }
}

static void
measure(enum way way, const pthread_attr_t *kept, struct create *found)
{
    struct rusage before, after;
    pthread_t id;
    getrusage(RUSAGE_THREAD, &before);
    double processor = clock_now(CLOCK_THREAD_CPUTIME_ID);
    double start = clock_now(CLOCK_MONOTONIC);
    libc_entered = libc_left = start;
    int error = one_way(way, &id, kept);
    double end = clock_now(CLOCK_MONOTONIC);
    found->create_ns[PROCESSOR] = clock_now(CLOCK_THREAD_CPUTIME_ID) - processor;
    getrusage(RUSAGE_THREAD, &after);
    found->create_ns[WALL] = end - start;
    found->create_ns[OWN] = libc_entered - start + (end - libc_left);
    found->create_preempted = after.ru_nivcsw - before.ru_nivcsw;
    found->create_waited = after.ru_nvcsw - before.ru_nvcsw;
    if (error != 0 || (way != SPIN && pthread_join(id, NULL) != 0))
        abort();
}

static int
compare_ns(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static double
median(double *values, size_t count)
{
    qsort(values, count, sizeof(*values), compare_ns);
    return values[count / 2];
}

static void
rehearse(const pthread_attr_t *kept)
{
    double ns[WAYS][REHEARSALS];
    for (int i = 0; i < REHEARSALS; i++)
        for (enum way way = first_way; way < past_way; way++) {
            struct create found;
            measure(way, kept, &found);
            ns[way][i] = found.create_ns[PROCESSOR];
        }
    /* One thread's will do: the others wait at the barrier, and find it there. */
    if (pthread_barrier_wait(&together) == PTHREAD_BARRIER_SERIAL_THREAD && first_way == UMEM)
        spin_turns =
            (uint64_t)(SPIN_FIRST * median(ns[REUSED], REHEARSALS) / median(ns[SPIN], REHEARSALS));
}

static void *
creator(void *arg)
{
    size_t number = (size_t)(uintptr_t)arg;
    struct sched_param param = {.sched_priority = PRIORITY};
    if (fifo && pthread_setschedparam(pthread_self(), SCHED_FIFO, &param) != 0) {
        fprintf(stderr, "SCHED_FIFO is not permitted\n");
        exit(NOT_PERMITTED);
    }
    pthread_attr_t kept;
    pthread_attr_init(&kept);
    pthread_attr_setstack(&kept, map_stack(size), size);
    rehearse(&kept);
    unsigned ways = past_way - first_way;
    for (unsigned i = 0; i < CREATES; i++)
        for (unsigned n = 0; n < ways; n++) {
            enum way way = first_way + (i + n) % ways; /* each is first now and then */
            pthread_barrier_wait(&together);
            measure(way, &kept, &creates[way][number][i]);
        }
    return NULL;
}

/* The slowest create of a run in medians of the run: its median over the runs. */
static void
report_runs(enum way way, enum field field)
{
    double worst[CREATES];
    for (size_t run = 0; run < CREATES; run++) {
        double ns[THREADS];
        for (size_t thread = 0; thread < THREADS; thread++)
            ns[thread] = creates[way][thread][run].create_ns[field];
        double middle = median(ns, THREADS); /* sorts them */
        worst[run] = ns[THREADS - 1] / middle;
    }
    printf("%s.%s.run_worst %.2f\n", way_names[way], field_names[field], median(worst, CREATES));
}

static enum field sorted_by;

static int
compare(const void *a, const void *b)
{
    const struct create *x = a, *y = b;
    return compare_ns(&x->create_ns[sorted_by], &y->create_ns[sorted_by]);
}

/* Of all creates together, whose order is lost. */
static void
report(enum way way, enum field field)
{
    struct create *all = creates[way][0];
    size_t count = (size_t)THREADS * CREATES, over = 0, switched = 0;
    double unswitched = 0;
    sorted_by = field;
    qsort(all, count, sizeof(*all), compare);
    double middle = all[count / 2].create_ns[field];
    for (size_t i = 0; i < count; i++) {
        double ns = all[i].create_ns[field];
        bool kept = all[i].create_preempted == 0 && all[i].create_waited == 0;
        over += ns > OVER * middle;
        switched += ns > OVER * middle && !kept;
        if (kept && ns > unswitched)
            unswitched = ns;
    }
    const char *w = way_names[way], *f = field_names[field];
    printf("%s.%s.median %.0f\n%s.%s.worst %.1f\n", w, f, middle, w, f,
           all[count - 1].create_ns[field] / middle);
    printf("%s.%s.p99 %.1f\n", w, f, all[count * 99 / 100].create_ns[field] / middle);
    printf("%s.%s.p99.9 %.1f\n", w, f, all[count * 999 / 1000].create_ns[field] / middle);
    printf("%s.%s.over %zu\n%s.%s.over_switched %zu\n", w, f, over, w, f, switched);
    printf("%s.%s.unswitched %.1f\n", w, f, unswitched / middle);
}

static void
report_waits(enum way way)
{
    size_t waits = 0;
    for (int thread = 0; thread < THREADS; thread++)
        for (int i = 0; i < CREATES; i++)
            waits += creates[way][thread][i].create_waited != 0;
    printf("%s.waits %zu\n", way_names[way], waits);
}

static void
storm(void)
{
    pthread_t ids[THREADS];
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
        perror("creates: mlockall, done without");
    if (pthread_barrier_init(&together, NULL, THREADS) != 0)
        abort();
    for (uintptr_t i = 0; i < THREADS; i++)
        if (pthread_create(&ids[i], NULL, creator, (void *)i) != 0)
            abort();
    for (int i = 0; i < THREADS; i++)
        pthread_join(ids[i], NULL);
}

int
main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: creates normal|fifo glibc|stacks BYTES\n");
        return 2;
    }
    libc_create = (create_fn *)dlsym(RTLD_NEXT, "pthread_create");
    fifo = strcmp(argv[1], "fifo") == 0;
    bool stacks = strcmp(argv[2], "stacks") == 0;
    first_way = stacks ? UMEM : GLIBC;
    past_way = stacks ? GLIBC : WAYS;
    size = strtoul(argv[3], NULL, 10);
    storm();
    for (enum way way = first_way; way < past_way; way++) {
        report_runs(way, WALL);
        report_runs(way, PROCESSOR);
        report(way, WALL);
        report(way, PROCESSOR);
        report_waits(way);
    }
    if (stacks)
        report(UMEM, OWN);
    return 0;
}
