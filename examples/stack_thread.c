/* SPDX-License-Identifier: MIT */
/*
 * stack_thread.c - real-time threads on stacks of the library: with all memory
 * locked, a thread uses its stack to the last kilobytes without a page fault,
 * and running off either end kills the process instead of a neighbour.
 *
 * Needs leave to lock its memory: root, or a sufficient RLIMIT_MEMLOCK.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* RUSAGE_THREAD */
#endif
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stackalloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define THREADS 16
/* glibc keeps the thread's descriptor, its locals and a little more on top. */
#define LEFT_TO_LIBC ((size_t)12 * 1024)

struct job {
    size_t size;
    long faults;
};

static long
faults_of_this_thread(void)
{
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_minflt + usage.ru_majflt;
}

/* Uses about bytes of stack, a kilobyte a call. */
static unsigned
use_stack(size_t bytes)
{
    volatile unsigned char frame[1024];
    for (size_t i = 0; i < sizeof(frame); i += 64)
        frame[i] = (unsigned char)i;
    unsigned below = bytes > 2 * sizeof(frame) ? use_stack(bytes - sizeof(frame) - 64) : 0;
    return below + frame[960];
}

static void *
work(void *arg)
{
    struct job *job = arg;
    use_stack(job->size - LEFT_TO_LIBC);
    job->faults = faults_of_this_thread();
    return NULL;
}

static void
run_on(void *stack, struct job *job)
{
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
    pthread_attr_setstack(&attr, stack, job->size);
    int error = pthread_create(&thread, &attr, work, job);
    if (error != 0) {
        fprintf(stderr, "pthread_create: %s\n", strerror(error));
        exit(1);
    }
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attr);
}

static long
microseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000L + now.tv_nsec / 1000;
}

/*
 * THREADS threads one after the other on one size.  Returns their page faults,
 * -1 where the size does not fit into RLIMIT_MEMLOCK any more.
 */
static long
row(size_t size)
{
    long faults = 0, first_us = 0, rest_us = 0;
    for (int i = 0; i < THREADS; i++) {
        struct job job = {size, 0};
        long start = microseconds();
        void *stack = stack_alloc(size);
        if (stack == NULL && errno == EAGAIN) {
            printf("%7zu KiB: over RLIMIT_MEMLOCK\n", size / 1024);
            return -1;
        }
        if (stack == NULL) {
            perror("stack_alloc");
            exit(1);
        }
        run_on(stack, &job);
        stack_free(stack, size);
        *(i == 0 ? &first_us : &rest_us) += microseconds() - start;
        faults += job.faults;
    }
    printf("%7zu KiB %9d %12ld %14ld us %14ld us\n", size / 1024, THREADS, faults, first_us,
           rest_us / (THREADS - 1));
    return faults;
}

static void *
off_the_low_end(void *arg)
{
    use_stack((size_t)-1 / 2);
    return arg;
}

static void *
off_the_high_end(void *arg)
{
    *(volatile char *)arg = 1;
    return arg;
}

/* Whether a process that runs one off an end of its stack dies of SIGSEGV. */
static int
guard_holds(const char *what, void *(*off)(void *))
{
    const size_t size = 64 * 1024;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        char *stack = stack_alloc(size);
        if (stack == NULL)
            _exit(2);
        pthread_attr_t attr;
        pthread_t thread;
        pthread_attr_init(&attr);
        pthread_attr_setstack(&attr, stack, size);
        pthread_create(&thread, &attr, off, stack + size);
        pthread_join(thread, NULL);
        _exit(0);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    int held = WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
    printf("%s: %s\n", what, held ? "stopped by the guard (SIGSEGV)" : "NOT STOPPED");
    return held;
}

int
main(void)
{
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) {
        fprintf(stderr, "mlockall: %s (run as root, or raise RLIMIT_MEMLOCK)\n", strerror(errno));
        return 77;
    }
    uint_t *sizes = fetch_stack_sizes();
    if (sizes == NULL) {
        perror("fetch_stack_sizes");
        return 1;
    }
    puts("all memory locked; each thread uses its whole stack");
    puts("      stack   threads  page faults  first, built  others, reused");
    long faults = 0;
    for (size_t i = 0; sizes[i] != 0; i++) {
        long more = row(sizes[i]);
        if (more < 0)
            break;
        faults += more;
    }
    free(sizes);

    int held = guard_holds("overflow, off the low end", off_the_low_end);
    held &= guard_holds("underflow, off the high end", off_the_high_end);
    printf("page faults in threads: %ld\n", faults);
    return faults == 0 && held ? 0 : 1;
}
