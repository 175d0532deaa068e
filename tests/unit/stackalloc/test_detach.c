/* SPDX-License-Identifier: MIT */
/*
 * test_detach.c - a thread that is detached while it ends: pthread_exit() was called, and its
 * cleanup handlers and the destructors of its keys still run.
 *
 * glibc 2.36 frees the table of the thread's dynamic thread-local storage (the DTV) in
 * pthread_detach() then, where the stack is the program's.  What is found by that table
 * afterwards lies wherever those who got the memory next had it.
 */
#include "stacktest.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>

#define SIZE (64 * KIB)
#define FREES 64 /* more than the frees from one look at the bounds of a class to the next */

unsigned *module_count(void);

static sem_t ends, detached;

static void
wait_for(sem_t *semaphore)
{
    while (sem_wait(semaphore) != 0)
        continue;
}

/* Whoever gets the memory next that a detach has freed. */
static void
write_over_free_memory(void)
{
    enum { SIZES_UP_TO = 2048, EACH = 8 };
    for (size_t size = 24; size < SIZES_UP_TO; size += 16) {
        void *blocks[EACH];
        for (int i = 0; i < EACH; i++) {
            CHECK((blocks[i] = malloc(size)) != NULL);
            memset(blocks[i], 0x5a, size);
        }
        for (int i = 0; i < EACH; i++)
            free(blocks[i]);
    }
}

static void
until_detached(void)
{
    sem_post(&ends);
    wait_for(&detached);
}

/* --- The library's own thread-local storage --- */

static void
frees_stacks(void *stacks)
{
    until_detached();
    for (int i = 0; i < FREES; i++)
        CHECK(stack_free(((void **)stacks)[i], SIZE) == 0);
    sem_post(&ends);
}

static void *
ends_freeing(void *stacks)
{
    pthread_cleanup_push(frees_stacks, stacks);
    pthread_exit(NULL);
    pthread_cleanup_pop(0);
}

/* On a stack that the program brings itself, past join.c. */
static void
detach_by_libc(void *unused)
{
    (void)unused;
    struct stack_config config = {.config_cache_bytes = SIZE, .config_idle_ms = 1};
    CHECK(stack_config(SIZE, &config, sizeof(config)) == 0);
    void *libc = dlopen("libc.so.6", RTLD_LAZY);
    int (*detach)(pthread_t) =
        libc == NULL ? NULL : (int (*)(pthread_t))dlsym(libc, "pthread_detach");
    if (detach == NULL)
        _exit(CHILD_SKIP);
    void *stacks[FREES];
    for (int i = 0; i < FREES; i++)
        CHECK((stacks[i] = stack_alloc(SIZE)) != NULL);
    void *own = stack_alloc(2 * SIZE);
    pthread_attr_t attr;
    pthread_t id;
    pthread_attr_init(&attr);
    CHECK(pthread_attr_setstack(&attr, own, 2 * SIZE) == 0);
    CHECK(pthread_create(&id, &attr, ends_freeing, stacks) == 0);
    wait_for(&ends);
    CHECK(detach(id) == 0);
    write_over_free_memory();
    sem_post(&detached);
    wait_for(&ends);
}

static void
test_handlers_free_stacks(void **state)
{
    (void)state;
    must_succeed(detach_by_libc, NULL);
}

/* --- That of others, on stacks of the library --- */

static pthread_key_t key;

static void
counts_again(void *unused)
{
    (void)unused;
    until_detached();
    CHECK(++*module_count() == 2);
}

static void
counts_at_last(void *unused)
{
    (void)unused;
    CHECK(++*module_count() == 3);
    sem_post(&ends);
}

static void *
ends_counting(void *how)
{
    CHECK(pthread_setspecific(key, &key) == 0);
    CHECK(++*module_count() == 1);
    pthread_cleanup_push(counts_again, NULL);
    if (how == NULL)
        pthread_exit(NULL);
    pthread_cancel(pthread_self());
    pthread_testcancel();
    pthread_cleanup_pop(0);
    return NULL;
}

static size_t
used(void)
{
    struct stack_stats stats;
    CHECK(stack_stats(&stats, sizeof(stats)) == 0);
    return stats.stats_used_bytes / SIZE;
}

static void *
nothing(void *arg)
{
    return arg;
}

static void
detach_while_it_ends(void *how)
{
    pthread_t id, other;
    CHECK(pthread_key_create(&key, counts_at_last) == 0);
    CHECK(stack_pthread_create(&id, NULL, SIZE, ends_counting, how) == 0);
    wait_for(&ends);
    CHECK(pthread_detach(id) == 0);
    /* It is as detached as any. */
    CHECK(pthread_detach(id) == EINVAL);
    CHECK(pthread_join(id, NULL) == EINVAL && pthread_tryjoin_np(id, NULL) == EINVAL);
    write_over_free_memory();
    sem_post(&detached);
    wait_for(&ends);
    while (used() != 0) {
        CHECK(stack_pthread_create(&other, NULL, SIZE, nothing, NULL) == 0);
        CHECK(pthread_join(other, NULL) == 0);
    }
}

static void
test_thread_locals_stay(void **state)
{
    (void)state;
    must_succeed(detach_while_it_ends, NULL);
    must_succeed(detach_while_it_ends, &key);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handlers_free_stacks),
        cmocka_unit_test(test_thread_locals_stay),
    };
    sem_init(&ends, 0, 0);
    sem_init(&detached, 0, 0);
    return cmocka_run_group_tests_name("stackalloc/detach", tests, NULL, NULL);
}
