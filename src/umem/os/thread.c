/* SPDX-License-Identifier: MIT */
/*
 * thread.c - a thread of the library's own: all signals blocked, so that the
 * program's handlers never run on it; detached; its stack small, since under
 * mlockall() all of it is locked.
 *
 * Owns no state.  Creating one allocates, as pthread_create() does: no lock of
 * the engine may be held.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "os/os.h"

/* Four pages are the least there is; the rest for static thread-local storage, which lies there. */
#define STACK_SIZE ((size_t)64 * 1024)
#define MS_PER_S 1000u
#define NS_PER_MS 1000000u
/* Room for /proc/PID/stat up to the count of threads: 52 numbers of 20 digits at most. */
#define STAT_SIZE 1200
/* Fields of it, counted from the state, which follows the name in parentheses. */
#define STAT_THREADS 17

/* A thread with a stack of so many bytes; 0: the system's default.  An errno. */
static int
create(void *(*fn)(void *), size_t stack_size)
{
    pthread_attr_t attr;
    pthread_t thread;
    int error = pthread_attr_init(&attr);

    if (error != 0)
        return error;
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    if (stack_size != 0)
        error = pthread_attr_setstacksize(&attr, stack_size);
    if (error == 0)
        error = pthread_create(&thread, &attr, fn, NULL);
    (void)pthread_attr_destroy(&attr);
    return error;
}

int
os_thread_start(void *(*fn)(void *))
{
    sigset_t all, old;
    int saved = errno;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    int error = create(fn, STACK_SIZE);
    /* A program with much thread-local storage leaves no room on a stack so small. */
    if (error == EINVAL)
        error = create(fn, 0);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    errno = error != 0 ? error : saved;
    return error != 0 ? -1 : 0;
}

void
os_thread_name(const char *name)
{
    int saved = errno;

    (void)prctl(PR_SET_NAME, (unsigned long)(uintptr_t)name, 0, 0, 0);
    errno = saved;
}

void
os_sleep_ms(uint64_t ms)
{
    struct timespec left = {.tv_sec = (time_t)(ms / MS_PER_S),
                            .tv_nsec = (long)(ms % MS_PER_S * NS_PER_MS)};

    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR)
        ;
}

/* Reads the start of a file; returns its length, 0 where it cannot be read. */
static size_t
read_start(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        return 0;
    do
        n = read(fd, text, size - 1);
    while (n < 0 && errno == EINTR);
    (void)close(fd);
    text[n > 0 ? n : 0] = '\0';
    return n > 0 ? (size_t)n : 0;
}

bool
os_thread_is_last(void)
{
    char text[STAT_SIZE];
    int saved = errno;
    bool last = false;

    /* The state is the first thread's; the count has it as long as any other is there. */
    if (read_start("/proc/self/stat", text, sizeof(text)) > 0) {
        const char *at = strrchr(text, ')');
        bool ended = at != NULL && (at[1] == ' ' && at[2] == 'Z');
        for (int i = 0; at != NULL && i <= STAT_THREADS; i++)
            at = strchr(at + 1, ' ');
        last = ended && at != NULL && strtoul(at, NULL, 10) <= 2;
    }
    errno = saved;
    return last;
}
