/* SPDX-License-Identifier: MIT */
/*
 * storms.c - what threads and forks cost.
 *
 *   storms idle THREADS USE SECONDS   threads that allocated once (USE 1) or
 *       never (USE 0) and sleep: resident bytes a thread
 *   storms threads COUNT              create, allocate, exit: us a thread
 *   storms forks COUNT                fork, allocate in the child, exit: us a
 *       fork, of a program with some heap and a second thread that allocates
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/wait.h>

#include "common.h"

#define STACK_SIZE ((size_t)256 << 10)
#define IDLE_MAX 10000
/* What a thread allocates and frees: some objects of a few sizes. */
#define OBJECTS 20
static const size_t object_sizes[] = {24, 100, 256, 1000, 4000};
#define SIZES (sizeof(object_sizes) / sizeof(object_sizes[0]))
#define TOGETHER 8 /* threads of the storm that are alive at a time */
/* "forks": the heap that a child shares, 64 MiB in all. */
#define FORK_BLOCKS 65536
#define FORK_SIZE 1024

static pthread_barrier_t barrier;
static _Atomic bool stopped;
static bool use;

static void
use_some(void)
{
    void *objects[OBJECTS];
    for (size_t s = 0; s < SIZES; s++) {
        for (size_t i = 0; i < OBJECTS; i++)
            objects[i] = memset(must_malloc(object_sizes[s]), 1, object_sizes[s]);
        for (size_t i = 0; i < OBJECTS; i++)
            free(objects[i]);
    }
}

static void *
idle(void *unused)
{
    if (use)
        use_some();
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier); /* sleeps here for good */
    return unused;
}

static void
run_idle(int threads, uint64_t seconds)
{
    static pthread_t ids[IDLE_MAX];
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    pthread_barrier_init(&barrier, NULL, (unsigned)threads + 1);
    use_some(); /* the allocator is set up */
    size_t before = resident_bytes();
    for (int i = 0; i < threads; i++)
        if (pthread_create(&ids[i], &attributes, idle, NULL) != 0)
            abort();
    pthread_barrier_wait(&barrier);
    size_t at_once = resident_bytes() - before;
    sleep_ns(seconds * NS_PER_S);
    size_t later = resident_bytes() - before;
    printf("at_once %zu\nlater %zu\n", at_once / (size_t)threads, later / (size_t)threads);
    fflush(stdout);
    _exit(0); /* their end is not of interest */
}

static void *
brief(void *unused)
{
    use_some();
    return unused;
}

static void
run_threads(int count)
{
    pthread_t ids[TOGETHER];
    uint64_t start = now_ns();
    for (int done = 0; done < count; done += TOGETHER) {
        for (int i = 0; i < TOGETHER; i++)
            if (pthread_create(&ids[i], NULL, brief, NULL) != 0)
                abort();
        for (int i = 0; i < TOGETHER; i++)
            pthread_join(ids[i], NULL);
    }
    double us = (double)(now_ns() - start) / 1000;
    int all = (count + TOGETHER - 1) / TOGETHER * TOGETHER;
    printf("us %.3f\nrss %zu\n", us / all, resident_bytes());
}

static void *
busy(void *unused)
{
    while (!atomic_load_explicit(&stopped, memory_order_relaxed))
        use_some();
    return unused;
}

static void
run_forks(int count)
{
    pthread_t other;
    for (int i = 0; i < FORK_BLOCKS; i++)
        memset(must_malloc(FORK_SIZE), 1, FORK_SIZE);
    if (pthread_create(&other, NULL, busy, NULL) != 0)
        abort();
    uint64_t start = now_ns();
    for (int i = 0; i < count; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            use_some();
            _exit(0);
        }
        int status = 1;
        if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
            abort();
        use_some();
    }
    printf("us %.3f\n", (double)(now_ns() - start) / 1000 / count);
    atomic_store(&stopped, true);
    pthread_join(other, NULL);
}

int
main(int argc, char **argv)
{
    int count = argc > 2 ? atoi(argv[2]) : 0;
    if (argc == 5 && strcmp(argv[1], "idle") == 0 && count > 0 && count <= IDLE_MAX) {
        use = atoi(argv[3]) != 0;
        run_idle(count, strtoull(argv[4], NULL, 10));
    } else if (argc == 3 && strcmp(argv[1], "threads") == 0 && count > 0) {
        run_threads(count);
    } else if (argc == 3 && strcmp(argv[1], "forks") == 0 && count > 0) {
        run_forks(count);
    } else {
        fprintf(stderr, "usage: storms idle THREADS 0|1 SECONDS | threads COUNT | forks COUNT\n");
        return 2;
    }
    return 0;
}
