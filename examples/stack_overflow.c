/* SPDX-License-Identifier: MIT */
/* A child runs off its stack and says so, on standard error. */
#include <fcntl.h>
#include <pthread.h>
#include <stackalloc.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned
sum_to(unsigned n)
{
    volatile unsigned here = n;
    return n == 0 ? 0 : sum_to(n - 1) + here;
}

static void *
serve(void *arg)
{
    if (stack_fault_thread_init() == 0)
        printf("%u\n", sum_to(1000000));
    return arg;
}

static int
child(void)
{
    const size_t size = 32 * 1024;
    const struct rlimit no_core = {0, 0};
    pthread_attr_t attr;
    pthread_t thread;
    void *stack;

    setrlimit(RLIMIT_CORE, &no_core);
    if (stack_fault_handler_install() != 0 || (stack = stack_alloc(size)) == NULL)
        return 1;
    stack_name(stack, "server");
    pthread_attr_init(&attr);
    pthread_attr_setstack(&attr, stack, size);
    if (pthread_create(&thread, &attr, serve, NULL) != 0)
        return 1;
    return pthread_join(thread, NULL);
}

int
main(int argc, char **argv)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        if (argc < 2) /* any argument shows the report */
            dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
        _exit(child());
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status))
        return 1;
    printf("the child was ended by signal %d\n", WTERMSIG(status));
    return argv[0] == NULL;
}
