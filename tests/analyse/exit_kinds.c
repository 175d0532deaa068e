/* SPDX-License-Identifier: MIT */
/*
 * A program that ends in all sorts of ways, for umem run --leaks to look at.
 *
 *   exit_kinds WAY [ARGUMENT]
 *
 * What is lost is lost by lose(), three blocks of 100 bytes, unless the way is
 * said to be clean.  Lost pointers are made in functions that keep nothing, and
 * the dead part of the stack is wiped, since a scan takes stale copies for
 * pointers.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEEP __attribute__((noipa)) static
enum { LOST = 3, SIZE = 100, THREADS = 4, FDS = 256 };

static void *volatile sink;
static void *volatile held;

KEEP void
lose(void)
{
    for (int i = 0; i < LOST; i++) {
        sink = malloc(SIZE);
        memset(sink, 1, SIZE);
    }
    sink = NULL;
}

KEEP void
use(void)
{
    sink = malloc(SIZE);
    free(sink);
    sink = NULL;
}

KEEP void
wipe(void)
{
    char dead[65536];
    memset(dead, 0, sizeof(dead));
    __asm__ volatile("" : : "r"(dead) : "memory");
}

KEEP void
free_held(void)
{
    free(held);
    held = NULL;
    puts("freed at exit");
}

KEEP void *
hold_and_wait(void *arg)
{
    void *volatile mine = malloc(SIZE);
    pthread_barrier_wait(arg);
    pause();
    free(mine);
    return NULL;
}

KEEP void *
storm(void *arg)
{
    pthread_barrier_wait(arg);
    for (size_t i = 0;; i++)
        free(malloc(16 + i % 2000));
    return NULL;
}

KEEP void *
exit_here(void *arg)
{
    lose();
    wipe();
    exit(*(int *)arg);
}

/* Ends the process by a signal, that many microseconds from now. */
KEEP void *
end_all(void *arg)
{
    usleep((useconds_t) * (int *)arg);
    kill(getpid(), SIGKILL);
    return NULL;
}

/* Threads that are still there when the process exits. */
KEEP void
start(void *(*body)(void *))
{
    static pthread_barrier_t barrier;
    pthread_t thread;
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&thread, NULL, body, &barrier) != 0)
            _exit(99);
    pthread_barrier_wait(&barrier);
}

static void
on_signal(int number)
{
    char line[] = "signal 00\n";
    line[7] = (char)('0' + number / 10);
    line[8] = (char)('0' + number % 10);
    if (write(STDOUT_FILENO, line, sizeof(line) - 1) < 0)
        _exit(98);
}

static void
quit(int number)
{
    exit(number);
}

/* Says what signals come, until its standard input ends. */
static int
await(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    char byte;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        sigaction(numbers[i], &action, NULL);
    printf("ready %d\n", (int)getpid());
    fflush(stdout);
    while (read(STDIN_FILENO, &byte, 1) > 0)
        continue;
    return 0;
}

/* A child that leaks and exits; with_parent: that is waited for. */
static void
fork_leaking(int wait_for_it)
{
    pid_t child = fork();
    if (child == 0) {
        if (!wait_for_it) { /* a daemon: its parent is gone soon */
            setsid();
            usleep(300000);
        }
        lose();
        wipe();
        exit(0);
    }
    if (wait_for_it)
        waitpid(child, NULL, 0);
}

int
main(int argc, char **argv)
{
    const char *way = argc > 1 ? argv[1] : "";
    int code = argc > 2 ? atoi(argv[2]) : 0;

    if (strcmp(way, "lose") == 0) {
        lose();
    } else if (strcmp(way, "atexit") == 0) { /* clean */
        sink = NULL;
        held = malloc(SIZE);
        atexit(free_held);
    } else if (strcmp(way, "close") == 0) {
        lose();
        for (int fd = 0; fd < FDS; fd++)
            close(fd);
    } else if (strcmp(way, "hold") == 0) { /* clean */
        start(hold_and_wait);
    } else if (strcmp(way, "storm") == 0) { /* clean */
        start(storm);
    } else if (strcmp(way, "thread") == 0) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, exit_here, &code) == 0)
            pthread_join(thread, NULL);
    } else if (strcmp(way, "fork") == 0) { /* the first process is clean */
        use();
        fork_leaking(1);
    } else if (strcmp(way, "daemon") == 0) { /* the first process is clean */
        use();
        fork_leaking(0);
    } else if (strcmp(way, "_exit") == 0) {
        lose();
        _exit(code);
    } else if (strcmp(way, "kill") == 0) {
        lose();
        raise(code);
    } else if (strcmp(way, "race") == 0) {
        pthread_t thread;
        lose();
        start(hold_and_wait);
        pthread_create(&thread, NULL, end_all, &code);
    } else if (strcmp(way, "exec") == 0) {
        lose(); /* gone with this image */
        execv(argv[2], argv + 2);
    } else if (strcmp(way, "private") == 0) { /* not even its own user may look at it */
        lose();
        prctl(PR_SET_DUMPABLE, 0);
    } else if (strcmp(way, "quit") == 0) { /* by a handler */
        lose();
        signal(SIGINT, quit);
        printf("ready %d\n", (int)getpid());
        fflush(stdout);
        wipe();
        for (;;)
            pause();
    } else if (strcmp(way, "wait") == 0) { /* clean */
        use();
        code = await();
    }
    wipe();
    return code;
}
