/* SPDX-License-Identifier: MIT */
/*
 * main.c - per-thread against per-CPU magazines: two front ends over one back
 * end, to measure which the engine should have.  Stands alone: no line of the
 * engine is in it.  docs/frontends.md has what came of it.
 *
 *   frontends measure [ROUNDS [MS [THREADS...]]]   markdown table; medians of the rounds
 *   frontends check MS [THREADS]                   no object handed out twice, none lost
 *   frontends count T|C PAIRS                      one thread, for callgrind
 *
 * Each figure comes from a process of its own.  Costs are CPU time, of all
 * threads, a pair of alloc and free: that of the wall clock says nothing where
 * 1,000 threads share a few CPUs.  Both front ends take turns in each round.
 */
#include "frontends.h"

#include "../common.h"

#include <stdio.h>
#include <string.h>

#define EXIT_SKIP 77 /* meson's: a check that could not be made has not passed */

static int
nothing_done(const char *verb)
{
    return strcmp(verb, "check") == 0 ? EXIT_SKIP : 0;
}

#ifdef FRONTENDS_SUPPORTED

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define THREAD_STACK ((size_t)64 << 10)
#define BATCH 1000 /* pairs between two looks at the flag that ends a run: some microseconds */
/* Objects alive in all threads together, half a GiB: 1,000 threads have 2,000 each at most. */
#define LIVE_MAX 2000000u
#define ROUNDS_DEFAULT 5
#define ROUNDS_MAX 99
#define MS_DEFAULT 100
/* A thread of 1,000 on two CPUs runs every 1.5 s, slices being 3 ms: longer runs get each to it. */
#define MS_PER_THREAD 2
#define SWAPS 4096    /* "check": places where threads leave objects for others */
#define BURST_MAX 300 /* "check": objects at a time; two magazines overflow */
#define SWAPPED THREADS_MAX + 1
#define INTERRUPT_NS 200000 /* "check": at 50 us, 1,000 threads did little but take signals */

_Noreturn void
die(const char *what)
{
    fprintf(stderr, "frontends: %s\n", what);
    _exit(1);
}

/* "pipe": what a producer hands its consumer, two chunks under way. */
struct link {
    sem_t ready, room;
    void *chunk[2][BATCH];
    bool last[2];
};

struct worker {
    pthread_t thread;
    size_t number, live;
    uint64_t random, pairs, cpu_ns;
    void **slots;
    struct link *link;
    size_t chunk; /* whose turn it is */
};

static const struct front *front;
static pthread_barrier_t barrier;
static _Atomic bool stop;

static inline void *
get(void)
{
    char *block = front->alloc();
    block[sizeof(struct object) - 1] = 1; /* as a program would; not the link of loose objects */
    return block;
}

static void
batch_lifo(struct worker *w)
{
    for (size_t i = 0; i < BATCH / w->live; i++) {
        for (size_t j = 0; j < w->live; j++)
            w->slots[j] = get();
        for (size_t j = w->live; j-- > 0;)
            front->free(w->slots[j]);
    }
    w->pairs += BATCH / w->live * w->live;
}

static void
batch_fifo(struct worker *w)
{
    size_t at = w->pairs % w->live;
    for (size_t i = 0; i < BATCH; i++) {
        front->free(w->slots[at]);
        w->slots[at] = get();
        if (++at == w->live)
            at = 0;
    }
    w->pairs += BATCH;
}

static void
batch_random(struct worker *w)
{
    for (size_t i = 0; i < BATCH; i++) {
        /* Multiply and shift instead of a division. */
        size_t at = (size_t)(((next_random(&w->random) >> 32) * w->live) >> 32);
        front->free(w->slots[at]);
        w->slots[at] = get();
    }
    w->pairs += BATCH;
}

/* Even threads produce, odd ones consume. */
static void
batch_pipe(struct worker *w)
{
    struct link *link = w->link;
    size_t at = w->chunk++ % 2;
    if (w->number % 2 == 0) {
        sem_wait(&link->room);
        for (size_t i = 0; i < BATCH; i++)
            link->chunk[at][i] = get();
        w->pairs += BATCH;
        sem_post(&link->ready);
    } else {
        sem_wait(&link->ready);
        for (size_t i = 0; i < BATCH && !link->last[at]; i++)
            front->free(link->chunk[at][i]);
        sem_post(&link->room);
    }
}

static const struct workload {
    const char *name;
    size_t live;
    bool filled; /* the slots hold objects from the start */
    void (*batch)(struct worker *);
} workloads[] = {
    {"LIFO 32", 32, false, batch_lifo},           {"LIFO 1,000", 1000, false, batch_lifo},
    {"FIFO 1,000", 1000, true, batch_fifo},       {"FIFO 50,000", 50000, true, batch_fifo},
    {"random 50,000", 50000, true, batch_random}, {"pipe", BATCH, false, batch_pipe},
};
#define WORKLOADS (sizeof(workloads) / sizeof(workloads[0]))
static const struct workload *workload;

static uint64_t
cpu_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* The producer ends at the flag, the consumer when it is told. */
static bool
ended(struct worker *w)
{
    struct link *link = w->link;
    if (link == NULL)
        return atomic_load_explicit(&stop, memory_order_relaxed);
    if (w->number % 2 != 0)
        return link->last[(w->chunk - 1) % 2];
    if (!atomic_load_explicit(&stop, memory_order_relaxed))
        return false;
    sem_wait(&link->room);
    link->last[w->chunk % 2] = true;
    sem_post(&link->ready);
    return true;
}

static void *
work(void *arg)
{
    struct worker *w = arg;
    front->begin(w->number);
    w->slots = calloc(w->live, sizeof(*w->slots));
    if (w->slots == NULL)
        die("no memory");
    for (size_t i = 0; workload->filled && i < w->live; i++)
        w->slots[i] = get();
    workload->batch(w); /* warm */
    pthread_barrier_wait(&barrier);
    uint64_t warm = w->pairs, start = cpu_now_ns();
    do {
        workload->batch(w);
    } while (!ended(w));
    w->cpu_ns = cpu_now_ns() - start;
    w->pairs -= warm;
    pthread_barrier_wait(&barrier);
    for (size_t i = 0; workload->filled && i < w->live; i++)
        front->free(w->slots[i]);
    pthread_barrier_wait(&barrier); /* idle: the main thread counts what is cached */
    pthread_barrier_wait(&barrier);
    front->end();
    return NULL;
}

struct figures {
    double ns; /* a pair */
    double cached_kib;
    double pairs, aborts;
};

static void
start_threads(struct worker *workers, size_t threads, void *(*function)(void *))
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, THREAD_STACK);
    for (size_t i = 0; i < threads; i++) {
        workers[i].number = i;
        workers[i].random = 88172645463325252u + i;
        if (pthread_create(&workers[i].thread, &attributes, function, &workers[i]) != 0)
            die("no thread");
    }
}

static void
sleep_ms(unsigned ms)
{
    nanosleep(&(struct timespec){ms / 1000, (long)(ms % 1000) * 1000000}, NULL);
}

static void
give_links(struct worker *workers, size_t threads)
{
    for (size_t i = 0; i < threads; i += 2) {
        struct link *link = calloc(1, sizeof(*link));
        if (link == NULL)
            die("no memory");
        sem_init(&link->ready, 0, 0);
        sem_init(&link->room, 0, 2);
        workers[i].link = workers[i + 1].link = link;
    }
}

/* One figure: front end, workload and number of threads. */
static struct figures
run(size_t threads, unsigned ms)
{
    static struct worker workers[THREADS_MAX];
    struct figures f = {0};

    back_init();
    pthread_barrier_init(&barrier, NULL, (unsigned)threads + 1);
    for (size_t i = 0; i < threads; i++) {
        size_t most = LIVE_MAX / threads;
        workers[i].live = workload->live < most ? workload->live : most;
    }
    if (workload->batch == batch_pipe)
        give_links(workers, threads);
    start_threads(workers, threads, work);
    pthread_barrier_wait(&barrier);
    sleep_ms(ms);
    atomic_store(&stop, true);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    f.cached_kib = (double)front->cached() * OBJECT_SIZE / 1024;
    pthread_barrier_wait(&barrier);
    for (size_t i = 0; i < threads; i++) {
        pthread_join(workers[i].thread, NULL);
        f.ns += (double)workers[i].cpu_ns;
        f.pairs += (double)workers[i].pairs;
    }
    f.ns /= f.pairs;
    f.aborts = (double)per_cpu_aborts();
    return f;
}

/* The same in a process of its own, where nothing is warm from the one before. */
static struct figures
run_apart(size_t threads, unsigned ms)
{
    struct figures f;
    int ends[2];
    fflush(stdout);
    if (pipe(ends) != 0)
        die("no pipe");
    pid_t child = fork();
    if (child == 0) {
        f = run(threads, ms);
        _exit(write(ends[1], &f, sizeof(f)) == sizeof(f) ? 0 : 1);
    }
    close(ends[1]);
    if (child < 0 || read(ends[0], &f, sizeof(f)) != sizeof(f))
        die("a run failed");
    close(ends[0]);
    waitpid(child, NULL, 0);
    return f;
}

static int
compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double
median(double *values, size_t n)
{
    qsort(values, n, sizeof(*values), compare);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* A line of the table. */
static void
measure(size_t threads, size_t rounds, unsigned ms)
{
    double ns[2][ROUNDS_MAX], kib[2][ROUNDS_MAX], ratio[ROUNDS_MAX];
    double pairs = 0, aborts = 0;

    for (size_t r = 0; r < rounds; r++) {
        for (size_t i = 0; i < 2; i++) {
            size_t side = (r + i) % 2; /* neither is always first */
            front = side == 0 ? &per_thread : &per_cpu;
            struct figures f = run_apart(threads, ms);
            ns[side][r] = f.ns;
            kib[side][r] = f.cached_kib;
            pairs += side == 0 ? 0 : f.pairs;
            aborts += side == 0 ? 0 : f.aborts;
        }
        ratio[r] = ns[1][r] / ns[0][r];
    }
    double quotient = median(ratio, rounds); /* sorts */
    printf("| %s | %zu | %.2f | %.2f | %.2f (%.2f to %.2f) | %.0f | %.0f | %.2f |\n",
           workload->name, threads, median(ns[0], rounds), median(ns[1], rounds), quotient,
           ratio[0], ratio[rounds - 1], median(kib[0], rounds), median(kib[1], rounds),
           aborts / pairs * 1e6);
}

static int
measure_all(int argc, char **argv)
{
    static char *threads_default[] = {"1", "2", "4", "1000"};
    size_t rounds = argc > 0 ? strtoul(argv[0], NULL, 10) : ROUNDS_DEFAULT;
    unsigned ms = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : MS_DEFAULT;
    char **threads = argc > 2 ? argv + 2 : threads_default;
    size_t n = argc > 2 ? (size_t)argc - 2 : 4;

    if (rounds < 1 || rounds > ROUNDS_MAX)
        die("too many rounds, or none");
    printf("ns of CPU time a pair; T per thread, C per CPU; cached: by idle threads\n\n"
           "| workload | threads | T ns | C ns | C/T | T KiB cached | C KiB cached "
           "| aborts per million pairs |\n|---|---|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < n; i++) {
        size_t count = strtoul(threads[i], NULL, 10);
        unsigned least = (unsigned)count * MS_PER_THREAD;
        if (count < 1 || count > THREADS_MAX)
            die("too many threads, or none");
        for (workload = workloads; workload < workloads + WORKLOADS; workload++)
            if (workload->batch != batch_pipe || count % 2 == 0)
                measure(count, rounds, ms > least ? ms : least);
    }
    return 0;
}

/* ---- check ---- */

static _Atomic(struct object *) swaps[SWAPS];

static struct object *
take(uint64_t tag)
{
    struct object *obj = front->alloc();
    if (atomic_exchange(&obj->obj_tag, tag) != 0)
        die("an object was handed out twice");
    return obj;
}

static void
give(struct object *obj, uint64_t tag)
{
    if (atomic_exchange(&obj->obj_tag, 0) != tag)
        die("an object changed its owner");
    front->free(obj);
}

static void
interrupted(int number)
{
}

/* Signals abort sequences as preemption does: a thread has them for as long as it runs. */
static timer_t
interrupt_self(void)
{
    struct itimerspec every = {{0, INTERRUPT_NS}, {0, INTERRUPT_NS}};
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1};
    timer_t timer;

    event._sigev_un._tid = gettid(); /* glibc before 2.38 has no sigev_notify_thread_id */
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0 ||
        timer_settime(timer, 0, &every, NULL) != 0)
        die("no timer");
    return timer;
}

/* Bursts of allocations and frees; every other object is left for others, and one of theirs freed.
 */
static void *
work_checked(void *arg)
{
    struct worker *w = arg;
    uint64_t me = w->number + 1;
    struct object *mine[BURST_MAX];

    front->begin(w->number);
    pthread_barrier_wait(&barrier);
    timer_t timer = interrupt_self();
    while (!atomic_load(&stop)) {
        size_t n = 1 + next_random(&w->random) % BURST_MAX;
        for (size_t i = 0; i < n; i++)
            mine[i] = take(me);
        for (size_t i = 0; i < n; i++) {
            if (next_random(&w->random) % 2 == 0) {
                give(mine[i], me);
                continue;
            }
            if (atomic_exchange(&mine[i]->obj_tag, SWAPPED) != me)
                die("an object changed its owner");
            struct object *other =
                atomic_exchange(&swaps[next_random(&w->random) % SWAPS], mine[i]);
            if (other != NULL)
                give(other, SWAPPED);
        }
        w->pairs += n;
    }
    timer_delete(timer);
    front->end();
    return NULL;
}

static void
check_front(size_t threads, unsigned ms)
{
    static struct worker workers[THREADS_MAX];
    uint64_t pairs = 0;

    back_init();
    signal(SIGUSR1, interrupted);
    pthread_barrier_init(&barrier, NULL, (unsigned)threads + 1);
    start_threads(workers, threads, work_checked);
    pthread_barrier_wait(&barrier);
    sleep_ms(ms);
    atomic_store(&stop, true);
    for (size_t i = 0; i < threads; i++) {
        pthread_join(workers[i].thread, NULL);
        pairs += workers[i].pairs;
    }
    front->begin(0);
    for (size_t i = 0; i < SWAPS; i++)
        if (swaps[i] != NULL)
            give(swaps[i], SWAPPED);
    if (back_outside() != front->cached())
        die("objects were lost");
    printf("%c: %zu threads, %llu pairs, %llu sequences aborted: no object twice, none lost\n",
           front->name, threads, (unsigned long long)pairs, (unsigned long long)per_cpu_aborts());
}

static int
check(unsigned ms, size_t threads)
{
    const struct front *const both[] = {&per_thread, &per_cpu};
    int failed = 0;

    if (threads < 1 || threads > THREADS_MAX)
        die("too many threads, or none");
    for (size_t i = 0; i < 2; i++) {
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) {
            front = both[i];
            check_front(threads, ms);
            exit(0);
        }
        int status;
        failed |= child < 0 || waitpid(child, &status, 0) != child || status != 0;
    }
    return failed;
}

static int
count(char name, size_t pairs)
{
    static struct worker w = {.live = 32};
    void *slots[32];

    per_cpu_pretend();
    front = name == 'T' ? &per_thread : &per_cpu;
    w.slots = slots;
    back_init();
    front->begin(0);
    while (w.pairs < pairs)
        batch_lifo(&w);
    printf("%c: %llu pairs\n", front->name, (unsigned long long)w.pairs);
    return 0;
}

int
main(int argc, char **argv)
{
    const char *verb = argc > 1 ? argv[1] : "measure";

    if (strcmp(verb, "count") == 0 && argc == 4)
        return count(argv[2][0], strtoul(argv[3], NULL, 10));
    if (!per_cpu_available())
        return nothing_done(verb);
    if (strcmp(verb, "measure") == 0)
        return measure_all(argc > 2 ? argc - 2 : 0, argv + 2);
    if (strcmp(verb, "check") == 0 && argc > 2)
        return check((unsigned)strtoul(argv[2], NULL, 10),
                     argc > 3 ? strtoul(argv[3], NULL, 10) : THREADS_MAX);
    fprintf(stderr, "usage: frontends [measure [ROUNDS [MS [THREADS...]]] | check MS [THREADS] | "
                    "count T|C PAIRS]\n");
    return 2;
}

#else

int
main(int argc, char **argv)
{
    puts("frontends: needs x86-64 and a libc with <sys/rseq.h>; nothing measured");
    return nothing_done(argc > 1 ? argv[1] : "measure");
}

#endif
