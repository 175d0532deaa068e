/* SPDX-License-Identifier: MIT */
/*
 * latency.c - how long single calls of malloc and free take, at worst above all.
 *
 *   latency MILLISECONDS [realtime]
 *
 * Two threads replace blocks of 16 to 4,096 bytes at random and hand every
 * fourth to the other, which frees it.  Every call is timed, and so is, each
 * time round, an operation that does nothing: the noise of clock and machine.
 * Times go into fixed histograms, log-linear in ticks.  With "realtime" memory
 * is locked and the threads run under SCHED_FIFO; exit code 77 where that is
 * not permitted.
 *
 * Prints percentiles in nanoseconds, as "malloc.99.9 170".
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "common.h"

#define NOT_PERMITTED 77
#define THREADS 2
#define SLOTS 1000
#define SIZE_LOW 4
#define SIZE_HIGH 12
#define REMOTE_EVERY 4
#define RING 256 /* blocks under way to the other thread; a full ring is a local free */
/*
 * Work and pause in turn: a real-time thread that never sleeps is stopped by
 * the kernel for 50 ms in each second, which is not the allocator's doing.
 */
#define BURST_NS (20 * (uint64_t)NS_PER_MS)
#define PAUSE_NS (3 * (uint64_t)NS_PER_MS)
#define BURST_STEPS 64 /* between two looks at the clock */

/* 32 buckets a doubling: 3 % wide; times below 32 ticks have one each. */
#define SUB_BITS 5
#define SUB (1u << SUB_BITS)
#define BUCKETS ((64 - SUB_BITS + 1) * SUB)

enum { EMPTY, MALLOC, LOCAL, REMOTE, KINDS };
static const char *const kind_names[KINDS] = {"empty", "malloc", "local", "remote"};

struct histogram {
    uint64_t count[BUCKETS];
    uint64_t max;
};

static struct worker {
    pthread_t thread;
    uint64_t random;
    void *slots[SLOTS];
    _Atomic(void *) ring[RING]; /* what others gave us to free */
    size_t ring_in, ring_out;   /* the giver's, the owner's */
    struct histogram histograms[KINDS];
} workers[THREADS];
static pthread_barrier_t barrier;
static uint64_t run_ns;
static bool realtime;

/* Ticks, with nothing of the timed call before or behind. */
static inline uint64_t
ticks(void)
{
#if defined(__x86_64__)
    __builtin_ia32_lfence();
    uint64_t t = __builtin_ia32_rdtsc();
    __builtin_ia32_lfence();
    return t;
#else
    return now_ns();
#endif
}

static double
ns_per_tick(void)
{
    uint64_t ns = now_ns(), start = ticks();
    sleep_ns(50 * (uint64_t)NS_PER_MS);
    uint64_t end = ticks();
    return (double)(now_ns() - ns) / (double)(end - start);
}

static inline size_t
bucket_of(uint64_t value)
{
    if (value < SUB)
        return (size_t)value;
    unsigned shift = 63 - (unsigned)__builtin_clzll(value) - SUB_BITS;
    return (size_t)(shift + 1) * SUB + (size_t)(value >> shift) - SUB;
}

/* The middle of a bucket. */
static double
bucket_value(size_t bucket)
{
    if (bucket < SUB)
        return (double)bucket;
    unsigned shift = (unsigned)(bucket / SUB) - 1;
    uint64_t low = (uint64_t)(SUB + bucket % SUB) << shift;
    return (double)low + (double)((uint64_t)1 << shift) / 2;
}

static inline void
record(struct worker *w, int kind, uint64_t start, uint64_t end)
{
    struct histogram *h = &w->histograms[kind];
    uint64_t value = end - start;
    h->count[bucket_of(value)]++;
    if (value > h->max)
        h->max = value;
}

static inline void
timed_free(struct worker *w, int kind, void *block)
{
    uint64_t start = ticks();
    free(block);
    record(w, kind, start, ticks());
}

/* Gives a block to the other thread, or frees it where that one is behind. */
static void
give(struct worker *w, struct worker *other, void *block)
{
    _Atomic(void *) *slot = &other->ring[other->ring_in % RING];
    if (atomic_load_explicit(slot, memory_order_acquire) != NULL) {
        timed_free(w, LOCAL, block);
        return;
    }
    atomic_store_explicit(slot, block, memory_order_release);
    other->ring_in++;
}

static void
step(struct worker *w, struct worker *other)
{
    size_t at = random_below(&w->random, SLOTS);
    size_t size = random_size(&w->random, SIZE_LOW, SIZE_HIGH);

    uint64_t start = ticks();
    record(w, EMPTY, start, ticks());

    if (w->slots[at] != NULL) {
        if (next_random(&w->random) % REMOTE_EVERY == 0)
            give(w, other, w->slots[at]);
        else
            timed_free(w, LOCAL, w->slots[at]);
    }
    start = ticks();
    void *block = malloc(size);
    record(w, MALLOC, start, ticks());
    if (block == NULL)
        abort();
    memset(block, 1, size);
    w->slots[at] = block;

    _Atomic(void *) *slot = &w->ring[w->ring_out % RING];
    void *given = atomic_load_explicit(slot, memory_order_acquire);
    if (given != NULL) {
        atomic_store_explicit(slot, NULL, memory_order_release);
        w->ring_out++;
        timed_free(w, REMOTE, given);
    }
}

static void
burst(struct worker *w, struct worker *other, uint64_t ns)
{
    uint64_t end = now_ns() + ns;
    while (now_ns() < end)
        for (int i = 0; i < BURST_STEPS; i++)
            step(w, other);
}

static void *
work(void *arg)
{
    struct worker *w = arg;
    struct worker *other = &workers[(w - workers + 1) % THREADS];
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)(w - workers) % (size_t)sysconf(_SC_NPROCESSORS_ONLN), &set);
    if (realtime) /* two real-time threads on one processor would wait for one another */
        pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
    burst(w, other, BURST_NS); /* warm */
    pthread_barrier_wait(&barrier);
    memset(w->histograms, 0, sizeof(w->histograms));
    pthread_barrier_wait(&barrier);
    uint64_t end = now_ns() + run_ns;
    while (now_ns() < end) {
        burst(w, other, BURST_NS);
        sleep_ns(PAUSE_NS);
    }
    return NULL;
}

static void
print_percentiles(const char *name, const struct histogram *h, double tick)
{
    static const struct {
        const char *name;
        double share;
    } points[] = {{"50", 0.5},     {"90", 0.9},       {"99", 0.99},
                  {"99.9", 0.999}, {"99.99", 0.9999}, {"99.999", 0.99999}};
    uint64_t total = 0, seen = 0;
    size_t bucket = 0;
    for (size_t i = 0; i < BUCKETS; i++)
        total += h->count[i];
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        while (bucket < BUCKETS &&
               (double)(seen + h->count[bucket]) < points[i].share * (double)total)
            seen += h->count[bucket++];
        printf("%s.%s %.1f\n", name, points[i].name, bucket_value(bucket) * tick);
    }
    printf("%s.max %.1f\n", name, (double)h->max * tick);
}

static bool
become_realtime(void)
{
    struct sched_param parameter = {.sched_priority = 10};
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) {
        fprintf(stderr, "latency: mlockall: %s\n", strerror(errno));
        return false;
    }
    if (sched_setscheduler(0, SCHED_FIFO, &parameter) != 0) {
        fprintf(stderr, "latency: SCHED_FIFO: %s\n", strerror(errno));
        return false;
    }
    return true;
}

int
main(int argc, char **argv)
{
    if (argc < 2 || (run_ns = strtoull(argv[1], NULL, 10) * NS_PER_MS) == 0) {
        fprintf(stderr, "usage: latency MILLISECONDS [realtime]\n");
        return 2;
    }
    double tick = ns_per_tick();
    realtime = argc > 2;
    if (realtime && !become_realtime())
        return NOT_PERMITTED;
    pthread_barrier_init(&barrier, NULL, THREADS);
    for (int i = 0; i < THREADS; i++) {
        workers[i].random = SEED + (uint64_t)i;
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
            return 1;
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(workers[i].thread, NULL);
    struct histogram *sum = &workers[0].histograms[0];
    for (int kind = 0; kind < KINDS; kind++) {
        sum = &workers[0].histograms[kind];
        for (int i = 1; i < THREADS; i++) {
            const struct histogram *h = &workers[i].histograms[kind];
            for (size_t j = 0; j < BUCKETS; j++)
                sum->count[j] += h->count[j];
            sum->max = h->max > sum->max ? h->max : sum->max;
        }
        print_percentiles(kind_names[kind], sum, tick);
    }
    return 0;
}
