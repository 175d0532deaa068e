/* SPDX-License-Identifier: MIT */
/*
 * stacks.c - what a stack costs: taken and given back, built, and under a
 * thread.
 *
 *   stacks pair   umem|mmap         BYTES MS    one taken and given back
 *   stacks build  umem|mmap|huge    BYTES MS    a hundred taken, then given back for good
 *   stacks alone  umem|mmap|huge    BYTES MS    one taken, then given back for good
 *   stacks lazy   umem              BYTES MS    a million that nothing is faulted in of
 *   stacks thread umem|glibc|reused BYTES MS    a thread that uses 3/4 of its stack, joined
 *
 * Prints "ns", wall time for one; of threads also "faults", page faults each, of
 * lazy ones "tables", bytes of page tables for all.  Only what takes is timed of
 * "build" and "alone".
 * mmap: two guards, every page touched, munmap().  huge: the same with the body on
 * huge pages of its own.  glibc: threads with default
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

static double
pairs(enum how how, uint64_t ms)
{
    uint64_t count = 0, start, now;
    give(how, take(how));
    start = now = now_ns();
    while (now - start < ms * NS_PER_MS) {
        for (int i = 0; i < PAIRS; i++)
            give(how, take(how));
        count += PAIRS;
        now = now_ns();
    }
    return (double)(now - start) / (double)count;
}

static double
builds(enum how how, int at_once, uint64_t ms)
{
    uint64_t count = 0, spent = 0, begin = 0;
    void *stacks[AT_ONCE];
    while (now_ns() - begin < ms * NS_PER_MS || count == 0) {
        uint64_t start = now_ns();
        for (int i = 0; i < at_once; i++)
            stacks[i] = take(how);
        if (begin != 0) {
            spent += now_ns() - start;
            count += (uint64_t)at_once;
        } else /* a virtual machine's memory may have had to come from its host */
            begin = now_ns();
        for (int i = 0; i < at_once; i++)
            give(how, stacks[i]);
        if (how == UMEM && stack_trim(size, 0) < 0)
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

static double
threads(const char *how, uint64_t ms, double *faults)
{
    pthread_attr_t attr;
    uint64_t count = 0, start, now;
    pthread_attr_init(&attr);
    if (strcmp(how, "reused") == 0)
        pthread_attr_setstack(&attr, map_stack(size), size);
    for (int i = 0; i < WARM; i++)
        one_thread(how, &attr);
    long before = faults_now();
    start = now = now_ns();
    for (; now - start < ms * NS_PER_MS; now = now_ns(), count++)
        one_thread(how, &attr);
    *faults = (double)(faults_now() - before) / (double)count;
    return (double)(now - start) / (double)count;
}

int
main(int argc, char **argv)
{
    double faults = -1, tables = -1, ns;
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
        ns = pairs(how, ms);
    else if (strcmp(argv[1], "build") == 0)
        ns = builds(how, AT_ONCE, ms);
    else if (strcmp(argv[1], "alone") == 0)
        ns = builds(how, 1, ms);
    else if (strcmp(argv[1], "lazy") == 0)
        ns = lazy(&tables);
    else
        ns = threads(argv[2], ms, &faults);
    printf("ns %.2f\n", ns);
    if (tables >= 0)
        printf("tables %.0f\n", tables);
    if (faults >= 0)
        printf("faults %.2f\n", faults);
    return 0;
}
