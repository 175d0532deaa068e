/* SPDX-License-Identifier: MIT */
/*
 * storms.c - forks in a storm of threads, and waves of threads.
 *
 * The fork storm's first argument is a number of forks, the waves' a number of
 * waves.  A child that hangs is ended by its alarm and fails the program.
 */
#include "stress.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    STORM_THREADS_MAX = 64,
    CHILD_BLOCKS = 60,  /* blocks that a child makes and drops */
    CHILD_SECONDS = 60, /* a child that lives longer hangs */
    WAVE_BLOCKS = 200,  /* blocks of a thread in a wave */
    WAVES_TO_WARM_UP = 10,
    GROWTH_LIMIT_KB = 32 * 1024, /* resident growth; caches fill more and more */
    EXIT_SKIPPED = 77            /* meson's code for a test that was not run */
};

#if defined(__SANITIZE_THREAD__)
#define FORK_IN_THREADS 0 /* ThreadSanitizer's runtime does not support it */
#else
#define FORK_IN_THREADS 1
#endif

static atomic_bool stop;
static atomic_uint running; /* threads that are past their start */
static const struct stress_ops *driven;

/* Makes n blocks, looks at them and drops them. */
static void
use_heap(struct rng *r, struct block *b, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (!driven->make(&b[i], r))
            stress_fail(&b[i], "no memory", 0);
        b[i].tag = rng_next(r);
        stamp_write(&b[i]);
    }
    for (unsigned i = 0; i < n; i++) {
        stamp_check(&b[i], b[i].size, "after use");
        driven->drop(&b[i]);
    }
}

/* A block that a thread of the storm keeps: whoever takes `there` away has it. */
static struct {
    atomic_bool there;
    struct block block;
} kept[STORM_THREADS_MAX + 1];

static void
drop_kept(unsigned number, const char *when)
{
    struct block *b = &kept[number].block;
    if (!atomic_exchange(&kept[number].there, false))
        return;
    stamp_check(b, b->size, when);
    driven->drop(b);
}

static void
renew_kept(unsigned number, struct rng *r)
{
    struct block *b = &kept[number].block;
    drop_kept(number, "kept by its thread");
    if (!driven->make(b, r))
        stress_fail(b, "no memory", 0);
    b->tag = rng_next(r);
    stamp_write(b);
    atomic_store(&kept[number].there, true);
}

static void *
storm_thread(void *arg)
{
    unsigned number = (unsigned)(uintptr_t)arg;
    struct rng r = {.state = number * 77 + 1};
    struct block b[20];
    atomic_fetch_add(&running, 1);
    do {
        use_heap(&r, b, 20);
        renew_kept(number, &r);
    } while (!atomic_load_explicit(&stop, memory_order_relaxed));
    return NULL;
}

/*
 * The inherited blocks are there; new ones can be had, inherited ones dropped,
 * those too that belong to threads which the child does not have.
 */
static _Noreturn void
child(struct block *inherited, unsigned n, uint64_t seed)
{
    struct rng r = {.state = seed * 2 + 1};
    static struct block b[CHILD_BLOCKS];
    pthread_t t;
    alarm(CHILD_SECONDS);
    for (unsigned i = 0; i < n; i++) {
        stamp_check(&inherited[i], inherited[i].size, "inherited");
        if (i % 2 == 0)
            driven->drop(&inherited[i]);
    }
    for (unsigned i = 0; i <= STORM_THREADS_MAX; i++)
        drop_kept(i, "kept by a thread of the parent");
    use_heap(&r, b, CHILD_BLOCKS);
    atomic_store(&stop, true);
    if (seed % 16 == 0 && pthread_create(&t, NULL, storm_thread, NULL) == 0)
        pthread_join(t, NULL);
    _exit(0);
}

static int
wait_for_child(pid_t pid, unsigned number)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -1;
    if (status == 0)
        return 0;
    fprintf(stderr, "stress: child %u: %s %d\n", number,
            WIFSIGNALED(status) ? "signal" : "exit code",
            WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    return -1;
}

int
stress_fork(const struct stress_ops *ops, int argc, char **argv)
{
    unsigned forks = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 1000;
    unsigned threads = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 4;
    enum { INHERITED = 40 };
    static pthread_t t[STORM_THREADS_MAX];
    static struct block inherited[INHERITED];
    struct rng r = {.state = 12345};
    int failures = 0;
    time_t end = time(NULL) + stress_more_seconds();

    if (!FORK_IN_THREADS)
        return EXIT_SKIPPED;
    driven = ops;
    for (unsigned i = 0; i < INHERITED; i++) {
        if (!ops->make(&inherited[i], &r))
            return 1;
        inherited[i].tag = rng_next(&r);
        stamp_write(&inherited[i]);
    }
    threads = threads < STORM_THREADS_MAX ? threads : STORM_THREADS_MAX;
    for (unsigned i = 0; i < threads; i++)
        if (pthread_create(&t[i], NULL, storm_thread, (void *)(uintptr_t)(i + 1)) != 0)
            return 1;
    /* A thread at its start may be inside AddressSanitizer's malloc, which no fork makes whole. */
    while (atomic_load(&running) < threads)
        sched_yield();
    unsigned forked = 0;
    for (; (forked < forks || time(NULL) < end) && failures == 0; forked++) {
        pid_t pid = fork();
        if (pid == 0)
            child(inherited, INHERITED, forked);
        failures += pid < 0 || wait_for_child(pid, forked) != 0;
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < threads; i++)
        pthread_join(t[i], NULL);
    for (unsigned i = 0; i <= STORM_THREADS_MAX; i++)
        drop_kept(i, "kept by a thread that ended");
    for (unsigned i = 0; i < INHERITED; i++) {
        stamp_check(&inherited[i], inherited[i].size, "kept by the parent");
        ops->drop(&inherited[i]);
    }
    printf("%s: %u forks beside %u threads\n", ops->name, forked, threads);
    return failures != 0;
}

static void *
wave_thread(void *arg)
{
    struct rng r = {.state = (uint64_t)(uintptr_t)arg * 991 + 1};
    struct block b[WAVE_BLOCKS];
    use_heap(&r, b, WAVE_BLOCKS);
    return NULL;
}

long
stress_resident_kb(void)
{
    char text[128];
    FILE *f = fopen("/proc/self/statm", "r");
    long total = 0, resident = 0;
    if (f == NULL || fgets(text, sizeof(text), f) == NULL ||
        sscanf(text, "%ld %ld", &total, &resident) != 2)
        resident = -1;
    if (f != NULL)
        fclose(f);
    return resident < 0 ? -1 : resident * (sysconf(_SC_PAGESIZE) / 1024);
}

int
stress_levelled_off(const char *name, const char *what, unsigned count, long warm)
{
    long end = stress_resident_kb();
    printf("%s: %u %s, resident %ld KB when warm, %ld KB at the end\n", name, count, what, warm,
           end);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return 0; /* the sanitizer's own memory grows */
#else
    return warm < 0 || end < 0 || end - warm > GROWTH_LIMIT_KB;
#endif
}

int
stress_threads(const struct stress_ops *ops, int argc, char **argv)
{
    unsigned waves = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 200;
    unsigned threads = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 16;
    static pthread_t t[STORM_THREADS_MAX];
    long warm = 0;

    driven = ops;
    threads = threads < STORM_THREADS_MAX ? threads : STORM_THREADS_MAX;
    for (unsigned wave = 0; wave < WAVES_TO_WARM_UP + waves; wave++) {
        if (wave == WAVES_TO_WARM_UP)
            warm = stress_resident_kb();
        for (unsigned i = 0; i < threads; i++)
            if (pthread_create(&t[i], NULL, wave_thread, (void *)(uintptr_t)(wave * 64 + i)) != 0)
                return 1;
        for (unsigned i = 0; i < threads; i++)
            pthread_join(t[i], NULL);
    }
    char what[64];
    snprintf(what, sizeof(what), "waves of %u threads", threads);
    return stress_levelled_off(ops->name, what, waves, warm);
}
