/* SPDX-License-Identifier: MIT */
/*
 * stack_fault.c - runs off a stack, or hits a guard, in the way that its
 * argument names, with the handler that explains it installed.
 */
#define _GNU_SOURCE
#include <alloca.h>
#include <pthread.h>
#include <signal.h>
#include <stackalloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <ucontext.h>
#include <umem.h>
#include <unistd.h>

#define KEEP __attribute__((noipa, unused)) static
#define SIZE ((size_t)32 * 1024)
#define FILE_BYTES ((size_t)5 << 20) /* of a block that a heap has not at hand */

/* Of stack, enough for a call and for little in it. */
#define STARVED_BYTES 100

static const char *mode;
static size_t size = SIZE;
static char *stack;

KEEP void
touch(volatile char *p)
{
    *p = 1;
}

KEEP int
dive(int depth)
{
    volatile char frame[200];
    frame[depth % 200] = 1;
    return dive(depth + 1) + frame[0];
}

/* A frame wider than stack and guard, which is written to from its upper end on. */
KEEP int
sprawl(void)
{
    volatile char frame[2 * SIZE];
    for (size_t i = sizeof(frame); i-- > 0;)
        frame[i] = 1;
    return frame[0];
}

/* Calls malloc() with so little stack that it faults in there, with the locks that it holds. */
KEEP void
starve(void)
{
    void *volatile p = malloc(FILE_BYTES); /* the dynamic linker has found both then */
    free(p);
    char *here = alloca(16);
    size_t left = (size_t)(here - stack) - STARVED_BYTES;
    char *rest = alloca(left);
    __asm__ volatile("" : : "r"(rest) : "memory");
    p = malloc(FILE_BYTES);
    free(p);
}

KEEP void
misbehave(void)
{
    if (strstr(mode, "dive") != NULL)
        dive(0);
    else if (strstr(mode, "wide") != NULL)
        sprawl();
    else if (strstr(mode, "below") != NULL)
        touch(stack - 8);
    else if (strstr(mode, "guard") != NULL)
        touch(stack - 16384);
    else if (strstr(mode, "byte") != NULL)
        touch(stack - 1);
    else if (strstr(mode, "above") != NULL)
        touch(stack + size + 24);
    else if (strstr(mode, "starve") != NULL)
        starve();
    else if (strstr(mode, "heap") != NULL)
        touch((char *)umem_alloc(64, UMEM_DEFAULT) + 64);
}

KEEP void *
worker(void *arg)
{
    if (stack_fault_thread_init() != 0)
        abort();
    misbehave();
    return arg;
}

static void
run_thread(void)
{
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
    if (pthread_attr_setstack(&attr, stack, size) != 0 ||
        pthread_create(&thread, &attr, worker, NULL) != 0)
        exit(3);
    pthread_join(thread, NULL);
}

/* Does nothing for the handler: the library made the thread. */
KEEP void *
innocent(void *arg)
{
    misbehave();
    return arg;
}

static void
run_created(void)
{
    pthread_t thread;
    if (stack_pthread_create(&thread, NULL, size, innocent, NULL) != 0)
        exit(3);
    pthread_join(thread, NULL);
}

static void
run_fiber(void)
{
    static ucontext_t back, fiber;
    getcontext(&fiber);
    fiber.uc_stack.ss_sp = stack;
    fiber.uc_stack.ss_size = size;
    fiber.uc_link = &back;
    makecontext(&fiber, misbehave, 0);
    swapcontext(&back, &fiber);
}

KEEP void
on_signal(int number)
{
    (void)number;
    misbehave();
}

/* The alternate signal stack of the main thread, which is the program's own. */
static void
run_alternate(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
}

static void
old_handler(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    const char *text = info->si_addr == stack - 8 ? "old handler\n" : "wrong address\n";
    if (write(STDERR_FILENO, text, strlen(text)) > 0)
        _exit(9);
}

static void
once_handler(int number)
{
    (void)number;
    if (write(STDERR_FILENO, "once\n", 5) < 0)
        _exit(9);
}

int
main(int argc, char **argv)
{
    struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    mode = argc > 1 ? argv[1] : "";
    struct sigaction old = {.sa_sigaction = old_handler, .sa_flags = SA_SIGINFO};
    struct sigaction once = {.sa_handler = once_handler, .sa_flags = (int)SA_RESETHAND};
    if (strstr(mode, "chained") != NULL)
        sigaction(SIGSEGV, &old, NULL);
    if (strstr(mode, "once") != NULL)
        sigaction(SIGSEGV, &once, NULL);
    if (strstr(mode, "early") != NULL)
        umem_free(umem_alloc(8, UMEM_DEFAULT), 8); /* the engine is set up before the handler */
    size = strstr(mode, "large") != NULL ? 64 * SIZE : SIZE;
    if (strstr(mode, "alternate") != NULL) {
        stack = stack_alloc(size);
        stack_t own = {.ss_sp = stack, .ss_size = size};
        sigaltstack(&own, NULL);
    }
    if (stack_fault_handler_install() != 0)
        return 3;
    stack = stack != NULL ? stack : stack_alloc(size);
    stack_name(stack, "reader");
    if (strstr(mode, "filled") != NULL)
        stack_watermark(stack, size, STACK_WATERMARK_FILL);
    if (strstr(mode, "freed") != NULL)
        stack_free(stack, size);
    if (strstr(mode, "thread") != NULL)
        run_thread();
    else if (strstr(mode, "created") != NULL)
        run_created();
    else if (strstr(mode, "fiber") != NULL)
        run_fiber();
    else if (strstr(mode, "alternate") != NULL)
        run_alternate();
    else
        misbehave();
    puts("survived");
    return 0;
}
