/* SPDX-License-Identifier: MIT */
/*
 * test_thread.c - stack_pthread_create(): ends of every kind give the stack
 * back, and none gives it back too early.
 */
#include "stacktest.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <time.h>

#define SIZE (64 * KIB)
#define STORM_THREADS 8
#define STORM_ROUNDS 300
#define WAIT_MS 10000
#define MS_NS 1000000

static size_t
used(void)
{
    struct stack_stats stats;
    assert_int_equal(stack_stats(&stats, sizeof(stats)), 0);
    return stats.stats_used_bytes / SIZE;
}

/* A thread that looks after what ended before: stacks of detached threads go back late. */
static void *
nothing(void *arg)
{
    return arg;
}

static void
pass_by(void)
{
    pthread_t id;
    void *result;
    assert_int_equal(stack_pthread_create(&id, NULL, SIZE, nothing, &id), 0);
    assert_int_equal(pthread_join(id, &result), 0);
    assert_ptr_equal(result, &id);
}

static void
wait_until_used(size_t count)
{
    const struct timespec ms = {0, MS_NS};
    for (int i = 0; i < WAIT_MS && used() != count; i++) {
        nanosleep(&ms, NULL);
        pass_by();
    }
    assert_int_equal(used(), count);
}

static void *
where(void *arg)
{
    struct stack_info info = {.info_base = NULL};
    (void)arg;
    return stack_info(&info, &info) == 0 && info.info_thread == gettid() ? info.info_base : NULL;
}

static void
test_joined_threads_share_a_stack(void **state)
{
    (void)state;
    void *first = NULL;
    for (int i = 0; i < 100; i++) {
        pthread_t id;
        void *base;
        assert_int_equal(stack_pthread_create(&id, NULL, SIZE, where, NULL), 0);
        assert_int_equal(pthread_join(id, &base), 0);
        assert_non_null(base);
        assert_true(first == NULL || first == base);
        first = base;
    }
    assert_int_equal(used(), 0);
}

/* Threads long over, not yet joined: their descriptors must stay what they are. */
static void
test_unjoined_threads_keep_theirs(void **state)
{
    (void)state;
    pthread_t ids[50];
    for (uintptr_t i = 0; i < 50; i++) {
        assert_int_equal(stack_pthread_create(&ids[i], NULL, SIZE, nothing, (void *)i), 0);
        if (i % 10 == 9)
            pass_by();
    }
    assert_int_equal(used(), 50);
    for (uintptr_t i = 0; i < 50; i++) {
        void *result;
        assert_int_equal(pthread_join(ids[i], &result), 0);
        assert_int_equal((uintptr_t)result, i);
    }
    assert_int_equal(used(), 0);
}

static sem_t go;

static void *
wait_for_go(void *arg)
{
    while (sem_wait(&go) != 0)
        continue;
    return arg;
}

static void *
by_exit(void *arg)
{
    pthread_exit(arg);
}

static void *
until_cancelled(void *arg)
{
    for (;;)
        pause();
    return arg;
}

static void *
detaches_itself(void *arg)
{
    pthread_detach(pthread_self());
    return arg;
}

static void
test_detached_threads(void **state)
{
    (void)state;
    pthread_attr_t attr;
    pthread_t ids[20];
    sem_init(&go, 0, 0);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    for (int i = 0; i < 10; i++)
        assert_int_equal(stack_pthread_create(&ids[i], &attr, SIZE, wait_for_go, NULL), 0);
    for (int i = 10; i < 20; i++) {
        assert_int_equal(stack_pthread_create(&ids[i], NULL, SIZE, wait_for_go, NULL), 0);
        assert_int_equal(pthread_detach(ids[i]), 0);
        assert_int_equal(pthread_detach(ids[i]), EINVAL);
    }
    pass_by();
    assert_int_equal(used(), 20);
    for (int i = 0; i < 20; i++)
        sem_post(&go);
    wait_until_used(0);
    pthread_t id;
    for (int i = 0; i < 20; i++)
        assert_int_equal(stack_pthread_create(&id, NULL, SIZE, detaches_itself, NULL), 0);
    for (int i = 0; i < 20; i++)
        assert_int_equal(stack_pthread_create(&id, &attr, SIZE, by_exit, NULL), 0);
    wait_until_used(0);
    /* Detached when it is long over. */
    assert_int_equal(stack_pthread_create(&id, NULL, SIZE, nothing, NULL), 0);
    usleep(20000);
    assert_int_equal(pthread_detach(id), 0);
    wait_until_used(0);
}

static void
test_exit_and_cancellation(void **state)
{
    (void)state;
    pthread_t id;
    void *result;
    assert_int_equal(stack_pthread_create(&id, NULL, SIZE, by_exit, &id), 0);
    assert_int_equal(pthread_join(id, &result), 0);
    assert_ptr_equal(result, &id);
    assert_int_equal(stack_pthread_create(&id, NULL, SIZE, until_cancelled, NULL), 0);
    assert_int_equal(pthread_cancel(id), 0);
    assert_int_equal(pthread_join(id, &result), 0);
    assert_ptr_equal(result, PTHREAD_CANCELED);
    assert_int_equal(used(), 0);
}

static void *
joins(void *arg)
{
    pthread_join(*(pthread_t *)arg, NULL);
    return NULL;
}

static void
test_joins_that_fail_change_nothing(void **state)
{
    (void)state;
    pthread_t id, joiner;
    struct timespec past = {0, 0};
    sem_init(&go, 0, 0);
    assert_int_equal(stack_pthread_create(&id, NULL, SIZE, wait_for_go, NULL), 0);
    assert_int_equal(pthread_tryjoin_np(id, NULL), EBUSY);
    assert_int_equal(pthread_timedjoin_np(id, NULL, &past), ETIMEDOUT);
#ifdef __GLIBC__
    assert_int_equal(pthread_clockjoin_np(id, NULL, CLOCK_MONOTONIC, &past), ETIMEDOUT);
#endif
    /* A join that is cancelled. */
    assert_int_equal(pthread_create(&joiner, NULL, joins, &id), 0);
    usleep(10000);
    pthread_cancel(joiner);
    assert_int_equal(pthread_join(joiner, NULL), 0);
    assert_int_equal(used(), 1);
    sem_post(&go);
    while (pthread_tryjoin_np(id, NULL) == EBUSY)
        sched_yield();
    assert_int_equal(used(), 0);
}

/*
 * A join can be over before the creation is: on one processor a real-time thread is through with
 * its work, and one that joins it too, before its creator goes on.
 */
static pthread_t told;

static void *
tells_who_it_is(void *arg)
{
    told = pthread_self();
    sem_post(&go);
    return arg;
}

static void *
joins_whom_it_is_told(void *joined)
{
    wait_for_go(NULL);
    CHECK(pthread_join(told, NULL) == 0);
    *(bool *)joined = true;
    return joined;
}

static void
real_time(pthread_attr_t *attr)
{
    const struct sched_param param = {.sched_priority = 1};
    pthread_attr_init(attr);
    pthread_attr_setinheritsched(attr, PTHREAD_EXPLICIT_SCHED);
    pthread_attr_setschedpolicy(attr, SCHED_FIFO);
    pthread_attr_setschedparam(attr, &param);
}

static void
child_joined_early(void *arg)
{
    (void)arg;
    pthread_attr_t attr;
    pthread_t id, joiner;
    cpu_set_t one;
    bool joined = false;
    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    sem_init(&go, 0, 0);
    real_time(&attr);
    if (sched_setaffinity(0, sizeof(one), &one) != 0 ||
        pthread_create(&joiner, &attr, joins_whom_it_is_told, &joined) != 0)
        _exit(CHILD_SKIP); /* not allowed to this user */
    CHECK(stack_pthread_create(&id, &attr, SIZE, tells_who_it_is, NULL) == 0);
    if (!joined)
        _exit(CHILD_SKIP); /* it went on first */
    CHECK(pthread_join(joiner, NULL) == 0);
    CHECK(stack_pthread_create(&id, NULL, SIZE, nothing, NULL) == 0);
    CHECK(pthread_join(id, NULL) == 0);
    CHECK(used() == 0);
}

static void
test_joined_before_it_is_created(void **state)
{
    (void)state;
    must_succeed(child_joined_early, NULL);
}

struct seen {
    sigset_t mask;
    cpu_set_t cpus;
    size_t size;
    int state;
};

static void *
look(void *arg)
{
    struct seen *seen = arg;
    pthread_attr_t attr;
    void *base;
    pthread_sigmask(SIG_BLOCK, NULL, &seen->mask);
    sched_getaffinity(0, sizeof(seen->cpus), &seen->cpus);
    pthread_getattr_np(pthread_self(), &attr);
    pthread_attr_getstack(&attr, &base, &seen->size);
    pthread_attr_getdetachstate(&attr, &seen->state);
    pthread_attr_destroy(&attr);
    return where(NULL) == base ? seen : NULL;
}

static void
test_attributes_hold(void **state)
{
    (void)state;
    pthread_attr_t attr;
    pthread_t id;
    void *result;
    struct seen seen = {.size = 0};
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, MIB);
#ifdef __GLIBC__
    cpu_set_t cpus, one;
    sigset_t mask;
    sched_getaffinity(0, sizeof(cpus), &cpus);
    size_t cpu = 0;
    while (!CPU_ISSET(cpu, &cpus))
        cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR2);
    pthread_attr_setaffinity_np(&attr, sizeof(one), &one);
    pthread_attr_setsigmask_np(&attr, &mask);
#endif
    assert_int_equal(stack_pthread_create(&id, &attr, SIZE, look, &seen), 0);
    assert_int_equal(pthread_join(id, &result), 0);
    assert_ptr_equal(result, &seen);
    assert_int_equal(seen.size, SIZE);
    assert_int_equal(seen.state, PTHREAD_CREATE_JOINABLE);
#ifdef __GLIBC__
    assert_true(CPU_EQUAL(&seen.cpus, &one));
    assert_true(sigismember(&seen.mask, SIGUSR2));
#endif
    /* The caller's are as they were, and can be used again. */
    size_t size;
    pthread_attr_getstacksize(&attr, &size);
    assert_int_equal(size, MIB);
    assert_int_equal(pthread_attr_destroy(&attr), 0);
}

static void *
frees_what_it_stands_on(void *arg)
{
    struct stack_info info = {0};
    CHECK(stack_info(&info, &info) == 0);
    CHECK(is_refused(info.info_base, info.info_size));
    CHECK(stack_free_deferred(info.info_base, info.info_size) == -1 && errno == EINVAL);
    atomic_store((_Atomic(void *) *)arg, info.info_base);
    wait_for_go(NULL);
    return NULL;
}

/* The stack of a thread that the library made is the library's to free. */
static void
child_frees_of_threads(void *arg)
{
    (void)arg;
    pthread_t id;
    _Atomic(void *) stack = NULL;
    sem_init(&go, 0, 0);
    CHECK(stack_pthread_create(&id, NULL, SIZE, frees_what_it_stands_on, &stack) == 0);
    while (atomic_load(&stack) == NULL)
        sched_yield();
    CHECK(is_refused(stack, SIZE));
    sem_post(&go);
    CHECK(pthread_join(id, NULL) == 0);
    CHECK(is_refused(stack, SIZE)); /* it is back */
    CHECK(stack_alloc(SIZE) == stack && stack_free(stack, SIZE) == 0 && used() == 0);
}

static void
test_stacks_of_threads_are_not_freed(void **state)
{
    (void)state;
    must_succeed(child_frees_of_threads, NULL);
}

static void
test_errors(void **state)
{
    (void)state;
    pthread_t id;
    pthread_attr_t attr;
    assert_int_equal(stack_pthread_create(&id, NULL, 0, nothing, NULL), EINVAL);
    assert_int_equal(stack_pthread_create(&id, NULL, 48 * KIB, nothing, NULL), EINVAL);
    assert_int_equal(stack_pthread_create(&id, NULL, 4 * MIB, nothing, NULL), EINVAL);
#ifdef __GLIBC__
    /* What pthread_create() refuses costs no stack. */
    cpu_set_t none;
    CPU_ZERO(&none);
    pthread_attr_init(&attr);
    pthread_attr_setaffinity_np(&attr, sizeof(none), &none);
    assert_int_equal(stack_pthread_create(&id, &attr, SIZE, nothing, NULL), EINVAL);
    pthread_attr_destroy(&attr);
#endif
    (void)attr;
    assert_int_equal(used(), 0);
}

static void
child_of_fork(void *arg)
{
    (void)arg;
    /* Its only thread is this one: the others' stacks come back. */
    pthread_t id;
    CHECK(stack_pthread_create(&id, NULL, SIZE, nothing, NULL) == 0);
    CHECK(pthread_join(id, NULL) == 0);
    CHECK(used() == 0);
}

static void *
forks(void *arg)
{
    (void)arg;
    int status = run_child(child_of_fork, NULL);
    return (void *)(intptr_t)status;
}

static void
test_fork(void **state)
{
    (void)state;
    pthread_t ids[5];
    sem_init(&go, 0, 0);
    for (int i = 0; i < 5; i++)
        assert_int_equal(stack_pthread_create(&ids[i], NULL, SIZE, wait_for_go, NULL), 0);
    assert_int_equal((intptr_t)forks(NULL), 0);
    for (int i = 0; i < 5; i++) {
        sem_post(&go);
    }
    for (int i = 0; i < 5; i++)
        assert_int_equal(pthread_join(ids[i], NULL), 0);
    assert_int_equal(used(), 0);
}

/* Threads of all kinds that make threads of all kinds; each writes over much of its stack. */
static void *
leaf(void *arg)
{
    volatile char frame[16 * KIB];
    for (size_t i = 0; i < sizeof(frame); i += 512)
        frame[i] = (char)i;
    if ((uintptr_t)arg % 3 == 0)
        pthread_exit(arg);
    if ((uintptr_t)arg % 5 == 0)
        pthread_detach(pthread_self());
    return arg;
}

static void *
storm(void *arg)
{
    for (uintptr_t i = 0; i < STORM_ROUNDS; i++) {
        pthread_t id;
        void *result;
        CHECK(stack_pthread_create(&id, NULL, SIZE, leaf, (void *)i) == 0);
        if (i % 3 != 0 && i % 5 == 0)
            continue;
        if (i % 7 == 0) {
            pthread_detach(id);
        } else {
            CHECK(pthread_join(id, &result) == 0);
            CHECK((uintptr_t)result == i);
        }
    }
    return arg;
}

static void
test_storm(void **state)
{
    (void)state;
    pthread_t ids[STORM_THREADS];
    for (int i = 0; i < STORM_THREADS; i++)
        assert_int_equal(stack_pthread_create(&ids[i], NULL, SIZE, storm, NULL), 0);
    for (int i = 0; i < STORM_THREADS; i++)
        assert_int_equal(pthread_join(ids[i], NULL), 0);
    wait_until_used(0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_joined_threads_share_a_stack),
        cmocka_unit_test(test_unjoined_threads_keep_theirs),
        cmocka_unit_test(test_detached_threads),
        cmocka_unit_test(test_exit_and_cancellation),
        cmocka_unit_test(test_joins_that_fail_change_nothing),
        cmocka_unit_test(test_joined_before_it_is_created),
        cmocka_unit_test(test_attributes_hold),
        cmocka_unit_test(test_stacks_of_threads_are_not_freed),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_storm),
    };
    return cmocka_run_group_tests_name("stackalloc/thread", tests, NULL, NULL);
}
