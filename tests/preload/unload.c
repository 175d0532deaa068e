/* SPDX-License-Identifier: MIT */
/* A thread loads the library, allocates, unloads it, and exits; then the process forks. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static void *
use(void *path)
{
    void *library = dlopen(path, RTLD_NOW);
    void *(*alloc)(size_t, int) = library != NULL ? dlsym(library, "umem_alloc") : NULL;

    if (alloc == NULL || alloc(100, 0) == NULL)
        return NULL;
    dlclose(library);
    return path;
}

int
main(int argc, char **argv)
{
    pthread_t thread;
    void *used = NULL;
    int status = -1;

    if (argc != 2 || pthread_create(&thread, NULL, use, argv[1]) != 0)
        return 1;
    pthread_join(thread, &used);
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    waitpid(pid, &status, 0);
    puts(used != NULL && status == 0 ? "ok" : "failed");
    return 0;
}
