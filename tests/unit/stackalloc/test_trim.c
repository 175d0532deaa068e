/* SPDX-License-Identifier: MIT */
/*
 * test_trim.c - stack_trim(), and classes that keep little or nothing for long:
 * how many stacks stay hot, what is told of the cold ones, and that they are
 * stacks again when they are wanted.
 */
#include "stacktest.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#define STACK (64 * KIB)
#define COUNT 200
/* What this thread's magazines may hold, and what comes between two looks of a class. */
#define IN_MAGAZINES 4
#define BETWEEN_LOOKS 16
#define IDLE_MS 20
#define ROUNDED_KIB 1024 /* the kernel counts pages for each processor, and adds later */

static const enum stack_backend backends[] = {STACK_BACKEND_MPROTECT, STACK_BACKEND_REGIONS};
static char *stacks[COUNT];

static void
configure(struct stack_config config)
{
    if (stack_config(STACK, &config, sizeof(config)) != 0)
        _exit(CHILD_SKIP);
}

static void
take_and_free(size_t n)
{
    for (size_t i = 0; i < n; i++)
        CHECK((stacks[i] = stack_alloc(STACK)) != NULL);
    for (size_t i = 0; i < n; i++)
        CHECK(stack_free(stacks[i], STACK) == 0);
}

static size_t
cached(void)
{
    struct stack_stats stats;
    CHECK(stack_stats(&stats, sizeof(stats)) == 0);
    return stats.stats_class[1].class_cached;
}

static size_t
cold_told(void)
{
    size_t cold = 0;
    for (size_t i = 0; i < COUNT; i++) {
        struct stack_info info;
        cold += stack_info(stacks[i], &info) == 0 && info.info_state == STACK_IS_COLD &&
                info.info_base == stacks[i];
    }
    return cold;
}

static int
count_one(const struct stack_info *info, void *arg)
{
    CHECK(info->info_state != STACK_IS_COLD);
    (*(size_t *)arg)++;
    return 0;
}

static void
child_trim(void *arg)
{
    struct stack_stats stats;
    configure((struct stack_config){.config_backend = *(enum stack_backend *)arg});
    CHECK(stack_trim(STACK, 0) == 0);
    CHECK(stack_trim(1, 0) == -1 && errno == EINVAL);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < COUNT; i++) {
            CHECK((stacks[i] = stack_alloc(STACK)) != NULL);
            CHECK(resident_pages(stacks[i], STACK) == STACK / PAGE);
            CHECK(!is_readable(stacks[i] - 1) && !is_readable(stacks[i] + STACK));
            memset(stacks[i], 1, STACK);
        }
        long full = status_kib("RssAnon:");
        for (size_t i = 0; i < COUNT; i++)
            CHECK(stack_free(stacks[i], STACK) == 0);
        ssize_t gone = stack_trim(STACK, 20);
        CHECK(gone <= COUNT - 20 && gone >= COUNT - 20 - IN_MAGAZINES);
        CHECK(full - status_kib("RssAnon:") + ROUNDED_KIB >= gone * (long)(STACK / KIB));
        CHECK(cached() == COUNT - (size_t)gone);
        size_t walked = 0, cold = cold_told();
        CHECK(stack_foreach(count_one, &walked) == 0 && walked == COUNT - (size_t)gone);
        CHECK(stack_stats(&stats, sizeof(stats)) == 0);
        /* Some spans are gone, with their stacks; the others tell. */
        CHECK(cold > 0 && cold < (size_t)gone && stats.stats_class_cold[1] >= cold);
        CHECK(stats.stats_cold_bytes == stats.stats_class_cold[1] * STACK);
        for (size_t i = 0; i < COUNT; i++)
            CHECK(is_refused(stacks[i], STACK));
    }
    CHECK(stack_trim(0, 0) >= 20);
    CHECK(cached() == 0 && cold_told() == 0);
}

static void
child_bound(void *arg)
{
    (void)arg;
    configure((struct stack_config){.config_cache_bytes = 30 * STACK});
    for (int round = 0; round < 3; round++) {
        take_and_free(COUNT);
        CHECK(cached() >= 30 && cached() <= 30 + BETWEEN_LOOKS + IN_MAGAZINES);
    }
}

static long
now_ms(void)
{
    struct timespec t;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void
child_idle(void *arg)
{
    (void)arg;
    configure((struct stack_config){.config_idle_ms = IDLE_MS});
    long start = now_ms();
    take_and_free(COUNT);
    CHECK(cached() == COUNT || now_ms() - start >= IDLE_MS); /* a busy machine took its time */
    /* One is used again and again: that stays, the others go in a while. */
    char *used = stack_alloc(STACK);
    for (int i = 0; i < 2000 && cached() > 1 + BETWEEN_LOOKS; i++) {
        for (int k = 0; k < BETWEEN_LOOKS; k++) {
            CHECK(stack_free(used, STACK) == 0);
            CHECK(stack_alloc(STACK) == used);
        }
        usleep(5000);
    }
    CHECK(cached() <= 1 + BETWEEN_LOOKS);
}

static void
child_not_now(void *arg)
{
    (void)arg;
    configure((struct stack_config){.config_cache_bytes = 10 * STACK});
    CHECK(stack_reserve(STACK, COUNT) == 0);
    take_and_free(COUNT);
    CHECK(stack_trim(0, 0) == 0 && cached() >= COUNT);
    CHECK(stack_seal() == 0);
    CHECK(stack_trim(0, 0) == -1 && errno == EBUSY);
    take_and_free(COUNT);
    CHECK(cached() >= COUNT && stack_unseal() == 0 && stack_reserve(STACK, 0) == 0);
    struct sched_param param = {.sched_priority = 1};
    if (sched_setscheduler(0, SCHED_FIFO, &param) != 0)
        _exit(CHILD_SKIP);
    CHECK(stack_trim(STACK, 0) == -1 && errno == EPERM);
    take_and_free(COUNT);
    CHECK(cached() >= COUNT);
    param.sched_priority = 0;
    CHECK(sched_setscheduler(0, SCHED_OTHER, &param) == 0);
    take_and_free(COUNT);
    CHECK(cached() <= 10 + BETWEEN_LOOKS + IN_MAGAZINES);
}

static _Atomic bool over;

/* What a thread has nobody else has, whatever is trimmed meanwhile. */
static void *
use_some(void *arg)
{
    enum { SOME = 24 };
    char mark = *(char *)arg, *mine[SOME];
    for (int round = 0; round < 300; round++) {
        for (int i = 0; i < SOME; i++) {
            CHECK((mine[i] = stack_alloc(STACK)) != NULL);
            memset(mine[i], mark, PAGE);
            mine[i][STACK - 1] = mark;
        }
        for (int i = 0; i < SOME; i++) {
            for (size_t k = 0; k < PAGE; k += 64)
                CHECK(mine[i][k] == mark);
            CHECK(mine[i][STACK - 1] == mark && stack_free(mine[i], STACK) == 0);
        }
    }
    return NULL;
}

static void *
trim_all_the_time(void *arg)
{
    struct stack_stats stats;
    for (size_t keep = 0; !over; keep = (keep + 7) % 40) {
        CHECK(stack_trim(0, keep) >= 0);
        CHECK(stack_stats(&stats, sizeof(stats)) == 0);
    }
    return arg;
}

static void
child_threads(void *arg)
{
    enum { THREADS = 3 };
    pthread_t user[THREADS], trimmer;
    char marks[THREADS] = {1, 2, 3};
    configure((struct stack_config){.config_backend = *(enum stack_backend *)arg,
                                    .config_cache_bytes = 20 * STACK,
                                    .config_idle_ms = 1,
                                    .config_scrub = STACK_SCRUB_USED});
    over = false;
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&user[i], NULL, use_some, &marks[i]) == 0);
    CHECK(pthread_create(&trimmer, NULL, trim_all_the_time, NULL) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(user[i], NULL) == 0);
    over = true;
    CHECK(pthread_join(trimmer, NULL) == 0);
}

static void
test_threads(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(backends) / sizeof(backends[0]); i++)
        must_succeed(child_threads, (void *)&backends[i]);
}

static void
test_trim(void **state)
{
    (void)state;
    if (SANITIZED)
        skip();
    for (size_t i = 0; i < sizeof(backends) / sizeof(backends[0]); i++)
        must_succeed(child_trim, (void *)&backends[i]);
}

static void
test_bound(void **state)
{
    (void)state;
    must_succeed(child_bound, NULL);
}

static void
test_idle(void **state)
{
    (void)state;
    must_succeed(child_idle, NULL);
}

static void
test_neither_reserved_nor_real_time(void **state)
{
    (void)state;
    must_succeed(child_not_now, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trim),    cmocka_unit_test(test_bound),
        cmocka_unit_test(test_idle),    cmocka_unit_test(test_neither_reserved_nor_real_time),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests_name("stackalloc/trim", tests, NULL, NULL);
}
