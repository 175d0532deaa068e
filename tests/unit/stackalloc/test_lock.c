/* SPDX-License-Identifier: MIT */
/*
 * test_lock.c - stacks under mlockall(): what is locked, what is charged, what
 * RLIMIT_MEMLOCK does, and that a thread on such a stack faults nothing.
 */
#include "stacktest.h"

#include <grp.h>
#include <pthread.h>
#include <umem.h>

#define NOBODY 65534
#define USUAL_LIMIT (8 * MIB) /* RLIMIT_MEMLOCK of a plain user */
/*
 * Beside its body, a stack may cost locked memory for the tables of this
 * library and of the engine; and where one is built for a size for the first
 * time, for a slab's record and a thread's magazines.
 */
#define TABLES_KIB 512

static void
lock_all(int flags)
{
    /* A sanitizer's mlockall() does nothing; else: neither root nor a limit that allows it. */
    if (SANITIZED || mlockall(flags) != 0)
        _exit(CHILD_SKIP);
}

#define ENOUGH (96 * MIB) /* more than any of these tests locks */

/* Skips where the limit, rather than the library, would decide. */
static void
lock_all_with_room(int flags)
{
    lock_all(flags | MCL_FUTURE);
    void *room = mmap(NULL, ENOUGH, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED)
        _exit(CHILD_SKIP);
    munmap(room, ENOUGH);
}

static void
check_locked(char *stack, size_t size)
{
    CHECK(resident_pages(stack, size) == size / PAGE);
    CHECK(locked_pages(stack, size) == size / PAGE);
    CHECK(!is_readable(stack - 1) && !is_readable(stack + size));
    long before = thread_faults();
    for (size_t k = 0; k < size; k += PAGE)
        *(volatile char *)(stack + k) = 1;
    CHECK(thread_faults() == before);
}

static void
child_built_after(void *arg)
{
    lock_all_with_room(*(int *)arg);
    FOR_SIZES(size)
    for (int i = 0; i < 6; i++) {
        long before = status_kib("VmLck:");
        char *stack = stack_alloc(size);
        CHECK(stack != NULL);
        long grown = status_kib("VmLck:") - before;
        CHECK(grown >= (long)(size / KIB));
        CHECK(grown <= (long)(size / KIB) + TABLES_KIB);
        check_locked(stack, size);
    }
    /* With the tables in place a stack is charged its body: no guard, no rest of a slab. */
    long before = status_kib("VmLck:");
    for (int i = 0; i < 8; i++)
        CHECK(stack_alloc(2 * MIB) != NULL);
    long grown = status_kib("VmLck:") - before;
    CHECK(grown >= 16 * 1024 && grown <= 16 * 1024 + TABLES_KIB);
}

static void
test_built_after_mlockall(void **state)
{
    (void)state;
    const int modes[] = {MCL_CURRENT | MCL_FUTURE, MCL_FUTURE,
                         MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT};
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        int mode = modes[i];
        must_succeed(child_built_after, &mode);
    }
}

/* Slabs that were mapped before hold stacks that are built after. */
static void
child_built_before(void *arg)
{
    int mode = *(int *)arg;
    char *used[SIZES];
    for (size_t s = 0; s < SIZES; s++) {
        void *other = stack_alloc(all_sizes[s]);
        CHECK((used[s] = stack_alloc(all_sizes[s])) != NULL);
        CHECK(stack_free(other, all_sizes[s]) == 0);
        CHECK(locked_pages(used[s], all_sizes[s]) == 0);
    }
    lock_all_with_room(mode);
    for (size_t s = 0; s < SIZES; s++) {
        if (mode & MCL_CURRENT) {
            check_locked(used[s], all_sizes[s]);
            char *cached = stack_alloc(all_sizes[s]);
            CHECK(cached != NULL);
            check_locked(cached, all_sizes[s]);
        } else {
            CHECK(stack_alloc(all_sizes[s]) != NULL);
        }
        for (int i = 0; i < 10; i++) {
            char *fresh = stack_alloc(all_sizes[s]);
            CHECK(fresh != NULL);
            check_locked(fresh, all_sizes[s]);
        }
    }
    CHECK(munlockall() == 0);
    for (int i = 0; i < 40; i++) {
        char *stack = stack_alloc(32 * KIB);
        CHECK(resident_pages(stack, 32 * KIB) == 32 * KIB / PAGE);
        CHECK(locked_pages(stack, 32 * KIB) == 0);
    }
}

static void
test_built_before_mlockall(void **state)
{
    (void)state;
    const int modes[] = {MCL_CURRENT | MCL_FUTURE, MCL_FUTURE};
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        int mode = modes[i];
        must_succeed(child_built_before, &mode);
    }
}

/* As a plain user with room for `room` more bytes of locked memory. */
static void
become_limited(size_t room)
{
    struct rlimit limit = {room, room};
    if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0)
        _exit(CHILD_SKIP);
    if (geteuid() == 0)
        CHECK(setgroups(0, NULL) == 0 && setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
    lock_all(MCL_FUTURE);
}

static void
child_limit(void *arg)
{
    size_t size = *(size_t *)arg;
    long writable = status_kib("VmData:");
    become_limited(USUAL_LIMIT);
    enum { MOST = USUAL_LIMIT / (32 * 1024) };
    static char *stacks[MOST + 1];
    size_t n = 0;
    while ((stacks[n] = stack_alloc(size)) != NULL) {
        n++;
        CHECK(n <= MOST);
    }
    CHECK(errno == EAGAIN);
    /* Nothing but bodies and tables is charged: guards and slabs are not. */
    CHECK(n * size <= USUAL_LIMIT);
    CHECK(n * size + size + 2 * TABLES_KIB * KIB > USUAL_LIMIT);
    for (size_t i = 0; i < n; i++)
        check_locked(stacks[i], size);
    /* Nothing leaks by failing. */
    long locked = status_kib("VmLck:"), space = status_kib("VmSize:");
    for (int i = 0; i < 500; i++) {
        errno = 0;
        CHECK(stack_alloc(size) == NULL && errno == EAGAIN);
    }
    CHECK(status_kib("VmLck:") == locked);
    CHECK(status_kib("VmSize:") <= space + 1024);
    /* Nor does a body stay open that could not be locked. */
    CHECK(status_kib("VmData:") - writable < (long)((n * size) / KIB) + 2 * TABLES_KIB);
    /* Another size, as long as it does not fit either. */
    if (size < 2 * MIB)
        CHECK(stack_alloc(2 * MIB) == NULL && errno == EAGAIN);
    for (size_t i = 0; i < n; i++)
        CHECK(stack_free(stacks[i], size) == 0);
    for (size_t i = 0; i < n; i++)
        CHECK((stacks[i] = stack_alloc(size)) != NULL);
    CHECK(stack_alloc(size) == NULL && errno == EAGAIN);
}

static void
test_memlock_limit_is_eagain(void **state)
{
    (void)state;
    if (SANITIZED)
        skip();
    FOR_SIZES(size)
    must_succeed(child_limit, &size);
}

static void
child_no_limit_left(void *arg)
{
    (void)arg;
    /* Room for the C library's own wants, none for a table of ours. */
    become_limited(PAGE);
    FOR_SIZES(size)
    for (int i = 0; i < 20; i++) {
        errno = 0;
        CHECK(stack_alloc(size) == NULL && errno == EAGAIN);
    }
    CHECK(munlockall() == 0);
    FOR_SIZES(size)
    CHECK(stack_alloc(size) != NULL);
}

static void
test_first_call_at_the_limit(void **state)
{
    (void)state;
    if (SANITIZED)
        skip();
    must_succeed(child_no_limit_left, NULL);
}

/* Locked memory that the cache gives back may be used for another size. */
static void
child_reap_unlocks(void *arg)
{
    (void)arg;
    become_limited(USUAL_LIMIT);
    enum { MOST = 64 };
    char *stacks[MOST];
    size_t n = 0;
    while (n < MOST && (stacks[n] = stack_alloc(256 * KIB)) != NULL)
        n++;
    CHECK(n >= 20 && n < MOST && errno == EAGAIN);
    long full = status_kib("VmLck:");
    for (size_t i = 0; i < n; i++)
        CHECK(stack_free(stacks[i], 256 * KIB) == 0);
    umem_reap();
    umem_reap();
    CHECK(status_kib("VmLck:") <= full - 3 * 1024);
    CHECK(stack_alloc(2 * MIB) != NULL);
}

static void
test_reap_unlocks(void **state)
{
    (void)state;
    if (SANITIZED)
        skip();
    must_succeed(child_reap_unlocks, NULL);
}

struct run {
    size_t size;
    long faults_at_start;
    long faults;
    uintptr_t deepest;
};

static uintptr_t
touch_down(size_t bytes)
{
    volatile char frame[2048];
    for (size_t i = 0; i < sizeof(frame); i += 512)
        frame[i] = (char)i;
    uintptr_t deepest =
        bytes > 2 * sizeof(frame) ? touch_down(bytes - sizeof(frame)) : (uintptr_t)frame;
    frame[0] = 1;
    return deepest;
}

static void *
stack_user(void *arg)
{
    struct run *run = arg;
    run->faults_at_start = thread_faults();
    /* The C library keeps thread-local storage and its descriptor at the top. */
    run->deepest = touch_down(run->size * 2 / 3);
    run->faults = thread_faults();
    return NULL;
}

static void
child_threads(void *arg)
{
    (void)arg;
    lock_all_with_room(MCL_CURRENT);
    FOR_SIZES(size)
    for (int i = 0; i < 20; i++) {
        struct run run = {.size = size};
        char *stack = stack_alloc(size);
        CHECK(stack != NULL);
        pthread_attr_t attr;
        pthread_t thread;
        CHECK(pthread_attr_init(&attr) == 0);
        CHECK(pthread_attr_setstack(&attr, stack, size) == 0);
        CHECK(pthread_create(&thread, &attr, stack_user, &run) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
        CHECK(run.deepest >= (uintptr_t)stack && run.deepest < (uintptr_t)stack + size / 2);
        CHECK(run.faults_at_start == 0);
        CHECK(run.faults == 0);
        CHECK(stack_free(stack, size) == 0);
    }
}

static void
test_a_thread_faults_nothing(void **state)
{
    (void)state;
    if (SANITIZED)
        skip();
    must_succeed(child_threads, NULL);
}

static void
child_fork_unlocked(void *arg)
{
    char *stack = *(char **)arg;
    /* Locks are not inherited; the stack is, guards and all. */
    CHECK(locked_pages(stack, 128 * KIB) == 0);
    CHECK(!is_readable(stack - 1) && !is_readable(stack + 128 * KIB));
    memset(stack, 1, 128 * KIB);
    CHECK(stack_free(stack, 128 * KIB) == 0);
    CHECK(stack_alloc(128 * KIB) == stack);
    lock_all(MCL_CURRENT | MCL_FUTURE);
    check_locked(stack, 128 * KIB);
}

static void
child_fork(void *arg)
{
    (void)arg;
    lock_all(MCL_CURRENT | MCL_FUTURE);
    char *stack = stack_alloc(128 * KIB);
    CHECK(stack != NULL);
    int status = run_child(child_fork_unlocked, &stack);
    CHECK(status == 0);
    CHECK(locked_pages(stack, 128 * KIB) == 128 * KIB / PAGE);
}

static void
test_fork_of_a_locked_process(void **state)
{
    (void)state;
    must_succeed(child_fork, NULL);
}

struct need {
    size_t need_size, need_count;
    enum stack_backend need_backend;
};

/* What was told is enough, and not much more than what it takes. */
static void
child_need(void *arg)
{
    const struct need *need = arg;
    struct stack_config config = {.config_backend = need->need_backend};
    if (stack_config(need->need_size, &config, sizeof(config)) != 0 || getuid() != 0)
        _exit(CHILD_SKIP);
    size_t bytes = stack_memlock_need(need->need_size, need->need_count);
    lock_all(MCL_FUTURE);
    rlim_t limit = (rlim_t)status_kib("VmLck:") * KIB + bytes;
    struct rlimit told = {limit, limit};
    CHECK(setrlimit(RLIMIT_MEMLOCK, &told) == 0 && setuid(NOBODY) == 0);
    size_t n = 0;
    while (stack_alloc(need->need_size) != NULL)
        n++;
    CHECK(errno == EAGAIN && n >= need->need_count);
    CHECK(n <= need->need_count + need->need_count / 2 + 2 * MIB / need->need_size);
}

static void
test_need_is_told(void **state)
{
    (void)state;
    const struct need needs[] = {{32 * KIB, 100, STACK_BACKEND_AUTO},
                                 {256 * KIB, 10, STACK_BACKEND_MPROTECT},
                                 {64 * KIB, 70, STACK_BACKEND_REGIONS},
                                 {MIB, 1, STACK_BACKEND_AUTO}};
    for (size_t i = 0; i < sizeof(needs) / sizeof(needs[0]); i++)
        must_succeed(child_need, (void *)&needs[i]);
    /* At the end, as it fixes what a child would choose. */
    errno = 0;
    assert_true(stack_memlock_need(1, 1) == 0 && errno == EINVAL);
    assert_true(stack_memlock_need(32 * KIB, SIZE_MAX / 2) == SIZE_MAX);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_built_after_mlockall),
        cmocka_unit_test(test_built_before_mlockall),
        cmocka_unit_test(test_memlock_limit_is_eagain),
        cmocka_unit_test(test_first_call_at_the_limit),
        cmocka_unit_test(test_reap_unlocks),
        cmocka_unit_test(test_a_thread_faults_nothing),
        cmocka_unit_test(test_fork_of_a_locked_process),
        cmocka_unit_test(test_need_is_told),
    };
    return cmocka_run_group_tests_name("stackalloc/lock", tests, NULL, NULL);
}
