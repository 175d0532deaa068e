/* SPDX-License-Identifier: MIT */
/*
 * What the tests of umem shell look at: a cache of its own with free objects,
 * leaks of every kind of record, an arena of numbers and one of memory, threads
 * of which two have the same stack, and a stack with a high-water mark.
 *
 * Says "NAME ADDRESS" for what the tests need to know, then "ready", and waits.
 */
#include <pthread.h>
#include <stackalloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vmem.h>
#include <umem.h>
#include <unistd.h>

#define SITE __attribute__((noipa)) static
#define STACK_SIZE 131072
#define DEEP 20000
#define WIPED 65536
#define SMALL 64

enum { ROCKETS = 4, FREED_ROCKETS = 2, NODES = 3, WORKERS = 2 };

struct node {
    struct node *next;
    char rest[32];
};

static umem_cache_t *rocket;
static vmem_t *numbers, *pool;
static void *volatile kept[16];
static int kept_count;
static volatile int ready;

static void
keep(void *p)
{
    if (p == NULL)
        abort();
    kept[kept_count++] = p;
}

static void *
filled(void *p, size_t size)
{
    if (p == NULL)
        abort();
    memset(p, 0x11, size);
    __asm__ volatile("" : : "r"(p) : "memory");
    return p;
}

SITE void
lose_strings(void)
{
    for (volatile int i = 0; i < 2; i++) /* not unrolled: one call, one stack */
        strcpy(filled(malloc(100), 100), "a string that is lost");
}

/* One that nothing points to, and two that hang on it. */
SITE void
lose_list(void)
{
    struct node *list = NULL;
    for (volatile int i = 0; i < NODES; i++) {
        struct node *node = filled(malloc(sizeof(*node)), sizeof(*node));
        node->next = list;
        list = node;
    }
}

SITE void
lose_large(void)
{
    filled(malloc(300000), 300000);
}

/* Whatever debugging adds, each small size class has one. */
SITE void
keep_small(void)
{
    for (size_t size = 16; size <= SMALL; size += 8)
        keep(malloc(size));
}

SITE void *
make_rocket(void)
{
    void *p = filled(umem_cache_alloc(rocket, UMEM_DEFAULT), 3000);
    return p;
}

SITE void
drop_rocket(void *p)
{
    umem_cache_free(rocket, p);
    __asm__ volatile("");
}

/* A byte behind its end: what ::umem_verify is there for. */
SITE void
damage(void)
{
    umem_cache_t *victim = umem_cache_create("victim", 40, 0, NULL, NULL, NULL, NULL, NULL, 0);
    char *p = umem_cache_alloc(victim, UMEM_DEFAULT);
    keep(filled(p, 40));
    *(volatile char *)(p + 40) = 0x77;
    printf("victim %p\nbuffer %p\n", (void *)victim, (void *)p);
}

SITE void
fail(void)
{
    umem_setmtbf(1);
    if (umem_alloc(4711, UMEM_DEFAULT) != NULL)
        abort();
    umem_setmtbf(0);
}

SITE void *
wait_for_ever(void *arg)
{
    __atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
    for (;;)
        pause();
    return arg;
}

SITE void *
worker(void *arg)
{
    void *p = wait_for_ever(arg);
    __asm__ volatile("");
    return p;
}

SITE void *
deep(void *arg)
{
    volatile char area[DEEP];
    memset((char *)area, 1, sizeof(area));
    void *p = wait_for_ever(arg);
    return (char *)p + area[0];
}

static void
start(void *(*fn)(void *), void *stack)
{
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
    if (stack != NULL)
        pthread_attr_setstack(&attr, stack, STACK_SIZE);
    if (pthread_create(&thread, &attr, fn, NULL) != 0)
        abort();
    pthread_attr_destroy(&attr);
}

static void
start_threads(void)
{
    void *stack = stack_alloc(STACK_SIZE);
    if (stack == NULL || stack_watermark(stack, STACK_SIZE, STACK_WATERMARK_FILL) != 0)
        abort();
    stack_name(stack, "deep one");
    start(deep, stack);
    for (int i = 0; i < WORKERS; i++)
        start(worker, NULL);
    while (__atomic_load_n(&ready, __ATOMIC_SEQ_CST) < 1 + WORKERS)
        usleep(1000);
}

static void
make_arenas(void)
{
    numbers = vmem_create("numbers", (void *)1000, 1000, 1, NULL, NULL, NULL, 0, VM_SLEEP);
    pool = vmem_create("pool", NULL, 0, 4096, vmem_alloc, vmem_free, vmem_heap_arena(NULL, NULL), 0,
                       VM_SLEEP);
    if (numbers == NULL || pool == NULL)
        abort();
    vmem_alloc(numbers, 10, VM_SLEEP);
    keep(vmem_alloc(pool, 8192, VM_SLEEP));
}

/* What the functions above left below our own frame. */
SITE void
wipe_stack(void)
{
    volatile char area[WIPED];
    memset((char *)area, 0, sizeof(area));
}

int
main(void)
{
    void *rockets[ROCKETS];

    setvbuf(stdout, NULL, _IONBF, 0);
    rocket = umem_cache_create("rocket", 3000, 0, NULL, NULL, NULL, NULL, NULL, 0);
    for (int i = 0; i < ROCKETS; i++)
        rockets[i] = make_rocket();
    for (int i = 0; i < FREED_ROCKETS; i++)
        drop_rocket(rockets[i]);
    for (int i = FREED_ROCKETS; i < ROCKETS; i++)
        keep(rockets[i]);
    strcpy(rockets[ROCKETS - 1], "rocket's own words");
    keep_small();
    make_arenas();
    damage();
    fail();
    start_threads();
    lose_strings();
    lose_list();
    lose_large();
    printf("rocket %p\nlive %p\nfreed %p\nnumbers %p\npool %p\n", (void *)rocket,
           rockets[ROCKETS - 1], rockets[0], (void *)numbers, (void *)pool);
    memset(rockets, 0, sizeof(rockets));
    wipe_stack();
    puts("ready");
    for (;;)
        pause();
}
