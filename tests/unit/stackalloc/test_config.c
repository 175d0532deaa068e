/* SPDX-License-Identifier: MIT */
/*
 * test_config.c - stack_config(): what it refuses, and stacks that are made as
 * it says: guards of any width in each backend, locked or not, where the
 * system has no guard regions, and more of them than mappings.
 */
#include "stacktest.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <umem.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

static const enum stack_backend backends[] = {STACK_BACKEND_AUTO, STACK_BACKEND_MPROTECT,
                                              STACK_BACKEND_REGIONS};

static void
configure(size_t stack_size, struct stack_config config)
{
    int result = stack_config(stack_size, &config, sizeof(config));
    if (result != 0 && errno == ENOTSUP)
        _exit(CHILD_SKIP);
    CHECK(result == 0);
}

static bool
is_guarded(char *stack, size_t size, size_t low, size_t high)
{
    return is_readable(stack) && is_readable(stack + size - 1) && !is_readable(stack - 1) &&
           !is_readable(stack - low) && !is_readable(stack + size) &&
           !is_readable(stack + size + high - 1);
}

/* Whoever inherits stacks inherits their guards. */
static void
child_inherits(void *backend)
{
    enum { COUNT = 10 };
    char *stacks[COUNT];
    configure(64 * KIB, (struct stack_config){.config_backend = *(enum stack_backend *)backend});
    for (int i = 0; i < COUNT; i++)
        CHECK((stacks[i] = stack_alloc(64 * KIB)) != NULL);
    pid_t pid = fork();
    if (pid == 0) {
        for (int i = 0; i < COUNT; i++)
            CHECK(is_guarded(stacks[i], 64 * KIB, PAGE, PAGE));
        for (int i = 0; i < COUNT; i += 2)
            CHECK(stack_free(stacks[i], 64 * KIB) == 0);
        CHECK(stack_trim(64 * KIB, 0) > 0);
        for (int i = 0; i < COUNT; i++) {
            char *own = stack_alloc(64 * KIB);
            CHECK(own != NULL && is_guarded(own, 64 * KIB, PAGE, PAGE));
        }
        _exit(0);
    }
    int status;
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
}

static void
test_guards_are_inherited(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(backends) / sizeof(backends[0]); i++)
        must_succeed(child_inherits, (void *)(uintptr_t)&backends[i]);
}

static void
child_refused(void *arg)
{
    (void)arg;
    struct {
        struct stack_config config;
        size_t later;
    } wide = {.later = 0};
    struct stack_config *config = &wide.config;
    CHECK(stack_config(1, config, sizeof(*config)) == -1 && errno == EINVAL);
    CHECK(stack_config(64 * KIB, config, 0) == -1 && errno == EINVAL);
    CHECK(stack_config(64 * KIB, config, sizeof(wide)) == 0);
    wide.later = 1;
    CHECK(stack_config(64 * KIB, config, sizeof(wide)) == -1 && errno == EINVAL);
    config->config_guard_low = SIZE_MAX;
    CHECK(stack_config(64 * KIB, config, sizeof(*config)) == -1 && errno == EINVAL);
    config->config_guard_low = 0;
    config->config_backend = (enum stack_backend)3;
    CHECK(stack_config(64 * KIB, config, sizeof(*config)) == -1 && errno == EINVAL);
    /* An older program, which knows of guards only. */
    CHECK(stack_config(64 * KIB, config, offsetof(struct stack_config, config_backend)) == 0);
    CHECK(stack_alloc(64 * KIB) != NULL);
    config->config_backend = STACK_BACKEND_AUTO;
    CHECK(stack_config(64 * KIB, config, sizeof(*config)) == -1 && errno == EBUSY);
    CHECK(stack_config(32 * KIB, config, sizeof(*config)) == 0);
}

static void
test_refused(void **state)
{
    (void)state;
    must_succeed(child_refused, NULL);
}

static void
child_widths(void *arg)
{
    size_t low = 5 * PAGE, high = 3 * PAGE;
    configure(64 * KIB, (struct stack_config){.config_guard_low = low - PAGE + 1,
                                              .config_guard_high = high,
                                              .config_backend = *(enum stack_backend *)arg});
    char *stacks[40];
    struct stack_info info;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 40; i++) {
            CHECK((stacks[i] = stack_alloc(64 * KIB)) != NULL);
            CHECK(is_guarded(stacks[i], 64 * KIB, low, high));
            CHECK(resident_pages(stacks[i], 64 * KIB) == 64 * KIB / PAGE);
            CHECK(stack_info(stacks[i] - low, &info) == 0 && info.info_base == stacks[i]);
            CHECK(info.info_guard_low == low && info.info_guard_high == high);
            CHECK(stacks[i][0] == 0 || round > 0);
            memset(stacks[i], 1, 64 * KIB);
        }
        for (int i = 0; i < 40; i++)
            CHECK(stack_free(stacks[i], 64 * KIB) == 0);
        umem_reap(); /* takes them apart: the next round builds on what that leaves */
        umem_reap();
    }
}

static void
test_widths(void **state)
{
    (void)state;
    if (SANITIZED)
        skip();
    for (size_t i = 0; i < sizeof(backends) / sizeof(backends[0]); i++)
        must_succeed(child_widths, (void *)&backends[i]);
}

static void
child_lazy(void *arg)
{
    configure(256 * KIB, (struct stack_config){.config_backend = *(enum stack_backend *)arg,
                                               .config_lazy = 1});
    char *stack = stack_alloc(256 * KIB);
    CHECK(stack != NULL && resident_pages(stack, 256 * KIB) == 0);
    stack[256 * KIB - 1] = 1;
    CHECK(resident_pages(stack, 256 * KIB) == 1); /* no huge page */
    CHECK(is_guarded(stack, 256 * KIB, 4 * PAGE, PAGE));
}

static void
test_lazy(void **state)
{
    (void)state;
    if (SANITIZED)
        skip();
    for (size_t i = 0; i < sizeof(backends) / sizeof(backends[0]); i++)
        must_succeed(child_lazy, (void *)&backends[i]);
}

/*
 * Bytes of stacks in [from, to) that smaps has as locked and in memory: 0, too,
 * where mappings have no names, as other memory may lie between stacks.
 */
static size_t
smaps_locked(const char *from, const char *to)
{
    FILE *file = fopen("/proc/self/smaps", "r");
    char line[512];
    size_t kib, locked = 0;
    unsigned long start, end;
    bool ours = false;
    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
            ours = start < (uintptr_t)to && end > (uintptr_t)from &&
                   strstr(line, "umem stacks") != NULL;
        else if (ours && sscanf(line, "Locked: %zu kB", &kib) == 1)
            locked += kib * KIB;
    if (file != NULL)
        fclose(file);
    return locked;
}

static void
child_locked(void *arg)
{
    enum { COUNT = 20 };
    configure(64 * KIB, (struct stack_config){.config_backend = *(enum stack_backend *)arg});
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
        _exit(CHILD_SKIP);
    char *stacks[COUNT], *first = (char *)UINTPTR_MAX, *last = NULL;
    for (int i = 0; i < COUNT; i++) {
        char *stack = stacks[i] = stack_alloc(64 * KIB);
        CHECK(stack != NULL && is_guarded(stack, 64 * KIB, 4 * PAGE, PAGE));
        CHECK(resident_pages(stack, 64 * KIB) == 64 * KIB / PAGE);
        CHECK(locked_pages(stack, 64 * KIB) == 64 * KIB / PAGE);
        first = stack < first ? stack : first;
        last = stack > last ? stack : last;
    }
    size_t locked = smaps_locked(first, last + 64 * KIB);
    CHECK(locked == 0 || (locked >= COUNT * 64 * KIB && locked % (64 * KIB) == 0));
    for (int i = 0; i < COUNT; i++)
        CHECK(stack_free(stacks[i], 64 * KIB) == 0);
    umem_reap();
    umem_reap();
    CHECK(locked == 0 || smaps_locked(first, last + 64 * KIB) < locked);
}

static void
test_locked_guarded_and_faulted(void **state)
{
    (void)state;
    if (SANITIZED)
        skip();
    for (size_t i = 0; i < sizeof(backends) / sizeof(backends[0]); i++)
        must_succeed(child_locked, (void *)&backends[i]);
}

/* madvise(, , MADV_GUARD_INSTALL) is refused with error. */
static void
forbid_guard_regions(int error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MADV_GUARD_INSTALL, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        _exit(CHILD_SKIP);
}

#define MANY 40000 /* more than 65,530 mappings allow with two for each */
static char *many[MANY];

/* Until there are so many, or it fails: the number that there are. */
static size_t
allocate_many(size_t wanted)
{
    static size_t n;
    while (n < wanted && (many[n] = stack_alloc(32 * KIB)) != NULL)
        n++;
    return n;
}

static void
check_many(size_t n)
{
    for (size_t i = 0; i < n; i += 37)
        CHECK(is_guarded(many[i], 32 * KIB, 4 * PAGE, PAGE));
    for (size_t i = 0; i < n; i++)
        CHECK(stack_free(many[i], 32 * KIB) == 0);
}

static void
child_no_regions(void *arg)
{
    forbid_guard_regions(*(int *)arg);
    struct stack_config config = {.config_backend = STACK_BACKEND_REGIONS};
    CHECK(stack_config(32 * KIB, &config, sizeof(config)) == -1 && errno == ENOTSUP);
    configure(32 * KIB, (struct stack_config){.config_lazy = 1});
    size_t n = allocate_many(MANY);
    CHECK(n == MANY || errno == ENOMEM);
    CHECK(n > 1000); /* past what auto would leave to regions, where the limit is the usual one */
    check_many(n);
}

static void
test_without_guard_regions(void **state)
{
    (void)state;
    if (SANITIZED)
        skip();
    const int errors[] = {EINVAL, ENOSYS, EPERM};
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
        must_succeed(child_no_regions, (void *)&errors[i]);
}

/* A filter is of a thread: the process itself has guard regions all the time. */
static void *
allocate_refused(void *backend)
{
    forbid_guard_regions(EINVAL);
    if (*(enum stack_backend *)backend == STACK_BACKEND_REGIONS)
        CHECK(stack_alloc(32 * KIB) == NULL && errno == ENOMEM);
    else /* more than a quarter of all mappings: with more mappings yet */
        CHECK(allocate_many(MANY / 4) == MANY / 4);
    return NULL;
}

static void
child_one_refusal(void *backend)
{
    pthread_t id;
    struct stack_config probe = {.config_backend = STACK_BACKEND_REGIONS};
    if (stack_config(2 * MIB, &probe, sizeof(probe)) != 0)
        _exit(CHILD_SKIP);
    configure(32 * KIB, (struct stack_config){.config_backend = *(enum stack_backend *)backend,
                                              .config_lazy = 1});
    CHECK(pthread_create(&id, NULL, allocate_refused, backend) == 0);
    CHECK(pthread_join(id, NULL) == 0);
    CHECK(allocate_many(MANY) == MANY);
    check_many(MANY);
}

/* EINVAL once, whose reason may be a filter or a locked mapping, is not kept as an answer. */
static void
test_one_refusal_is_no_answer(void **state)
{
    (void)state;
    if (SANITIZED)
        skip();
    const enum stack_backend tried[] = {STACK_BACKEND_AUTO, STACK_BACKEND_REGIONS};
    for (size_t i = 0; i < sizeof(tried) / sizeof(tried[0]); i++)
        must_succeed(child_one_refusal, (void *)(uintptr_t)&tried[i]);
}

static void
child_many(void *arg)
{
    (void)arg;
    struct stack_config probe = {.config_backend = STACK_BACKEND_REGIONS};
    if (stack_config(2 * MIB, &probe, sizeof(probe)) != 0)
        _exit(CHILD_SKIP);
    configure(32 * KIB, (struct stack_config){.config_lazy = 1});
    long address_space = status_kib("VmSize:");
    CHECK(allocate_many(MANY) == MANY);
    check_many(MANY);
    umem_reap();
    umem_reap();
    CHECK(status_kib("VmSize:") - address_space < 100 * 1024);
}

static void
test_more_stacks_than_mappings(void **state)
{
    (void)state;
    if (SANITIZED)
        skip();
    must_succeed(child_many, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_widths),
        cmocka_unit_test(test_guards_are_inherited),
        cmocka_unit_test(test_lazy),
        cmocka_unit_test(test_locked_guarded_and_faulted),
        cmocka_unit_test(test_without_guard_regions),
        cmocka_unit_test(test_one_refusal_is_no_answer),
        cmocka_unit_test(test_more_stacks_than_mappings),
    };
    return cmocka_run_group_tests_name("stackalloc/config", tests, NULL, NULL);
}
