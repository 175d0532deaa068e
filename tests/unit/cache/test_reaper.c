/* SPDX-License-Identifier: MIT */
/*
 * test_reaper.c - the thread that does the updates: what lies unused goes back
 * while nobody allocates, no operation makes a step, destructors are left to
 * their own caches, and a fork's child steps by itself.
 */
#include "support.h"

#include <dirent.h>
#include <stdio.h>

enum { MANY = 20000 };

static umem_cache_t *cache;
static void *objs[MANY];
static _Atomic int destroyed;

static void
destruct(void *buf, void *private_data)
{
    (void)buf;
    (void)private_data;
    destroyed++;
}

/* A cache with MANY free objects in its depot. */
static void
fill(umem_destructor_t *dtor)
{
    cache = umem_cache_create("reaper", 256, 0, NULL, dtor, NULL, NULL, NULL, 0);
    for (int i = 0; i < MANY; i++)
        objs[i] = umem_cache_alloc(cache, UMEM_DEFAULT);
    for (int i = 0; i < MANY; i++)
        umem_cache_free(cache, objs[i]);
}

/* Whether this process has a thread of that name. */
static bool
is_there(void)
{
    char path[300], name[32];
    bool found = false;
    DIR *tasks = opendir("/proc/self/task");

    CHECK(tasks != NULL);
    for (struct dirent *task; (task = readdir(tasks)) != NULL && !found;) {
        snprintf(path, sizeof(path), "/proc/self/task/%s/comm", task->d_name);
        FILE *file = fopen(path, "r");
        if (file == NULL)
            continue;
        found = fgets(name, sizeof(name), file) != NULL && strcmp(name, "umem_reap\n") == 0;
        (void)fclose(file);
    }
    (void)closedir(tasks);
    return found;
}

/* The thread names itself when it has begun. */
static bool
comes_up(void)
{
    for (int i = 0; i < 1000; i++) {
        if (is_there())
            return true;
        os_sleep_ms(10);
    }
    return false;
}

/* Waits until the depot holds no more than rounds; false after ten seconds. */
static bool
wait_for_depot(size_t rounds)
{
    for (int i = 0; i < 1000; i++) {
        umem_lock_acquire(&cache->cache_depot.depot_lock);
        bool done = cache->cache_depot.depot_rounds <= rounds;
        umem_lock_release(&cache->cache_depot.depot_lock);
        if (done)
            return true;
        os_sleep_ms(10);
    }
    return false;
}

static void
run_unused(void)
{
    setenv("UMEM_OPTIONS", "reap_thread,reap_interval=0", 1);
    fill(NULL);
    CHECK(comes_up());
    CHECK(wait_for_depot(0)); /* although nobody allocates */
    CHECK(verify_caches());
    umem_cache_destroy(cache);
    _exit(0);
}

/*
 * With the thread asleep for its interval, steps that would be due make none.
 * The thread sanitizer need not know that the option changes under its feet.
 */
__attribute__((no_sanitize("thread"))) static void
run_no_steps(void)
{
    setenv("UMEM_OPTIONS", "reap_thread", 1);
    umem_free(umem_alloc(8, UMEM_DEFAULT), 8);
    CHECK(comes_up());
    umem_options.opt_reap_interval_s = 0;
    fill(destruct);
    size_t rounds = cache->cache_depot.depot_rounds;
    CHECK(rounds > 0);
    for (int i = 0; i < 100; i++)
        CHECK(umem_update_if_due(cache) != 0); /* the time */
    CHECK(cache->cache_depot.depot_rounds == rounds && destroyed == 0);
    umem_reap();
    CHECK(destroyed == MANY);
    umem_cache_destroy(cache);
    _exit(0);
}

/* Destructors run on their own cache's way, never on the thread. */
static void
run_destructors(void)
{
    setenv("UMEM_OPTIONS", "reap_thread,reap_interval=0", 1);
    fill(destruct);
    for (int i = 0; i < 1000 && !cache->cache_update_left; i++)
        os_sleep_ms(10);
    CHECK(cache->cache_update_left);
    os_sleep_ms(100);
    CHECK(destroyed == 0);
    for (int i = 0; i < 1000 && destroyed == 0; i++) {
        (void)umem_update_if_due(cache);
        os_sleep_ms(10);
    }
    CHECK(destroyed > 0);
    _exit(0);
}

static void
run_fork(void)
{
    int status;

    setenv("UMEM_OPTIONS", "reap_thread,reap_interval=0", 1);
    fill(NULL);
    CHECK(comes_up());
    for (int k = 0; k < 10; k++) {
        os_sleep_ms((uint64_t)k);
        pid_t pid = fork();
        if (pid == 0) {
            alarm(20);
            CHECK(!is_there());
            fill(NULL);
            for (int i = 0; i < 1000 && cache->cache_depot.depot_rounds > 0; i++) {
                (void)umem_update_if_due(cache);
                os_sleep_ms(2);
            }
            CHECK(cache->cache_depot.depot_rounds == 0);
            CHECK(verify_caches());
            _exit(0);
        }
        CHECK(waitpid(pid, &status, 0) == pid);
        CHECK(status == 0);
    }
    _exit(0);
}

static void
run_without(void)
{
    unsetenv("UMEM_OPTIONS");
    fill(NULL);
    os_sleep_ms(10);
    CHECK(!is_there());
    umem_reaper_start(); /* not asked for */
    os_sleep_ms(10);
    CHECK(!is_there());
    _exit(0);
}

static void
test_runs(void **state)
{
    (void)state;
    assert_exits(run_without, NULL, 0);
    assert_exits(run_unused, NULL, 0);
    assert_exits(run_no_steps, NULL, 0);
    assert_exits(run_destructors, NULL, 0);
    assert_exits(run_unused, "default", 0);
}

static void
test_fork(void **state)
{
    (void)state;
    assert_exits(run_fork, NULL, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runs), /* children of an engine that sleeps */
        cmocka_unit_test(test_fork),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
