/* SPDX-License-Identifier: MIT */
/*
 * A program under UMEM_OPTIONS=reap_thread: frees much, says how many threads it
 * has, sleeps without allocating and says whether the memory has gone back; then
 * forks, and leaves in the way that its argument names.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCKS = 65536, SIZE = 500, STRIDE = 25033, MUCH_KIB = 4000, POLLS = 60 };

/* A number in /proc/self/status; without an allocation, which could do the thread's work. */
static long
field(const char *name)
{
    char text[8192];
    int fd = open("/proc/self/status", O_RDONLY);
    ssize_t n = read(fd, text, sizeof(text) - 1);

    close(fd);
    text[n > 0 ? n : 0] = '\0';
    const char *at = strstr(text, name);
    return at != NULL ? atol(at + strlen(name)) : -1;
}

/*
 * Allocates many small blocks and frees them all over the place: those that
 * stay in magazines and depots hold slabs with much that is free.
 */
static void
churn(void)
{
    static void *block[BLOCKS];

    for (int i = 0; i < BLOCKS; i++)
        block[i] = memset(malloc((size_t)SIZE), 1, SIZE);
    for (unsigned i = 0; i < BLOCKS; i++) /* STRIDE and BLOCKS have no common factor */
        free(block[(size_t)i * STRIDE % BLOCKS]);
}

static void *
sleep_and_return(void *arg)
{
    usleep(100000);
    return arg;
}

int
main(int argc, char **argv)
{
    pthread_t thread;
    int status;

    long start = field("VmRSS:");
    churn();
    printf("threads %ld\n", field("Threads:"));
    long kept = field("VmRSS:") - start;
    for (int i = 0; i < POLLS && field("VmRSS:") - start > kept / 2; i++)
        usleep(100000);
    printf("kept much %d, gone back %d\n", kept > MUCH_KIB, field("VmRSS:") - start <= kept / 2);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        free(malloc(SIZE));
        _exit(field("Threads:") == 1 ? 0 : 1);
    }
    waitpid(pid, &status, 0);
    printf("child %x\n", (unsigned)status);
    if (argc > 1 && strcmp(argv[1], "leave") == 0) {
        pthread_create(&thread, NULL, sleep_and_return, NULL);
        pthread_exit(NULL);
    }
    return argc > 1 && strcmp(argv[1], "exit") == 0 ? 0 : 1;
}
