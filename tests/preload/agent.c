/* SPDX-License-Identifier: MIT */
/*
 * Two threads allocate and free without end.  What is to happen meanwhile comes
 * by standard input, a word a line, and is answered by a line.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCKS = 500 };

static void *
churn(void *arg)
{
    unsigned seed = *(unsigned *)arg;
    char *block[BLOCKS] = {NULL};

    for (;;) {
        seed = seed * 1103515245u + 12345u;
        char **slot = &block[seed >> 16 & 255];
        size_t size = (seed >> 8) % 3000 + 1;
        if (*slot != NULL && **slot != 0x5a)
            abort();
        *slot = seed & 0x8000 ? realloc(*slot, size) : (free(*slot), malloc(size));
        **slot = 0x5a;
    }
    return NULL;
}

/* Its child: waits to be asked, and says whether it can allocate. */
static void
fork_one(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        void *p = malloc(1000);
        free(p);
        for (;;)
            pause();
    }
    printf("child %d\n", (int)pid);
}

static void *
wait_and_exit(void *arg)
{
    sleep(1);
    return arg;
}

int
main(int argc, char **argv)
{
    static unsigned seeds[2] = {1, 2};
    pthread_t thread;
    char line[100];

    for (int i = 0; i < 2 && argc == 1; i++)
        if (pthread_create(&thread, NULL, churn, &seeds[i]) != 0)
            return 1;
    free(malloc(10));
    printf("ready\n");
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin) != NULL) {
        if (strcmp(line, "fork\n") == 0)
            fork_one();
        else if (strcmp(line, "close\n") == 0)
            for (int fd = 3; fd < 1024; fd++)
                close(fd);
        else if (strcmp(line, "exec\n") == 0)
            execl(argv[0], argv[0], "quiet", (char *)NULL);
        else if (strcmp(line, "leave\n") == 0) {
            if (pthread_create(&thread, NULL, wait_and_exit, NULL) != 0)
                return 1;
            pthread_exit(NULL);
        } else
            return 0;
        printf("done\n");
        fflush(stdout);
    }
    return 0;
}
