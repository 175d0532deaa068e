/* SPDX-License-Identifier: MIT */
/*
 * stacks.c - what a stack costs: taken and given back, built, and under a
 * thread.
 *
 *   stacks pair   umem|bare|mmap    BYTES MS    one taken and given back
 *   stacks build  umem|mmap|huge    BYTES MS    a hundred taken, then given back for good
 *   stacks alone  umem|mmap|huge    BYTES MS    one taken, then given back for good
 *   stacks lazy   umem              BYTES MS    a million that nothing is faulted in of
 *   stacks thread umem|glibc|reused BYTES MS    a thread that uses 3/4 of its stack, joined
 *
 * Prints "ns", wall time for one; of umem's "pair", "alone" and "thread" also "beside", the
 * same as a multiple of bare, huge and reused, taken by turns with it in this process; of threads
 * also "faults", page faults each, of lazy ones "tables", bytes of page tables for all.  Only what
 * takes is timed of "build" and "alone". bare: a thread's array of stacks, and nothing that tells
 * whose each is: what two calls and a look-up take anyway.  mmap: two guards, every page touched,
 * munmap().  huge: the same with the body on huge pages of its own.  glibc: threads with default
 * attributes, whose stacks libc caches. reused: one stack, faulted in, for all.
 */
#include "common.h"

#include <pthread.h>
#include <sched.h>
#include <stackalloc.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <umem.h>

#define PAIRS 10000
#define AT_ONCE 100
#define MILLION 1000000
#define WARM 10
#define TURNS 1000
#define THREADS 20

static size_t size;

static void
unmap_stack(void *stack)
{
    munmap((char *)stack - PAGE, size + 2 * PAGE);
}

/* Of a multiple of a huge page; the mapping's address is kept in its first word. */
static void *
map_huge(void)
{
    char *all = mmap(NULL, 3 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (all == MAP_FAILED)
        abort();
    char *body = all + size + (-(uintptr_t)all & (size - 1));
    if (mprotect(body, size, PROT_READ | PROT_WRITE) != 0)
        abort();
    (void)madvise(body, size, MADV_HUGEPAGE);
    for (size_t i = 0; i < size; i += PAGE)
        *(volatile char *)(body + i) = 0;
    *(char **)(void *)body = all;
    return body;
}

static void
unmap_huge(void *stack)
{
    munmap(*(char **)stack, 3 * size);
}

/* Calls like the library's, through pointers so that none is left out. */
#define BARE_ROUNDS 16
static __thread void *bare_stack[BARE_ROUNDS];
static __thread unsigned bare_count;

static void *
bare_alloc(size_t bytes)
{
    return bare_count > 0 ? bare_stack[--bare_count] : map_stack(bytes);
}

static int
bare_free(void *stack, size_t bytes)
{
    if (bare_count < BARE_ROUNDS)
        bare_stack[bare_count++] = stack;
    else
        munmap((char *)stack - PAGE, bytes + 2 * PAGE);
    return 0;
}

typedef void *alloc_fn(size_t);
typedef int free_fn(void *, size_t);

enum how { UMEM, MAPPED, HUGE_PAGES };

static void *
take(enum how how)
{
    void *stack = how == UMEM ? stack_alloc(size) : how == MAPPED ? map_stack(size) : map_huge();
    if (stack == NULL)
        abort();
    return stack;
}

static void
give(enum how how, void *stack)
{
    if (how == MAPPED)
        unmap_stack(stack);
    else if (how == HUGE_PAGES)
        unmap_huge(stack);
    else if (stack_free(stack, size) != 0)
        abort();
}

static void *
map_alloc(size_t bytes)
{
    return map_stack(bytes);
}

static int
map_free(void *stack, size_t bytes)
{
    return munmap((char *)stack - PAGE, bytes + 2 * PAGE);
}

static void *
trim(void *unused)
{
    (void)unused;
    umem_reap(); /* takes what other threads have at hand */
    if (stack_trim(size, 0) < 0)
        abort();
    return NULL;
}

/* A real-time thread must not: then another does. */
static void
trim_all(void)
{
    pthread_t id;
    if (stack_trim(size, 0) >= 0)
        return;
    pthread_attr_t attr;
    struct sched_param normal = {0};
    pthread_attr_init(&attr);
    pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
    pthread_attr_setschedpolicy(&attr, SCHED_OTHER);
    pthread_attr_setschedparam(&attr, &normal);
    if (pthread_create(&id, &attr, trim, NULL) != 0 || pthread_join(id, NULL) != 0)
        abort();
}

static void
give_for_good(enum how how, void *stack)
{
    give(how, stack);
    if (how == UMEM)
        trim_all();
}

static double
builds(enum how how, uint64_t ms)
{
    uint64_t count = 0, spent = 0, begin = 0;
    void *stacks[AT_ONCE];
    while (now_ns() - begin < ms * NS_PER_MS || count == 0) {
        uint64_t start = now_ns();
        for (int i = 0; i < AT_ONCE; i++)
            stacks[i] = take(how);
        if (begin != 0) {
            spent += now_ns() - start;
            count += AT_ONCE;
        } else /* a virtual machine's memory may have had to come from its host */
            begin = now_ns();
        for (int i = 0; i < AT_ONCE; i++)
            give(how, stacks[i]);
        if (how == UMEM)
            trim_all();
    }
    return (double)spent / (double)count;
}

static int
compare_ns(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Of what takes more now and then. */
static double
median(double *values, size_t count)
{
    qsort(values, count, sizeof(*values), compare_ns);
    return values[count / 2];
}

/* Times of two ways by turns, of which each is the first as often: the median of a, and of a / b.
 */
static double
by_turns(double (*one)(const void *), const void *a, const void *b, uint64_t ms, double *beside)
{
    static double ours[TURNS], ratio[TURNS];
    size_t count = 0;
    (void)one(a);
    (void)one(b);
    uint64_t start = now_ns();
    for (; count < TURNS && (now_ns() - start < ms * NS_PER_MS || count == 0); count++) {
        double other = count % 2 != 0 ? one(b) : 0;
        ours[count] = one(a);
        ratio[count] = ours[count] / (count % 2 != 0 ? other : one(b));
    }
    *beside = median(ratio, count);
    return median(ours, count);
}

struct calls {
    alloc_fn *calls_alloc;
    free_fn *calls_free;
    unsigned calls_pairs; /* between two looks at the clock: for some 50 us */
};

static double
some_pairs(const void *arg)
{
    const struct calls *calls = arg;
    alloc_fn *alloc = calls->calls_alloc;
    free_fn *release = calls->calls_free;
    uint64_t start = now_ns();
    for (unsigned i = 0; i < calls->calls_pairs; i++)
        (void)release(alloc(size), size);
    return (double)(now_ns() - start) / calls->calls_pairs;
}

static double
pairs(const char *how, uint64_t ms, double *beside)
{
    const struct calls ours = {stack_alloc, stack_free, PAIRS};
    const struct calls bare = {bare_alloc, bare_free, PAIRS};
    const struct calls mapped = {map_alloc, map_free, 1};
    double ratio;
    if (strcmp(how, "umem") != 0) {
        const struct calls *calls = strcmp(how, "bare") == 0 ? &bare : &mapped;
        return by_turns(some_pairs, calls, calls, ms, &ratio);
    }
    for (int i = 0; i < WARM; i++)
        if (stack_free(stack_alloc(size), size) != 0)
            abort();
    return by_turns(some_pairs, &ours, &bare, ms, beside);
}

static double
one_alone(const void *how)
{
    enum how way = *(const enum how *)how;
    uint64_t start = now_ns();
    void *stack = take(way);
    uint64_t spent = now_ns() - start;
    give_for_good(way, stack);
    return (double)spent;
}

static double
alone(enum how how, uint64_t ms, double *beside)
{
    const enum how huge = HUGE_PAGES;
    double ns, ratio;
    ns = by_turns(one_alone, &how, how == UMEM ? &huge : &how, ms, &ratio);
    if (how == UMEM)
        *beside = ratio;
    return ns;
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
        stacks[i] = take(UMEM);
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

static pthread_attr_t thread_attr;

/* Some, one after the other: one alone is as long as it takes to wake another processor. */
static double
some_threads(const void *how)
{
    uint64_t start = now_ns();
    for (int i = 0; i < THREADS; i++)
        one_thread(how, &thread_attr);
    return (double)(now_ns() - start) / THREADS;
}

static double
threads(const char *how, uint64_t ms, double *faults, double *beside)
{
    bool umem = strcmp(how, "umem") == 0, reused = strcmp(how, "reused") == 0;
    double ns, ratio;
    pthread_attr_init(&thread_attr);
    if (umem || reused)
        pthread_attr_setstack(&thread_attr, map_stack(size), size);
    for (int i = 0; i < WARM; i++) {
        one_thread(how, &thread_attr);
        one_thread(umem ? "reused" : how, &thread_attr);
    }
    long before = faults_now();
    for (int i = 0; i < WARM; i++)
        one_thread(how, &thread_attr);
    *faults = (double)(faults_now() - before) / WARM;
    ns = by_turns(some_threads, how, umem ? "reused" : how, ms, &ratio);
    if (umem)
        *beside = ratio;
    return ns;
}

int
main(int argc, char **argv)
{
    double faults = -1, tables = -1, beside = -1, ns;
    if (argc != 5) {
        fprintf(stderr, "usage: stacks pair|build|alone|lazy|thread HOW BYTES MS\n");
        return 2;
    }
    enum how how = strcmp(argv[2], "umem") == 0   ? UMEM
                   : strcmp(argv[2], "huge") == 0 ? HUGE_PAGES
                                                  : MAPPED;
    uint64_t ms = strtoull(argv[4], NULL, 10);
    size = strtoul(argv[3], NULL, 10);
    if (strcmp(argv[1], "pair") == 0)
        ns = pairs(argv[2], ms, &beside);
    else if (strcmp(argv[1], "build") == 0)
        ns = builds(how, ms);
    else if (strcmp(argv[1], "alone") == 0)
        ns = alone(how, ms, &beside);
    else if (strcmp(argv[1], "lazy") == 0)
        ns = lazy(&tables);
    else
        ns = threads(argv[2], ms, &faults, &beside);
    printf("ns %.2f\n", ns);
    if (beside >= 0)
        printf("beside %.3f\n", beside);
    if (tables >= 0)
        printf("tables %.0f\n", tables);
    if (faults >= 0)
        printf("faults %.2f\n", faults);
    return 0;
}
