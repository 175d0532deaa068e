/* SPDX-License-Identifier: MIT */
/*
 * Programs with known leaks, one a kind: leak_matrix KIND [MODULE]
 *
 * Each says "lost SITE BUFFERS BYTES" for what it has lost, by the function
 * that allocated it and the bytes that were asked for, then "ready PID" of the
 * process that is to be looked at.  Whatever else it allocates is held, each
 * block in one way only.  Pointers that are lost are not stored anywhere, and
 * the dead part of the stack is wiped.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stackalloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/vmem.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <umem.h>
#include <unistd.h>

#define SITE __attribute__((noipa)) static
#define THREADS 4
#define FIBERS 3
#define FIBER_STACK 65536
#define WIPED 65536
#define TOUCHED 4096 /* bytes of a block that are written: one of 1 GB stays mostly untouched */
#define GIGABYTE ((size_t)1 << 30)

static void *volatile held[256];
static _Atomic int held_count;
static _Atomic int ready;

static void *
touched(void *p, size_t size)
{
    if (p == NULL)
        abort();
    memset(p, 0x11, size < TOUCHED ? size : TOUCHED);
    __asm__ volatile("" : "+r"(p) : : "memory");
    return p;
}

static void
hold(void *p)
{
    held[held_count++] = p;
}

SITE void *
keep(size_t size)
{
    return touched(malloc(size), size);
}

SITE void
wipe(void)
{
    volatile char dead[WIPED];
    __asm__ volatile("" : : "r"(memset((char *)dead, 0, sizeof(dead))) : "memory");
}

/* The same on a stack of a fiber: where it is suspended is not known, so all of it counts. */
SITE void
wipe_less(void)
{
    volatile char dead[FIBER_STACK / 4];
    __asm__ volatile("" : : "r"(memset((char *)dead, 0, sizeof(dead))) : "memory");
}

static void
lost(const char *site, size_t buffers, size_t bytes)
{
    printf("lost %s %zu %zu\n", site, buffers, bytes);
}

/* --- 1 byte to 1 GB --- */

/*
 * Whether a block may be lost, or else is held: in frames of libc lie old
 * addresses whose lower halves were zeroed, and one in four blocks of 1 GB has
 * such an address in it, which no conservative search can tell from a pointer.
 */
static bool
may_be_lost(void *p, size_t size)
{
    if ((uintptr_t)p >> 32 == ((uintptr_t)p + size) >> 32)
        return true;
    hold(p);
    return false;
}

SITE void
lose_size(size_t size)
{
    while (!may_be_lost(touched(malloc(size), size), size))
        ;
}

SITE void
lose_zeroed(size_t size)
{
    while (!may_be_lost(touched(calloc(1, size), size), size))
        ;
}

SITE void
lose_grown(size_t size)
{
    while (!may_be_lost(touched(realloc(touched(malloc(size / 3 + 1), size / 3 + 1), size), size),
                        size))
        ;
}

static void
sizes(void)
{
    static const size_t list[] = {1,      2,       3,         7,       8,     9,     15,
                                  16,     17,      24,        33,      100,   1000,  4095,
                                  4096,   4097,    8192,      9999,    16384, 65535, 131072,
                                  131073, 1 << 20, 123456789, GIGABYTE};
    const size_t count = sizeof(list) / sizeof(list[0]);
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        hold(keep(list[i]));
        lose_size(list[i]);
        lose_zeroed(list[i]);
        lose_grown(list[i]);
        bytes += list[i];
    }
    lost("lose_size", count, bytes);
    lost("lose_zeroed", count, bytes);
    lost("lose_grown", count, bytes);
}

/* --- Threads: that wait, and that have ended --- */

SITE void
lose_in_thread(size_t size)
{
    touched(malloc(size), size);
}

static void *
thread(void *arg)
{
    static __thread void *volatile local;
    void *volatile on_stack = keep(301);
    local = keep(302);
    for (int i = 0; i < 10; i++)
        lose_in_thread(300);
    wipe();
    ready++;
    while (arg != NULL)
        pause();
    free(local);
    free(on_stack);
    return NULL;
}

static void
threads(void)
{
    pthread_t id;
    for (long i = 0; i < THREADS; i++)
        if (pthread_create(&id, NULL, thread, NULL) != 0 || pthread_join(id, NULL) != 0)
            abort();
    for (long i = 0; i < THREADS; i++)
        if (pthread_create(&id, NULL, thread, (void *)(i + 1)) != 0)
            abort();
    while (ready < 2 * THREADS)
        usleep(1000);
    lost("lose_in_thread", 2 * THREADS * 10, 2 * THREADS * 10 * 300);
}

/* --- Fibers, on stacks of libstackalloc --- */

static ucontext_t main_context, fiber_context[FIBERS];

SITE void
lose_in_fiber(size_t size)
{
    touched(malloc(size), size);
}

/* Suspended, it holds a block by its stack alone. */
static void
fiber(int number)
{
    void *volatile on_stack = keep(401);
    lose_in_fiber(400);
    wipe_less();
    if (swapcontext(&fiber_context[number], &main_context) != 0)
        abort();
    free(on_stack);
}

static void
start_fiber(int number)
{
    ucontext_t *context = &fiber_context[number];
    char *stack = stack_alloc(FIBER_STACK);
    if (stack == NULL || getcontext(context) != 0)
        abort();
    context->uc_stack.ss_sp = stack;
    context->uc_stack.ss_size = FIBER_STACK;
    makecontext(context, (void (*)(void))fiber, 1, number);
    if (swapcontext(&main_context, context) != 0)
        abort();
}

static void
fibers(void)
{
    for (int i = 0; i < FIBERS; i++)
        start_fiber(i);
    lost("lose_in_fiber", FIBERS, FIBERS * 400);
}

/* --- A module that was loaded late --- */

static void
module(const char *path)
{
    void *handle = dlopen(path, RTLD_NOW);
    void (*in_data)(size_t) = handle != NULL ? dlsym(handle, "module_hold_in_data") : NULL;
    void (*in_tls)(size_t) = handle != NULL ? dlsym(handle, "module_hold_in_tls") : NULL;
    if (in_data == NULL || in_tls == NULL)
        abort();
    in_data(501);
    in_data(502); /* in the place of the first one */
    in_tls(503);
    lost("module_hold_in_data", 1, 501);
}

/* --- A child --- */

SITE void
lose_before_fork(size_t size)
{
    touched(malloc(size), size);
}

SITE void
lose_in_child(size_t size)
{
    touched(malloc(size), size);
}

/* The child to be looked at; with the parent's leaks it has those of its own. */
static pid_t
child(void)
{
    int pipes[2];
    char byte = 0;
    lose_before_fork(600);
    hold(keep(601));
    if (pipe(pipes) != 0)
        abort();
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        lose_in_child(602);
        hold(keep(603));
        wipe();
        if (write(pipes[1], &byte, 1) == 1)
            for (;;)
                pause();
        _exit(1);
    }
    if (pid < 0 || read(pipes[0], &byte, 1) != 1)
        abort();
    lost("lose_before_fork", 1, 600);
    lost("lose_in_child", 1, 602);
    return pid;
}

/* --- Tagged pointers --- */

SITE void *
keep_by_low_bits(size_t size)
{
    return (void *)((uintptr_t)touched(malloc(size), size) | 5);
}

/* A limit: an address with a tag in its high bits is none, so that this is told as lost. */
SITE void *
keep_by_high_bits(size_t size)
{
    return (void *)((uintptr_t)touched(malloc(size), size) | (uintptr_t)0x5a << 56);
}

static void
tags(void)
{
    hold(keep_by_low_bits(700));
    hold(keep_by_high_bits(701));
    lost("keep_by_high_bits", 1, 701);
}

/* --- Arenas and caches of the program's own --- */

static vmem_t *outer, *inner;

static void *
import(vmem_t *source, size_t size, int flags)
{
    return vmem_alloc(source, size, flags);
}

static void export(vmem_t *source, void *p, size_t size)
{
    vmem_free(source, p, size);
}

SITE void
lose_of_cache(umem_cache_t *cache, size_t size)
{
    touched(umem_cache_alloc(cache, UMEM_DEFAULT), size);
}

SITE void
lose_behind(umem_cache_t *cache)
{
    void **object = touched(umem_cache_alloc(cache, UMEM_DEFAULT), 800);
    *object = keep(805);
}

static void
arenas(void)
{
    static char memory[1 << 20] __attribute__((aligned(65536)));
    outer = vmem_create("outer", memory, sizeof(memory), 4096, NULL, NULL, NULL, 0, VM_SLEEP);
    inner = vmem_create("inner", NULL, 0, 4096, import, export, outer, 0, VM_SLEEP);
    umem_cache_t *heap = umem_cache_create("of_heap", 800, 0, NULL, NULL, NULL, NULL, NULL, 0);
    umem_cache_t *own = umem_cache_create("of_inner", 801, 0, NULL, NULL, NULL, NULL, inner, 0);
    if (outer == NULL || inner == NULL || heap == NULL || own == NULL)
        abort();
    void **object = touched(umem_cache_alloc(heap, UMEM_DEFAULT), 800);
    *object = keep(802);
    hold(object);
    object = touched(umem_cache_alloc(own, UMEM_DEFAULT), 801);
    *object = keep(803); /* held by an object that lies in memory of the program's */
    hold(object);
    lose_of_cache(heap, 800);
    lose_of_cache(own, 801);
    lose_behind(heap);
    lost("lose_of_cache", 2, 800 + 801);
    lost("lose_behind", 1, 800);
    lost("keep", 1, 805);
}

int
main(int argc, char **argv)
{
    const char *kind = argc > 1 ? argv[1] : "";
    pid_t pid = getpid();

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (strcmp(kind, "sizes") == 0)
        sizes();
    else if (strcmp(kind, "threads") == 0)
        threads();
    else if (strcmp(kind, "fibers") == 0)
        fibers();
    else if (strcmp(kind, "module") == 0 && argc > 2)
        module(argv[2]);
    else if (strcmp(kind, "child") == 0)
        pid = child();
    else if (strcmp(kind, "tags") == 0)
        tags();
    else if (strcmp(kind, "arenas") == 0)
        arenas();
    else
        return 2;
    wipe();
    printf("ready %d\n", (int)pid);
    for (;;)
        pause();
}
