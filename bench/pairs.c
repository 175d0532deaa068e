/* SPDX-License-Identifier: MIT */
/*
 * pairs.c - nanoseconds per alloc + free pair, in the patterns that programs
 * allocate in.  A plain malloc program: the allocator comes by LD_PRELOAD.
 *
 *   pairs PATTERN THREADS MILLISECONDS [cache]
 *
 * Each thread has blocks of its own, but in "pipe", where THREADS producers
 * have a consumer each that frees what they allocated.  With "cache" the
 * blocks come from umem_cache_alloc() of the preloaded library.  Prints one
 * number: thread-nanoseconds a pair.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <umem.h>

#define BLOCK_SIZE 256 /* a middling object; every peer has a class for it */
#define THREADS_MAX 16
/* Pairs between two looks at the clock: some 100 us of the fastest allocator. */
#define BATCH 16384
#define PIPE_SLOTS 1024 /* pointers under way from producer to consumer */

/* "large": blocks of 5 to 25 MB, touched at every page, some of them live. */
#define LARGE_SLOTS 8
#define LARGE_MIN ((size_t)5 << 20)
#define LARGE_SPREAD ((size_t)20 << 20)
#define PAGE 4096

static umem_cache_t *cache;
static void *(*cache_alloc)(umem_cache_t *, int);
static void (*cache_free)(umem_cache_t *, void *);
static uint64_t run_ns;
static pthread_barrier_t barrier;

static uint64_t
now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline void *
block_alloc(void)
{
    char *block = cache != NULL ? cache_alloc(cache, 0) : malloc(BLOCK_SIZE);
    if (block == NULL)
        abort();
    block[0] = 1; /* as a program would */
    return block;
}

static inline void
block_free(void *block)
{
    if (cache != NULL)
        cache_free(cache, block);
    else
        free(block);
}

/* xorshift64: cheap beside an allocation. */
static inline uint64_t
next_random(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

struct worker {
    pthread_t thread;
    size_t live;      /* blocks alive at a time */
    uint64_t pairs;   /* done */
    uint64_t elapsed; /* ns */
    uint64_t random;
    void **slots;
    /* "pipe": */
    _Atomic(void *) *pipe;
    _Atomic bool done;
};

static void
batch_lifo(struct worker *w)
{
    for (size_t i = 0; i < BATCH / w->live; i++) {
        for (size_t j = 0; j < w->live; j++)
            w->slots[j] = block_alloc();
        for (size_t j = w->live; j-- > 0;)
            block_free(w->slots[j]);
    }
    w->pairs += BATCH / w->live * w->live;
}

static void
batch_fifo(struct worker *w)
{
    size_t at = w->pairs % w->live;
    for (size_t i = 0; i < BATCH; i++) {
        block_free(w->slots[at]);
        w->slots[at] = block_alloc();
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
        block_free(w->slots[at]);
        w->slots[at] = block_alloc();
    }
    w->pairs += BATCH;
}

static void
batch_large(struct worker *w)
{
    size_t at = next_random(&w->random) % LARGE_SLOTS;
    size_t size = LARGE_MIN + next_random(&w->random) % LARGE_SPREAD;
    free(w->slots[at]);
    char *block = malloc(size);
    if (block == NULL)
        abort();
    for (size_t i = 0; i < size; i += PAGE)
        block[i] = 1;
    w->slots[at] = block;
    w->pairs++;
}

static void
batch_produce(struct worker *w)
{
    for (size_t i = 0; i < BATCH; i++) {
        _Atomic(void *) *slot = &w->pipe[(w->pairs + i) % PIPE_SLOTS];
        void *block = block_alloc();
        while (atomic_load_explicit(slot, memory_order_relaxed) != NULL)
            sched_yield();
        atomic_store_explicit(slot, block, memory_order_release);
    }
    w->pairs += BATCH;
}

static void *
consume(void *arg)
{
    struct worker *w = arg;
    for (uint64_t n = 0;; n++) {
        _Atomic(void *) *slot = &w->pipe[n % PIPE_SLOTS];
        void *block;
        while ((block = atomic_load_explicit(slot, memory_order_acquire)) == NULL) {
            if (atomic_load(&w->done) && atomic_load(slot) == NULL)
                return NULL;
            sched_yield();
        }
        atomic_store_explicit(slot, NULL, memory_order_release);
        block_free(block);
    }
}

static const struct pattern {
    const char *name;
    size_t live;
    bool filled; /* the slots hold blocks from the start */
    void (*batch)(struct worker *);
} patterns[] = {
    {"lifo", 32, false, batch_lifo},         {"fifo-1000", 1000, true, batch_fifo},
    {"fifo-50000", 50000, true, batch_fifo}, {"random-50000", 50000, true, batch_random},
    {"pipe", 0, false, batch_produce},       {"large", LARGE_SLOTS, false, batch_large},
};
static const struct pattern *pattern;

static void *
work(void *arg)
{
    struct worker *w = arg;
    w->live = pattern->live;
    w->slots = calloc(w->live + 1, sizeof(*w->slots));
    if (w->slots == NULL)
        abort();
    for (size_t i = 0; pattern->filled && i < w->live; i++)
        w->slots[i] = block_alloc();
    pattern->batch(w); /* warm */
    pthread_barrier_wait(&barrier);
    uint64_t warm = w->pairs;
    uint64_t start = now_ns();
    do {
        pattern->batch(w);
        w->elapsed = now_ns() - start;
    } while (w->elapsed < run_ns);
    w->pairs -= warm;
    return NULL;
}

/* "pipe": the consumer starts first; the warm batch counts on it. */
static void *
work_with_consumer(void *arg)
{
    struct worker *w = arg;
    pthread_t consumer;
    w->pipe = calloc(PIPE_SLOTS, sizeof(*w->pipe));
    if (w->pipe == NULL || pthread_create(&consumer, NULL, consume, w) != 0)
        abort();
    pthread_barrier_wait(&barrier);
    uint64_t start = now_ns();
    do {
        batch_produce(w);
    } while (now_ns() - start < run_ns);
    atomic_store(&w->done, true);
    pthread_join(consumer, NULL);
    w->elapsed = now_ns() - start; /* until the last block is freed */
    return NULL;
}

static bool
use_cache(void)
{
    umem_cache_t *(*create)(const char *, size_t, size_t, umem_constructor_t *, umem_destructor_t *,
                            umem_reclaim_t *, void *, vmem_t *, int);
    *(void **)&create = dlsym(RTLD_DEFAULT, "umem_cache_create");
    *(void **)&cache_alloc = dlsym(RTLD_DEFAULT, "umem_cache_alloc");
    *(void **)&cache_free = dlsym(RTLD_DEFAULT, "umem_cache_free");
    if (create == NULL || cache_alloc == NULL || cache_free == NULL)
        return false;
    cache = create("bench", BLOCK_SIZE, 0, NULL, NULL, NULL, NULL, NULL, 0);
    return cache != NULL;
}

int
main(int argc, char **argv)
{
    static struct worker workers[THREADS_MAX];
    for (size_t i = 0; argc >= 4 && i < sizeof(patterns) / sizeof(patterns[0]); i++)
        if (strcmp(argv[1], patterns[i].name) == 0)
            pattern = &patterns[i];
    int threads = argc >= 4 ? atoi(argv[2]) : 0;
    if (pattern == NULL || threads < 1 || threads > THREADS_MAX) {
        fprintf(stderr, "usage: pairs PATTERN THREADS MILLISECONDS [cache]\n");
        return 2;
    }
    run_ns = strtoull(argv[3], NULL, 10) * 1000000u;
    if (argc > 4 && !use_cache()) {
        fprintf(stderr, "pairs: no umem_cache_create() here: preload libumem.so.1\n");
        return 2;
    }
    bool pipe = pattern->batch == batch_produce;
    pthread_barrier_init(&barrier, NULL, (unsigned)threads);
    for (int i = 0; i < threads; i++) {
        workers[i].random = 88172645463325252u + (uint64_t)i;
        if (pthread_create(&workers[i].thread, NULL, pipe ? work_with_consumer : work,
                           &workers[i]) != 0)
            return 1;
    }
    double sum = 0;
    for (int i = 0; i < threads; i++) {
        pthread_join(workers[i].thread, NULL);
        sum += (double)workers[i].elapsed / (double)workers[i].pairs;
    }
    printf("%.2f\n", sum / threads);
    return 0;
}
