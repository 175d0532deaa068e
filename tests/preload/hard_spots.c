/* SPDX-License-Identifier: MIT */
/*
 * Where a replaced malloc is known to break: modules that come and go, the end
 * of threads, fork and spawn, tiny and borrowed stacks, cancellation, signals.
 * PLUGIN in the environment is the path of plugin.c, built as a module.
 */
#include "check.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <threads.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

extern char **environ;

/* Allocates, checks and frees a few hundred blocks; 0 where all is well. */
static int
exercise(unsigned seed)
{
    enum { N = 100 };
    unsigned char *p[N] = {NULL};
    size_t size[N] = {0};
    int bad = 0;
    for (int round = 0; round < 400; round++) {
        seed = seed * 1103515245u + 12345u;
        size_t i = (seed >> 16) % N;
        if (p[i] != NULL)
            bad += p[i][0] != (unsigned char)i || p[i][size[i] - 1] != (unsigned char)i;
        size[i] = 1 + (seed >> 8) % 2000;
        p[i] = realloc(p[i], size[i]);
        if (p[i] == NULL)
            return 1;
        memset(p[i], (int)i, size[i]);
    }
    for (size_t i = 0; i < N; i++)
        free(p[i]);
    return bad;
}

static void *
exercise_thread(void *arg)
{
    CHECK(exercise((unsigned)(uintptr_t)arg) == 0);
    return NULL;
}

static void
plugins_come_and_go(void)
{
    const char *path = getenv("PLUGIN");
    NEED(path != NULL);
    for (int i = 0; i < 200; i++) {
        void *handle = dlopen(path, i % 2 ? RTLD_NOW : RTLD_LAZY);
        NEED(handle != NULL);
        int (*work)(int) = (int (*)(int))dlsym(handle, "plugin_work");
        NEED(work != NULL);
        CHECK(work(i % 100) == 0);
        CHECK(dlclose(handle) == 0);
    }
}

struct plugin_job {
    int (*work)(int);
    int number;
};

static void *
plugin_thread(void *arg)
{
    struct plugin_job *job = arg;
    CHECK(job->work(job->number) == 0);
    free(job);
    return NULL;
}

/* Each thread makes libc allocate the module's thread-local storage. */
static void
plugin_in_threads(void)
{
    const char *path = getenv("PLUGIN");
    NEED(path != NULL);
    for (int round = 0; round < 20; round++) {
        pthread_t t[10];
        void *handle = dlopen(path, RTLD_NOW);
        NEED(handle != NULL);
        for (int i = 0; i < 10; i++) {
            struct plugin_job *job = malloc(sizeof(*job));
            NEED(job != NULL);
            job->work = (int (*)(int))dlsym(handle, "plugin_work");
            job->number = i;
            NEED(pthread_create(&t[i], NULL, plugin_thread, job) == 0);
        }
        for (int i = 0; i < 10; i++)
            pthread_join(t[i], NULL);
        CHECK(dlclose(handle) == 0);
    }
}

static pthread_key_t key;
static tss_t tss;
static atomic_int destructor_runs;

/* Puts a new value back for a few rounds: libc calls it up to 4 times. */
static void
key_destructor(void *value)
{
    int rounds = *(int *)value;
    atomic_fetch_add(&destructor_runs, 1);
    free(value);
    CHECK(exercise((unsigned)rounds) == 0);
    if (rounds > 0) {
        int *next = malloc(sizeof(*next));
        *next = rounds - 1;
        pthread_setspecific(key, next);
    }
}

static void
tss_destructor(void *value)
{
    atomic_fetch_add(&destructor_runs, 1);
    free(value);
    free(malloc(10000));
}

static void *
key_thread(void *arg)
{
    int *value = malloc(sizeof(*value));
    *value = 3;
    pthread_setspecific(key, value);
    tss_set(tss, malloc(77));
    CHECK(exercise((unsigned)(uintptr_t)arg) == 0);
    return NULL;
}

static void
thread_exit_destructors(void)
{
    NEED(pthread_key_create(&key, key_destructor) == 0);
    NEED(tss_create(&tss, tss_destructor) == thrd_success);
    enum { THREADS = 200 };
    for (unsigned i = 0; i < THREADS; i += 4) {
        pthread_t t[4];
        for (unsigned j = 0; j < 4; j++)
            NEED(pthread_create(&t[j], NULL, key_thread, (void *)(uintptr_t)(i + j)) == 0);
        for (unsigned j = 0; j < 4; j++)
            pthread_join(t[j], NULL);
    }
    CHECK(atomic_load(&destructor_runs) == THREADS * (4 + 1));
    pthread_key_delete(key);
    tss_delete(tss);
}

/* A block outlives the thread that made it, and another frees it. */
static void *
orphan_thread(void *arg)
{
    char **blocks = arg;
    for (size_t i = 0; i < 1000; i++)
        if ((blocks[i] = malloc(1 + i * 3)) != NULL)
            memset(blocks[i], 'o', 1 + i * 3);
    return NULL;
}

static void
orphans(void)
{
    for (int round = 0; round < 50; round++) {
        pthread_t t;
        char *blocks[1000];
        NEED(pthread_create(&t, NULL, orphan_thread, blocks) == 0);
        pthread_join(t, NULL);
        for (size_t i = 0; i < 1000; i++) {
            NEED(blocks[i] != NULL);
            CHECK(blocks[i][i * 3] == 'o');
            free(blocks[i]);
        }
    }
}

static atomic_bool stop;

static void *
busy_thread(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    while (!atomic_load(&stop))
        CHECK(exercise(seed++) == 0);
    return NULL;
}

static int
child_status(pid_t pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

/* A child of a threaded process uses malloc, starts threads and ends. */
static void
fork_in_threads(void)
{
    pthread_t t[4];
    atomic_store(&stop, false);
    for (unsigned i = 0; i < 4; i++)
        NEED(pthread_create(&t[i], NULL, busy_thread, (void *)(uintptr_t)i) == 0);
    for (unsigned i = 0; i < 60; i++) {
        pid_t pid = fork();
        NEED(pid >= 0);
        if (pid == 0) {
            pthread_t mine;
            alarm(30);
            int bad = exercise(i);
            if (pthread_create(&mine, NULL, exercise_thread, NULL) == 0)
                pthread_join(mine, NULL);
            /* A grandchild too. */
            pid_t grandchild = fork();
            if (grandchild == 0)
                _exit(exercise(i + 1) != 0);
            _exit(bad != 0 || grandchild < 0 || child_status(grandchild) != 0);
        }
        CHECK(child_status(pid) == 0);
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
}

static int
run_true(int how)
{
    char *argv[] = {"true", NULL};
    pid_t pid = -1;
    if (how == 0) {
        if (posix_spawn(&pid, "/bin/true", NULL, NULL, argv, environ) != 0)
            return 1;
    } else {
        pid = how == 1 ? vfork() : fork();
        if (pid == 0) {
            execv("/bin/true", argv);
            _exit(127);
        }
    }
    return pid < 0 ? 1 : child_status(pid);
}

static void *
spawn_thread(void *arg)
{
    for (int i = 0; i < 12; i++)
        CHECK(run_true(i % 3) == 0);
    return arg;
}

static void
spawn_in_threads(void)
{
    pthread_t t[4], busy;
    atomic_store(&stop, false);
    NEED(pthread_create(&busy, NULL, busy_thread, NULL) == 0);
    for (int i = 0; i < 4; i++)
        NEED(pthread_create(&t[i], NULL, spawn_thread, NULL) == 0);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    atomic_store(&stop, true);
    pthread_join(busy, NULL);
    CHECK(system("exit 3") == 3 << 8);
    FILE *f = popen("echo through a pipe", "r");
    NEED(f != NULL);
    char line[100] = "";
    CHECK(fgets(line, sizeof(line), f) != NULL);
    CHECK(strcmp(line, "through a pipe\n") == 0);
    CHECK(pclose(f) == 0);
}

/* The smallest stack that libc allows, whatever an audit wants to record. */
static void *
smallest_stack_thread(void *arg)
{
    for (size_t i = 1; i < 3000; i++) {
        char *p = malloc(i), *q = calloc(1, i);
        CHECK(p != NULL && q != NULL);
        p = realloc(p, i * 2);
        free(p);
        free(q);
    }
    return arg;
}

static void
smallest_stacks(void)
{
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    NEED(pthread_attr_setstacksize(&attr, (size_t)sysconf(_SC_THREAD_STACK_MIN)) == 0);
    for (int i = 0; i < 20; i++) {
        pthread_t t;
        NEED(pthread_create(&t, &attr, smallest_stack_thread, NULL) == 0);
        pthread_join(t, NULL);
    }
    pthread_attr_destroy(&attr);
}

/* Coroutines on stacks of malloc and of mmap, which no thread owns. */
static ucontext_t main_context, coroutine;
static int coroutine_turns;

static void
coroutine_body(void)
{
    for (;;) {
        CHECK(exercise((unsigned)coroutine_turns) == 0);
        coroutine_turns++;
        swapcontext(&coroutine, &main_context);
    }
}

static void
coroutines(void)
{
    size_t size = 65536;
    for (volatile int kind = 0; kind < 2; kind++) {
        char *stack = kind == 0 ? malloc(size)
                                : mmap(NULL, size, PROT_READ | PROT_WRITE,
                                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        NEED(stack != NULL && stack != MAP_FAILED);
        coroutine_turns = 0;
        getcontext(&coroutine);
        coroutine.uc_stack.ss_sp = stack;
        coroutine.uc_stack.ss_size = size;
        coroutine.uc_link = NULL;
        makecontext(&coroutine, coroutine_body, 0);
        for (int i = 0; i < 50; i++)
            swapcontext(&main_context, &coroutine);
        CHECK(coroutine_turns == 50);
        if (kind == 0)
            free(stack);
        else
            munmap(stack, size);
    }
}

/* 2,000 frames deep, and allocations at every one of them. */
__attribute__((noipa)) static size_t
recurse(int depth)
{
    char *p = malloc((size_t)depth + 1);
    if (p == NULL)
        return 0;
    size_t below = depth > 0 ? recurse(depth - 1) : 0;
    p[depth] = 1;
    below += (size_t)p[depth];
    free(p);
    return below;
}

static void
deep_recursion(void)
{
    for (int i = 0; i < 5; i++)
        CHECK(recurse(2000) == 2001);
}

static void *
cancelled_thread(void *arg)
{
    sem_post(arg);
    for (unsigned i = 0;; i++) {
        exercise(i);
        pthread_testcancel();
    }
    return NULL;
}

static void
cancellation(void)
{
    for (int i = 0; i < 50; i++) {
        pthread_t t;
        sem_t ready;
        void *value = NULL;
        sem_init(&ready, 0, 0);
        NEED(pthread_create(&t, NULL, cancelled_thread, &ready) == 0);
        sem_wait(&ready);
        pthread_cancel(t);
        pthread_join(t, &value);
        CHECK(value == PTHREAD_CANCELED);
        sem_destroy(&ready);
    }
    CHECK(exercise(1) == 0);
}

static atomic_int ticks;

static void
on_tick(int signal)
{
    (void)signal;
    atomic_fetch_add(&ticks, 1);
}

/* A profiler's timer interrupts everything everywhere. */
static void
timer_signals(void)
{
    struct sigaction action = {.sa_handler = on_tick}, old;
    struct itimerval often = {{0, 500}, {0, 500}}, off = {{0, 0}, {0, 0}};
    pthread_t t[3];
    sigaction(SIGPROF, &action, &old);
    setitimer(ITIMER_PROF, &often, NULL);
    for (int round = 0; round < 40; round++) {
        for (unsigned i = 0; i < 3; i++)
            NEED(pthread_create(&t[i], NULL, exercise_thread, (void *)(uintptr_t)i) == 0);
        for (unsigned i = 0; i < 3; i++)
            pthread_join(t[i], NULL);
    }
    while (atomic_load(&ticks) < 20)
        CHECK(exercise(3) == 0);
    setitimer(ITIMER_PROF, &off, NULL);
    sigaction(SIGPROF, &old, NULL);
}

static pthread_barrier_t barrier;

static void *
crowd_thread(void *arg)
{
    char *p = malloc(1000);
    CHECK(p != NULL);
    pthread_barrier_wait(&barrier);
    CHECK(exercise((unsigned)(uintptr_t)arg) == 0);
    free(p);
    pthread_barrier_wait(&barrier);
    return NULL;
}

static void
thousand_threads(void)
{
    enum { N = 1000 };
    static pthread_t t[N];
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 65536);
    NEED(pthread_barrier_init(&barrier, NULL, N + 1) == 0);
    for (unsigned i = 0; i < N; i++)
        NEED(pthread_create(&t[i], &attr, crowd_thread, (void *)(uintptr_t)i) == 0);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    for (unsigned i = 0; i < N; i++)
        pthread_join(t[i], NULL);
    pthread_barrier_destroy(&barrier);
    pthread_attr_destroy(&attr);
}

static void *
name_lookup(void *arg)
{
    for (int i = 0; i < 50; i++) {
        char *copy = NULL;
        setenv("HARD_SPOT", "value", 1);
        CHECK(asprintf(&copy, "%s-%d", "text", i) > 0);
        free(copy);
        FILE *f = fopen("/etc/passwd", "r");
        CHECK(f != NULL);
        fclose(f);
    }
    return arg;
}

/* Functions of libc that allocate under locks of their own. */
static void
libc_in_threads(void)
{
    pthread_t t[4];
    for (int i = 0; i < 4; i++)
        NEED(pthread_create(&t[i], NULL, name_lookup, NULL) == 0);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
}

static const struct section sections[] = {
    {"plugins_come_and_go", plugins_come_and_go},
    {"plugin_in_threads", plugin_in_threads},
    {"thread_exit_destructors", thread_exit_destructors},
    {"orphans", orphans},
    {"fork_in_threads", fork_in_threads},
    {"spawn_in_threads", spawn_in_threads},
    {"smallest_stacks", smallest_stacks},
    {"coroutines", coroutines},
    {"deep_recursion", deep_recursion},
    {"cancellation", cancellation},
    {"timer_signals", timer_signals},
    {"thousand_threads", thousand_threads},
    {"libc_in_threads", libc_in_threads},
};

int
main(int argc, char **argv)
{
    return check_main(argc, argv, sections, sizeof(sections) / sizeof(sections[0]));
}
