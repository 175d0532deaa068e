/* SPDX-License-Identifier: MIT */
/*
 * pairs.c - nanoseconds per alloc + free pair, in the patterns that programs
 * allocate in (pairs_local.c, pairs_shared.c).
 *
 *   pairs PATTERN THREADS MILLISECONDS [cache]
 *
 * With "cache" the blocks come from umem_cache_alloc() of the preloaded library.
 * Prints processor time a pair: wall time, times the processors that THREADS can
 * keep busy, over all pairs.
 */
#include <dlfcn.h>
#include <sched.h>

#include "pairs.h"

#define THREADS_MAX 1000
/* Stacks of a thousand threads; the patterns need next to nothing. */
#define STACK_SIZE ((size_t)256 << 10)
/*
 * With more threads than this a processor, each lets the next one run after
 * every batch: within a short run all of them are to have their turn.
 */
#define CROWD 8

_Atomic bool pairs_stopped;
umem_cache_t *pairs_cache;
void *(*pairs_cache_alloc)(umem_cache_t *, int);
void (*pairs_cache_free)(umem_cache_t *, void *);

static const struct pattern *pattern;
static pthread_barrier_t barrier;
static bool crowded;

static void *
work(void *arg)
{
    struct worker *w = arg;
    pthread_t partner;
    w->w_live = pattern->live;
    w->w_slots = must_map((w->w_live + 1) * sizeof(*w->w_slots));
    for (size_t i = 0; pattern->filled && i < w->w_live; i++)
        w->w_slots[i] = block_alloc();
    if (pattern->partner != NULL) {
        w->w_pipe = must_map((w->w_live + 1) * sizeof(*w->w_pipe));
        if (pthread_create(&partner, NULL, pattern->partner, w) != 0)
            abort();
    }
    pattern->batch(w);              /* warm */
    pthread_barrier_wait(&barrier); /* all are warm */
    atomic_store(&w->w_ops, 0);
    pthread_barrier_wait(&barrier); /* main takes the time */
    while (!atomic_load_explicit(&pairs_stopped, memory_order_relaxed)) {
        pattern->batch(w);
        if (crowded)
            sched_yield();
    }
    atomic_store(&w->w_done, true);
    if (pattern->partner != NULL)
        pthread_join(partner, NULL);
    return NULL;
}

static bool
use_cache(void)
{
    umem_cache_t *(*create)(const char *, size_t, size_t, umem_constructor_t *, umem_destructor_t *,
                            umem_reclaim_t *, void *, vmem_t *, int);
    *(void **)&create = dlsym(RTLD_DEFAULT, "umem_cache_create");
    *(void **)&pairs_cache_alloc = dlsym(RTLD_DEFAULT, "umem_cache_alloc");
    *(void **)&pairs_cache_free = dlsym(RTLD_DEFAULT, "umem_cache_free");
    if (create == NULL || pairs_cache_alloc == NULL || pairs_cache_free == NULL)
        return false;
    pairs_cache = create("bench", BLOCK_SIZE, 0, NULL, NULL, NULL, NULL, NULL, 0);
    return pairs_cache != NULL;
}

static const struct pattern *
find_pattern(const struct pattern *list, const char *name)
{
    for (; list->name != NULL; list++)
        if (strcmp(list->name, name) == 0)
            return list;
    return NULL;
}

/* Runs the threads for so long; processor-nanoseconds a pair. */
static double
run(int threads, uint64_t run_ns)
{
    static struct worker workers[THREADS_MAX];
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    pthread_attr_t attributes;
    crowded = threads > CROWD * processors;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    pthread_barrier_init(&barrier, NULL, (unsigned)threads + 1);
    for (int i = 0; i < threads; i++) {
        workers[i].w_random = SEED + (uint64_t)i;
        if (pthread_create(&workers[i].w_thread, &attributes, work, &workers[i]) != 0)
            abort();
    }
    pthread_barrier_wait(&barrier);
    uint64_t start = now_ns(); /* before any of them can begin */
    pthread_barrier_wait(&barrier);
    sleep_ns(run_ns);
    uint64_t ops = 0;
    for (int i = 0; i < threads; i++)
        ops += atomic_load_explicit(&workers[i].w_ops, memory_order_relaxed);
    uint64_t elapsed = now_ns() - start;
    atomic_store(&pairs_stopped, true);
    for (int i = 0; i < threads; i++)
        pthread_join(workers[i].w_thread, NULL);
    if (ops == 0)
        return 0;
    return (double)elapsed * (double)(threads < processors ? threads : processors) /
           ((double)ops / 2);
}

int
main(int argc, char **argv)
{
    int threads = argc >= 4 ? atoi(argv[2]) : 0;
    if (argc >= 4) {
        pattern = find_pattern(patterns_local, argv[1]);
        if (pattern == NULL)
            pattern = find_pattern(patterns_shared, argv[1]);
    }
    if (pattern == NULL || threads < 1 || threads > THREADS_MAX) {
        fprintf(stderr, "usage: pairs PATTERN THREADS MILLISECONDS [cache]\n");
        return 2;
    }
    if (argc > 4 && !(pattern->fixed && use_cache())) {
        fprintf(stderr, "pairs: blocks of several sizes, or no umem_cache_create() here\n");
        return 2;
    }
    double ns = run(threads, strtoull(argv[3], NULL, 10) * NS_PER_MS);
    if (ns == 0) {
        fprintf(stderr, "pairs: no operation within the time\n");
        return 1;
    }
    printf("ns %.3f\n", ns);
    return 0;
}
