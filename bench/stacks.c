/* SPDX-License-Identifier: MIT */
/*
 * stacks.c - what a stack costs: taken and given back, built, and under a
 * thread.
 *
 *   stacks pair   umem|mmap         BYTES MS    one taken and given back
 *   stacks build  umem|mmap         BYTES MS    a hundred taken, then given back for good
 *   stacks alone  umem|mmap         BYTES MS    one taken, then given back for good
 *   stacks lazy   umem              BYTES MS    a million that nothing is faulted in of
 *   stacks thread umem|glibc|reused BYTES MS    a thread that uses 3/4 of its stack, joined
 *   stacks storm  umem|glibc|reused BYTES MS    such threads, created by 16 at once, all locked
 *
 * Prints "ns", wall time for one; of threads also "faults", page faults each, of
 * lazy ones "tables", bytes of page tables for all.  Of a storm it is the median of
 * what pthread_create() takes of its caller's processor time, since 16 threads
 * wait for two processors most of the time, and "worst", the longest of
 * 4,800 in such medians.
 * mmap: two guards, every page touched, munmap().  glibc: threads with default
 * attributes, whose stacks libc caches.  reused: one stack, faulted in, for all.
 */
#include "common.h"

#include <pthread.h>
#include <stackalloc.h>
#include <sys/resource.h>
#include <umem.h>

#define PAIRS 64 /* between two looks at the clock */
#define AT_ONCE 100
#define MILLION 1000000
#define WARM 10

static size_t size;

static void *
map_stack(void)
{
    char *all =
        mmap(NULL, size + 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED || mprotect(all, PAGE, PROT_NONE) != 0 ||
        mprotect(all + PAGE + size, PAGE, PROT_NONE) != 0)
        abort();
    for (size_t i = 0; i < size; i += PAGE)
        *(volatile char *)(all + PAGE + i) = 0;
    return all + PAGE;
}

static void
unmap_stack(void *stack)
{
    munmap((char *)stack - PAGE, size + 2 * PAGE);
}

static void *
take(int ours)
{
    void *stack = ours ? stack_alloc(size) : map_stack();
    if (stack == NULL)
        abort();
    return stack;
}

static void
give(int ours, void *stack)
{
    if (!ours)
        unmap_stack(stack);
    else if (stack_free(stack, size) != 0)
        abort();
}

static double
pairs(int ours, uint64_t ms)
{
    uint64_t count = 0, start, now;
    give(ours, take(ours));
    start = now = now_ns();
    while (now - start < ms * NS_PER_MS) {
        for (int i = 0; i < PAIRS; i++)
            give(ours, take(ours));
        count += PAIRS;
        now = now_ns();
    }
    return (double)(now - start) / (double)count;
}

static double
builds(int ours, int at_once, uint64_t ms)
{
    uint64_t count = 0, spent = 0, begin = 0;
    void *stacks[AT_ONCE];
    while (now_ns() - begin < ms * NS_PER_MS || count == 0) {
        uint64_t start = now_ns();
        for (int i = 0; i < at_once; i++)
            stacks[i] = take(ours);
        if (begin != 0) {
            spent += now_ns() - start;
            count += (uint64_t)at_once;
        } else /* a virtual machine's memory may have had to come from its host */
            begin = now_ns();
        for (int i = 0; i < at_once; i++)
            give(ours, stacks[i]);
        if (ours && stack_trim(size, 0) < 0)
            abort();
    }
    return (double)spent / (double)count;
}

static double
page_tables(void)
{
    char line[256];
    double kib = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        (void)sscanf(line, "VmPTE: %lf", &kib);
    if (file != NULL)
        fclose(file);
    return kib * 1024;
}

static double
lazy(double *tables)
{
    struct stack_config config = {.config_lazy = 1};
    void **stacks = calloc(MILLION, sizeof(*stacks));
    if (stacks == NULL || stack_config(size, &config, sizeof(config)) != 0)
        abort();
    memset(stacks, 1, MILLION * sizeof(*stacks)); /* faulted in */
    double before = page_tables();
    uint64_t start = now_ns();
    for (size_t i = 0; i < MILLION; i++)
        stacks[i] = take(1);
    uint64_t spent = now_ns() - start;
    *tables = page_tables() - before;
    free(stacks);
    return (double)spent / MILLION;
}

/* Page by page downwards, as frames go. */
static void *
use(void *arg)
{
    (void)arg;
    size_t depth = size / 4 * 3;
    volatile char *low = __builtin_alloca(depth);
    while (depth >= PAGE)
        low[depth -= PAGE] = 1;
    return NULL;
}

static void
one_thread(const char *how, const pthread_attr_t *attr)
{
    pthread_t id;
    int error = strcmp(how, "umem") == 0 ? stack_pthread_create(&id, NULL, size, use, NULL)
                                         : pthread_create(&id, attr, use, NULL);
    if (error != 0 || pthread_join(id, NULL) != 0)
        abort();
}

static long
faults_now(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt;
}

static double
threads(const char *how, uint64_t ms, double *faults)
{
    pthread_attr_t attr;
    uint64_t count = 0, start, now;
    pthread_attr_init(&attr);
    if (strcmp(how, "reused") == 0)
        pthread_attr_setstack(&attr, map_stack(), size);
    for (int i = 0; i < WARM; i++)
        one_thread(how, &attr);
    long before = faults_now();
    start = now = now_ns();
    for (; now - start < ms * NS_PER_MS; now = now_ns(), count++)
        one_thread(how, &attr);
    *faults = (double)(faults_now() - before) / (double)count;
    return (double)(now - start) / (double)count;
}

#define STORM_THREADS 16
#define STORM_CREATES 300

static double storm_ns[STORM_THREADS][STORM_CREATES];
static pthread_barrier_t storm_begins;
static const char *storm_how;

static double
own_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * NS_PER_S + (double)t.tv_nsec;
}

static double
one_create(const pthread_attr_t *attr)
{
    pthread_t id;
    double start = own_ns();
    int error = strcmp(storm_how, "umem") == 0 ? stack_pthread_create(&id, NULL, size, use, NULL)
                                               : pthread_create(&id, attr, use, NULL);
    double took = own_ns() - start;
    if (error != 0 || pthread_join(id, NULL) != 0)
        abort();
    return took;
}

static void *
storm_thread(void *arg)
{
    double *ns = arg;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    if (strcmp(storm_how, "reused") == 0)
        pthread_attr_setstack(&attr, map_stack(), size);
    for (int i = 0; i < WARM; i++)
        (void)one_create(&attr);
    pthread_barrier_wait(&storm_begins);
    for (int i = 0; i < STORM_CREATES; i++)
        ns[i] = one_create(&attr);
    return NULL;
}

static int
compare(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static double
storm(const char *how, double *worst)
{
    pthread_t ids[STORM_THREADS];
    size_t all = (size_t)STORM_THREADS * STORM_CREATES;
    double *ns = &storm_ns[0][0];
    storm_how = how;
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
        perror("stacks: mlockall, done without");
    if (pthread_barrier_init(&storm_begins, NULL, STORM_THREADS) != 0)
        abort();
    for (int i = 0; i < STORM_THREADS; i++)
        if (pthread_create(&ids[i], NULL, storm_thread, storm_ns[i]) != 0)
            abort();
    for (int i = 0; i < STORM_THREADS; i++)
        pthread_join(ids[i], NULL);
    qsort(ns, all, sizeof(*ns), compare);
    *worst = ns[all - 1] / ns[all / 2];
    return ns[all / 2];
}

int
main(int argc, char **argv)
{
    double faults = -1, tables = -1, worst = -1, ns;
    if (argc != 5) {
        fprintf(stderr, "usage: stacks pair|build|alone|lazy|thread|storm HOW BYTES MS\n");
        return 2;
    }
    int ours = strcmp(argv[2], "umem") == 0;
    uint64_t ms = strtoull(argv[4], NULL, 10);
    size = strtoul(argv[3], NULL, 10);
    if (strcmp(argv[1], "pair") == 0)
        ns = pairs(ours, ms);
    else if (strcmp(argv[1], "build") == 0)
        ns = builds(ours, AT_ONCE, ms);
    else if (strcmp(argv[1], "alone") == 0)
        ns = builds(ours, 1, ms);
    else if (strcmp(argv[1], "lazy") == 0)
        ns = lazy(&tables);
    else if (strcmp(argv[1], "storm") == 0)
        ns = storm(argv[2], &worst);
    else
        ns = threads(argv[2], ms, &faults);
    printf("ns %.2f\n", ns);
    if (tables >= 0)
        printf("tables %.0f\n", tables);
    if (faults >= 0)
        printf("faults %.2f\n", faults);
    if (worst >= 0)
        printf("worst %.1f\n", worst);
    return 0;
}
