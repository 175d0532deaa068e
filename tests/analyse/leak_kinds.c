/* SPDX-License-Identifier: MIT */
/*
 * Every kind of block that a leak finder has to tell apart: held in an unusual
 * way, or lost.
 *
 *   leak_kinds lose    holds some, loses others; says "ready" and waits
 *   leak_kinds hold    only holds
 *   leak_kinds storm   three threads that allocate and free without a pause
 *
 * Each allocation that matters is in a function of its own, whose name the
 * tests look for in the stacks.  Pointers that are lost are overwritten, and
 * the dead part of the stack is wiped, so that no stale copy holds anything.
 */
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stackalloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vmem.h>
#include <ucontext.h>
#include <umem.h>
#include <unistd.h>

#define SITE __attribute__((noipa)) static
#define STACK_SIZE 131072
#define PAGES ((size_t)1 << 20)
#define WIPED 65536
#define STORM_THREADS 3
#define STORM_SLOTS 4000

enum { WIDGETS = 40, LOST_WIDGETS = 3, LOST_PAGES = 2, DEAD_THREADS = 3, NODES = 20 };

struct widget { /* constructed: holds a block of its own, also while it is free */
    void *resource;
    char rest[56];
};

struct node {
    struct node *next;
    struct node *other;
    char rest[32];
};

static void *volatile held[64];
static int held_count;
static volatile int ready;
static ucontext_t main_context, fiber_context;

static void
hold(void *p)
{
    if (p == NULL)
        abort();
    held[held_count++] = p;
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

/* --- Held --- */

static int
widget_construct(void *object, void *private, int flags)
{
    struct widget *w = object;
    (void)private;
    memset(w, 0, sizeof(*w));
    w->resource = umem_alloc(120, flags);
    return w->resource == NULL;
}

static void
widget_destruct(void *object, void *private)
{
    (void)private;
    umem_free(((struct widget *)object)->resource, 120);
}

/* Only the stack of a thread knows the block. */
SITE void *
held_by_stack(void *arg)
{
    void *volatile p = filled(malloc(211), 211);
    __atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
    for (;;)
        pause();
    return (char *)p + (arg != NULL);
}

/* The fiber's stack, which is in a block of the heap, knows it. */
SITE void
held_by_fiber(void)
{
    void *volatile p = filled(malloc(223), 223);
    swapcontext(&fiber_context, &main_context);
    hold(p);
}

SITE void
handler(int signal)
{
    void *volatile p = filled(malloc(227), 227);
    (void)signal;
    __atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
    for (;;)
        pause();
    hold(p);
}

/* The thread runs on a signal stack; its own stack knows a block all the same. */
SITE void *
held_below_signal(void *arg)
{
    void *volatile p = filled(malloc(229), 229);
    stack_t stack = {.ss_sp = malloc(STACK_SIZE), .ss_size = STACK_SIZE};
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
    (void)arg;
    sigaltstack(&stack, NULL);
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
    return p;
}

/* Outer memory of some kind, held, is all that knows an inner block. */
SITE void
held_by_memory(void *outer, size_t size)
{
    ((void **)outer)[7] = filled(malloc(size), size);
    hold(outer);
}

SITE void
held_by_interior(void)
{
    static char *volatile inner;
    inner = (char *)filled(malloc(509), 509) + 100;
}

static void
start(pthread_attr_t *attr, void *(*fn)(void *))
{
    pthread_t thread;
    if (pthread_create(&thread, attr, fn, NULL) != 0)
        abort();
}

static void
hold_threads(void)
{
    pthread_attr_t attr;
    void *stacks[3] = {
        stack_alloc(STACK_SIZE), malloc(STACK_SIZE),
        mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)};
    start(NULL, held_by_stack);
    for (int i = 0; i < 3; i++) {
        pthread_attr_init(&attr);
        pthread_attr_setstack(&attr, stacks[i], STACK_SIZE);
        start(&attr, held_by_stack);
        pthread_attr_destroy(&attr);
    }
    start(NULL, held_below_signal);
    while (__atomic_load_n(&ready, __ATOMIC_SEQ_CST) < 5)
        usleep(1000);
    getcontext(&fiber_context);
    fiber_context.uc_stack.ss_sp = malloc(STACK_SIZE);
    fiber_context.uc_stack.ss_size = STACK_SIZE;
    fiber_context.uc_link = &main_context;
    makecontext(&fiber_context, held_by_fiber, 0);
    swapcontext(&main_context, &fiber_context);
}

static umem_cache_t *widgets, *pages;

static void
hold_memory(void)
{
    void *w[WIDGETS];
    vmem_t *arena = vmem_create(
        "own_arena",
        mmap(NULL, 4 * PAGES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
        4 * PAGES, 4096, NULL, NULL, NULL, 4 * 4096, 0);
    widgets = umem_cache_create("widgets", sizeof(struct widget), 0, widget_construct,
                                widget_destruct, NULL, NULL, NULL, 0);
    pages = umem_cache_create("pages", 4096, 4096, NULL, NULL, NULL, NULL, arena, UMC_NOTOUCH);
    for (int i = 0; i < WIDGETS; i++)
        w[i] = umem_cache_alloc(widgets, UMEM_DEFAULT);
    hold(w[0]);
    for (int i = 1; i < WIDGETS; i++)
        umem_cache_free(widgets, w[i]);
    held_by_memory(umem_cache_alloc(pages, UMEM_DEFAULT), 233);
    held_by_memory(vmem_alloc(arena, 8192, 0), 239);
    held_by_memory(vmem_alloc(vmem_heap_arena(NULL, NULL), 65536, 0), 241);
    held_by_memory(memalign(1 << 20, 4000), 251);
    held_by_memory(mmap(NULL, PAGES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
                   257);
    held_by_interior();
}

/* --- Lost --- */

SITE void
lost_widgets(void)
{
    for (int i = 0; i < LOST_WIDGETS; i++)
        __asm__ volatile("" : : "r"(umem_cache_alloc(widgets, UMEM_DEFAULT)));
}

SITE void
lost_pages(void)
{
    for (int i = 0; i < LOST_PAGES; i++)
        filled(umem_cache_alloc(pages, UMEM_DEFAULT), 4096);
}

SITE void
lost_large(void)
{
    filled(malloc(300000), 300000);
}

SITE void
lost_aligned(void)
{
    filled(memalign(1 << 20, 100), 100);
}

SITE void
lost_stack(void)
{
    filled(stack_alloc(65536), 65536);
}

SITE void
lost_string(void)
{
    strcpy(filled(malloc(48), 48), "a string that nobody freed");
}

/* Two circles; the first leads to the second, and to a tail. */
SITE void
lost_circles(void)
{
    struct node *n[NODES];
    for (int i = 0; i < NODES; i++)
        n[i] = filled(malloc(sizeof(struct node)), sizeof(struct node));
    for (int i = 0; i < NODES; i++)
        *n[i] = (struct node){NULL, NULL, ""};
    for (int i = 0; i < 8; i++)
        n[i]->next = n[(i + 1) % 8];
    for (int i = 8; i < 16; i++)
        n[i]->next = n[8 + (i + 1 - 8) % 8];
    n[3]->other = n[12];
    n[14]->other = n[16];
    for (int i = 16; i < NODES - 1; i++)
        n[i]->next = n[i + 1];
    memset(n, 0, sizeof(n));
    __asm__ volatile("" : : "r"(n) : "memory");
}

/* The thread ends; libc keeps its stack, which still has the pointer. */
SITE void *
lost_by_thread(void *arg)
{
    void *volatile p = filled(malloc(555), 555);
    return (char *)p - (char *)p + (char *)arg;
}

SITE void
lost_mapping(void)
{
    /* Pages without access on both sides, or the kernel may join it with one that is held. */
    char *fenced = mmap(NULL, PAGES + 2 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void **map = (void **)(void *)(fenced + 4096);
    mprotect(map, PAGES, PROT_READ | PROT_WRITE);
    map[0] = filled(malloc(263), 263);
}

static void
lose(void)
{
    lost_widgets();
    lost_pages();
    lost_large();
    lost_aligned();
    lost_stack();
    lost_string();
    lost_circles();
    lost_mapping();
    for (int i = 0; i < DEAD_THREADS; i++) {
        pthread_t thread;
        pthread_create(&thread, NULL, lost_by_thread, NULL);
        pthread_join(thread, NULL);
    }
}

SITE void
wipe(void)
{
    char dead[WIPED];
    memset(dead, 0, sizeof(dead));
    __asm__ volatile("" : : "r"(dead) : "memory"); /* else nobody would see it, and it would go */
}

/* --- Storm --- */

static void *storm_slot[STORM_THREADS][STORM_SLOTS];

static void *
storm(void *arg)
{
    void **slot = arg;
    unsigned random = (unsigned)(slot - storm_slot[0]) + 1;
    for (;;) {
        random = random * 1103515245 + 12345; /* the C standard's example of rand() */
        void **p = &slot[(random >> 8) % STORM_SLOTS];
        void *old = *p;
        if (old != NULL) {
            *p = NULL;
            free(old);
        } else {
            *p = malloc((random >> 4) % 700 + 1);
        }
    }
    return NULL;
}

int
main(int argc, char **argv)
{
    static char output[64];
    const char *what = argc > 1 ? argv[1] : "";
    /* Nothing is allocated after wipe(): that may leave addresses where puts() has its frames. */
    setvbuf(stdout, output, _IOFBF, sizeof(output));
    if (strcmp(what, "storm") == 0) {
        pthread_t thread;
        for (int i = 0; i < STORM_THREADS; i++)
            pthread_create(&thread, NULL, storm, storm_slot[i]);
    } else {
        hold_memory();
        hold_threads();
        if (strcmp(what, "lose") == 0)
            lose();
        wipe();
    }
    puts("ready");
    fflush(stdout);
    for (;;)
        pause();
}
