/* SPDX-License-Identifier: MIT */
/*
 * test_fault.c - alternate stacks of the fault handler: who gets one, that it
 * is guarded, and given back.  What the handler says is in tests/death.
 */
#include "stacktest.h"

#include <pthread.h>

static int
count_alternates(const struct stack_info *info, void *arg)
{
    *(int *)arg += info->info_state == STACK_IS_USED && strcmp(info->info_name, "signals") == 0;
    return 0;
}

static int
alternates(void)
{
    int n = 0;
    stack_foreach(count_alternates, &n);
    return n;
}

static void *
plain_thread(void *arg)
{
    stack_t now;
    struct stack_info info;
    CHECK(stack_fault_thread_init() == 0);
    CHECK(stack_fault_thread_init() == 0); /* twice is as once */
    CHECK(sigaltstack(NULL, &now) == 0 && !(now.ss_flags & SS_DISABLE));
    CHECK(stack_info(now.ss_sp, &info) == 0 && info.info_size == now.ss_size);
    CHECK(is_refused(now.ss_sp, now.ss_size)); /* the library's to free */
    CHECK(alternates() == 2);
    return arg;
}

static void *
own_thread(void *arg)
{
    static char own[64 * 1024];
    stack_t mine = {.ss_sp = own, .ss_size = sizeof(own)}, now;
    CHECK(sigaltstack(&mine, NULL) == 0);
    CHECK(stack_fault_thread_init() == 0);
    CHECK(sigaltstack(NULL, &now) == 0 && now.ss_sp == own);
    return arg;
}

static void *
noted_thread(void *stack)
{
    struct stack_info info;
    CHECK(stack_fault_thread_init() == 0);
    CHECK(stack_info(stack, &info) == 0);
    CHECK(info.info_thread == gettid());
    CHECK((char *)info.info_start >= (char *)(uintptr_t)noted_thread &&
          (char *)info.info_start < (char *)(uintptr_t)noted_thread + 1024);
    return NULL;
}

/* Of stack_pthread_create(): nothing to be called. */
static void *
created_thread(void *arg)
{
    stack_t now;
    struct stack_info info;
    CHECK(sigaltstack(NULL, &now) == 0 && !(now.ss_flags & SS_DISABLE));
    CHECK(stack_info(now.ss_sp, &info) == 0 && strcmp(info.info_name, "signals") == 0);
    CHECK(stack_info(&now, &info) == 0 && info.info_thread == gettid());
    CHECK(info.info_start == (void *)(uintptr_t)created_thread);
    return arg;
}

static void
created_with_alternate(void *arg)
{
    pthread_t thread;
    (void)arg;
    CHECK(stack_fault_handler_install() == 0);
    CHECK(stack_pthread_create(&thread, NULL, 64 * KIB, created_thread, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(alternates() == 1);
}

static void
test_threads_of_the_library_have_one(void **state)
{
    (void)state;
    if (!SANITIZED)
        must_succeed(created_with_alternate, NULL);
}

static void
run(void *(*fn)(void *), void *stack, size_t size)
{
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
    if (stack != NULL)
        CHECK(pthread_attr_setstack(&attr, stack, size) == 0);
    CHECK(pthread_create(&thread, &attr, fn, stack) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    pthread_attr_destroy(&attr);
}

static void
alternate_stacks(void *arg)
{
    (void)arg;
    CHECK(stack_fault_thread_init() == -1 && errno == EINVAL);
    CHECK(stack_fault_handler_install() == 0);
    CHECK(stack_fault_handler_install() == 0);
    CHECK(alternates() == 1);
    run(plain_thread, NULL, 0);
    CHECK(alternates() == 1); /* given back */
    run(own_thread, NULL, 0);
    CHECK(alternates() == 1);
    char *stack = stack_alloc(256 * KIB);
    run(noted_thread, stack, 256 * KIB);
    CHECK(stack_free(stack, 256 * KIB) == 0);
}

static void
test_alternate_stacks(void **state)
{
    (void)state;
    if (!SANITIZED) /* they have alternate stacks of their own */
        must_succeed(alternate_stacks, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alternate_stacks),
        cmocka_unit_test(test_threads_of_the_library_have_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
