/* SPDX-License-Identifier: MIT */
/*
 * target_fixture.c - a process whose memory, registers and stacks are known,
 * for test_target.py to look at.
 *
 *     target_fixture [abort]
 *
 * Prints the addresses that the test checks, then "ready"; with abort it dies
 * with a core, otherwise it answers lines on stdin: "count" prints how often
 * the spinning thread and the signal handler have run.
 */
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif
#define PAGES 5
#define GENERAL 0xfeed0000beef0001
#define VECTOR 0xfeed0000beef0002

uint64_t fixture_words[4] = {0x1122334455667788, 2, 3, 4};
const char fixture_text[] = "read-only text of the fixture";
static volatile int spinning;
static volatile int in_handler;
static volatile unsigned long spins;
static volatile int signals;

static inline __attribute__((always_inline)) void
innermost(volatile unsigned long *counter)
{
#if defined(__x86_64__)
    __asm__ volatile("movq %0, %%r13\n\t"
                     "movq %1, %%xmm7\n\t"
                     "movb $1, %2\n"
                     "1: incq %3\n\t"
                     "jmp 1b"
                     :
                     : "r"(GENERAL), "r"(VECTOR), "m"(spinning), "m"(*counter)
                     : "r13", "xmm7", "memory"); /* line of the spin */
#else
    spinning = 1;
    for (;;)
        ++*counter;
#endif
}

static inline __attribute__((always_inline)) void
middle(volatile unsigned long *counter)
{
    innermost(counter); /* call of innermost */
}

__attribute__((noinline)) static void
outer(volatile unsigned long *counter)
{
    middle(counter); /* call of middle */
    __asm__ volatile("");
}

static void *
spin(void *arg)
{
    outer(arg);
    return NULL;
}

static void
on_signal(int number)
{
    in_handler = number;
    for (;;)
        pause();
}

static void
on_count(int number)
{
    signals += number == SIGRTMIN;
}

/* Interrupted in the loop; the handler never comes back. */
__attribute__((noinline)) static void
interrupted(void)
{
    raise(SIGUSR1);
    for (;;)
        pause();
}

static void *
interrupt(void *arg)
{
    interrupted();
    return arg;
}

static char *
pages(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    /* Neighbours are inaccessible, so that a read past the end fails. */
    char *p = mmap(NULL, (PAGES + 2) * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    p += page;
    mprotect(p, PAGES * page, PROT_READ | PROT_WRITE);
    for (unsigned i = 0; i < PAGES; i++)
        memset(p + i * page, 'A' + (int)i, page);
    return p;
}

static void
answer(void)
{
    char line[64];
    while (fgets(line, sizeof(line), stdin) != NULL) {
        printf("count %lu %d\n", spins, signals);
        fflush(stdout);
    }
}

int
main(int argc, char **argv)
{
    pthread_t thread;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    signal(SIGUSR1, on_signal);
    signal(SIGRTMIN, on_count);
    char *hole = pages();
    munmap(hole + 2 * page, page);
    char *guarded = pages();
    int has_guard = madvise(guarded + 2 * page, page, MADV_GUARD_INSTALL) == 0;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    pthread_sigmask(SIG_BLOCK, &set, NULL); /* counted by the main thread only */
    pthread_create(&thread, NULL, spin, (void *)(uintptr_t)&spins);
    pthread_create(&thread, NULL, interrupt, NULL);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    while (!spinning || !in_handler)
        usleep(1000);
    printf("words %p\ntext %p\nhole %p\nguarded %p %d\nlocal %p\nready\n", (void *)fixture_words,
           (const void *)fixture_text, (void *)hole, (void *)guarded, has_guard, (void *)&set);
    fflush(stdout);
    if (argc > 1 && strcmp(argv[1], "abort") == 0)
        abort();
    answer();
    return 0;
}
