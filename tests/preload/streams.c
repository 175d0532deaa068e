/* SPDX-License-Identifier: MIT */
/*
 * Forks while other threads flush all streams, one of which allocates as it is
 * written: they hold libc's lock of the streams, which fork() takes too.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 2, FORKS = 200 };

static atomic_int stop;

static ssize_t
write_stream(void *cookie, const char *text, size_t size)
{
    (void)cookie;
    (void)text;
    for (size_t i = 0; i < 10; i++) {
        void *volatile p = malloc(300000 + i * 70000);
        free(p);
    }
    return (ssize_t)size;
}

static void *
flush(void *arg)
{
    FILE *stream = fopencookie(NULL, "w", (cookie_io_functions_t){.write = write_stream});

    while (!stop) {
        fputc('x', stream);
        fflush(NULL);
        usleep(1); /* libc's lock is unfair: fork() needs a gap */
    }
    fclose(stream);
    return arg;
}

int
main(void)
{
    pthread_t threads[THREADS];
    int good = 0;

    alarm(60);
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, flush, NULL) != 0)
            return 1;
    for (int i = 0; i < FORKS; i++) {
        int status = -1;
        pid_t pid = fork();
        if (pid == 0) {
            FILE *stream = fopen("/dev/null", "w");
            fputs("the child has streams too", stream);
            fclose(stream);
            _exit(0);
        }
        if (waitpid(pid, &status, 0) == pid && status == 0)
            good++;
    }
    stop = 1;
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    printf("%d children of %d\n", good, FORKS);
    return good != FORKS;
}
