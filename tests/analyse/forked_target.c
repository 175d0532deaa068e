/* SPDX-License-Identifier: MIT */
/*
 * forked_target.c - a process that notices what is done to it: threads in system
 * calls of all kinds, a signal that counts, no children.  Says "ready", and when
 * it gets SIGTERM checks everything and prints "unharmed", or what is wrong.
 *
 *   forked_target [seccomp]     with a filter that would kill it at a fork
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BLOCKS 1000
#define LOST 7
#define BLOCK_SIZE 48
#define TICK_NS 1000000 /* a signal a millisecond: many fall into a look at us */
#define COPIED_BYTES ((size_t)64 << 10)

static atomic_int failures, ticks, children;
static atomic_bool ending;
static int silent[2]; /* a pipe that nothing comes through */
/* volatile: nobody reads them, and yet they are to hold the blocks. */
static void *volatile kept[BLOCKS];
static void *volatile *volatile not_for_children;

static void
fail(const char *what)
{
    atomic_fetch_add(&failures, 1);
    printf("%s: %s\n", what, strerror(errno));
}

static void
on_tick(int signal)
{
    (void)signal;
    atomic_fetch_add(&ticks, 1);
}

static void
on_child(int signal)
{
    (void)signal;
    atomic_fetch_add(&children, 1);
}

/* Calls that the kernel restarts after a stop: none may be seen to end. */
static void *
reader(void *arg)
{
    char byte;
    if (read(silent[0], &byte, 1) < 0)
        fail("read");
    return arg;
}

static void *
sleeper(void *arg)
{
    struct timespec long_time = {3600, 0};
    nanosleep(&long_time, NULL);
    fail("nanosleep");
    return arg;
}

static void *
poller(void *arg)
{
    struct pollfd fd = {.fd = silent[0], .events = POLLPRI};
    poll(&fd, 1, -1);
    fail("poll");
    return arg;
}

/* Waits for all that libc lets it wait for. */
static void *
waiter(void *arg)
{
    sigset_t all;
    int signal;
    sigfillset(&all);
    sigdelset(&all, SIGTERM);
    sigdelset(&all, SIGALRM);
    sigwait(&all, &signal);
    fail("sigwait");
    return arg;
}

static void *
time_waiter(void *arg)
{
    struct timeval long_time = {3600, 0};
    fd_set set;
    FD_ZERO(&set);
    FD_SET(silent[0], &set);
    select(silent[0] + 1, NULL, NULL, &set, &long_time);
    fail("select");
    return arg;
}

/* With the mask of the call, not the thread's, while it waits. */
static void *
suspended(void *arg)
{
    sigset_t most;
    sigfillset(&most);
    sigsuspend(&most);
    fail("sigsuspend");
    return arg;
}

/* Never in the kernel: registers, vector registers and memory as they were. */
static void *
counter(void *arg)
{
    volatile double sum = 0;
    double other = 0;
    while (!atomic_load(&ending)) {
        sum = sum + 0.5;
        other += 0.5;
        if (sum != other)
            fail("arithmetic");
    }
    return arg;
}

static void
forbid_forks(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof(code) / sizeof(code[0]), code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter) != 0)
        fail("seccomp");
}

static void
start_threads(void)
{
    void *(*const bodies[])(void *) = {reader,      sleeper,   poller, waiter,
                                       time_waiter, suspended, counter};
    sigset_t tick;
    pthread_t thread;
    /* Ticks come to the main thread, which expects them. */
    sigemptyset(&tick);
    sigaddset(&tick, SIGALRM);
    sigaddset(&tick, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &tick, NULL);
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++)
        if (pthread_create(&thread, NULL, bodies[i], NULL) != 0)
            fail("pthread_create");
    sigdelset(&tick, SIGTERM);
    pthread_sigmask(SIG_UNBLOCK, &tick, NULL);
}

static void
start_ticking(void)
{
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    struct itimerspec each = {{0, TICK_NS}, {0, TICK_NS}};
    timer_t timer;
    signal(SIGALRM, on_tick);
    signal(SIGCHLD, on_child);
    signal(SIGTRAP, SIG_IGN); /* to be ignored still at the end */
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0 ||
        timer_settime(timer, 0, &each, NULL) != 0)
        fail("timer");
}

static void
allocate(void)
{
    void *volatile lost = NULL;
    for (int i = 0; i < BLOCKS; i++)
        kept[i] = malloc(BLOCK_SIZE);
    for (int i = 0; i < LOST; i++)
        lost = malloc(BLOCK_SIZE);
    lost = NULL;
    (void)lost;
    /* The only pointers to half of them lie where a child has no memory. */
    void *mapping =
        mmap(NULL, COPIED_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED || madvise(mapping, COPIED_BYTES, MADV_DONTFORK) != 0)
        fail("mapping");
    not_for_children = mapping;
    for (int i = 0; i < BLOCKS / 2; i++) {
        not_for_children[i] = kept[i];
        kept[i] = NULL;
    }
}

static void
check(void)
{
    struct sigaction trap;
    int before = atomic_load(&ticks);
    struct timespec rest = {0, 50 * TICK_NS};
    while (nanosleep(&rest, &rest) != 0)
        ;
    if (atomic_load(&ticks) == before)
        fail("no more ticks");
    sigaction(SIGTRAP, NULL, &trap);
    if (trap.sa_handler != SIG_IGN)
        fail("SIGTRAP is no longer ignored");
    if (waitpid(-1, NULL, __WALL | WNOHANG) != -1 || errno != ECHILD)
        fail("a child");
    if (atomic_load(&children) != 0)
        fail("SIGCHLD");
}

int
main(int argc, char **argv)
{
    sigset_t end;
    int signal;
    sigemptyset(&end);
    sigaddset(&end, SIGTERM);
    if (pipe(silent) != 0)
        fail("pipe");
    start_threads();
    start_ticking();
    allocate();
    if (argc > 1 && strcmp(argv[1], "seccomp") == 0)
        forbid_forks();
    puts("ready");
    fflush(stdout);
    while (sigwait(&end, &signal) != 0 || signal != SIGTERM)
        ;
    atomic_store(&ending, true);
    check();
    if (atomic_load(&failures) == 0)
        puts("unharmed");
    fflush(stdout);
    _exit(0);
}
