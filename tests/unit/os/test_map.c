/* SPDX-License-Identifier: MIT */
/*
 * test_map.c - pages come zeroed and aligned, go back, and are zeroed again,
 * locked ones too; limits are errors, not deaths.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/os.h"

/* The sanitizers make mlock() and mlockall() do nothing. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LOCKING_WORKS 0
#else
#define LOCKING_WORKS 1
#endif

static bool
all_zero(const char *p, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (p[i] != 0)
            return false;
    return true;
}

static size_t
resident(void *addr, size_t size)
{
    unsigned char pages[64];
    size_t count = 0;

    assert_true(size / os_page_size() <= sizeof(pages));
    assert_int_equal(mincore(addr, size, pages), 0);
    for (size_t i = 0; i < size / os_page_size(); i++)
        count += pages[i] & 1;
    return count;
}

static void
test_align(void **state)
{
    size_t page = os_page_size();

    (void)state;
    assert_int_equal(page, (size_t)sysconf(_SC_PAGESIZE));
    for (size_t align = page; align <= (size_t)1 << 26; align *= 2) {
        /* Twice, with an odd page between, so that luck does not align both. */
        char *odd = os_map(page, page);
        char *p = os_map(page * 3, align);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % align, 0);
        assert_true(all_zero(p, page * 3));
        memset(p, 1, page * 3);
        assert_int_equal(os_unmap(p, page * 3), 0);
        assert_int_equal(os_unmap(odd, page), 0);
    }
}

static void
test_populate(void **state)
{
    size_t page = os_page_size(), size = 8 * page;
    char *p = os_map(size, page);

    (void)state;
    p[3 * page + 5] = 42;
    errno = 77;
    assert_int_equal(os_populate(p + page - 1, 6 * page, true), 0); /* touches 0 to 6 */
    assert_int_equal(errno, 77);
    assert_int_equal(resident(p, size), 7);
    assert_int_equal(p[3 * page + 5], 42);
    /* Inaccessible pages: an error, not a fault. */
    assert_int_equal(os_protect(p, page, false), 0);
    assert_int_equal(os_populate(p, size, false), -1);
    assert_int_equal(errno, ENOMEM);
    assert_int_equal(os_unmap(p, size), 0);
}

/* A kernel, or a filter, without the advice. */
static void
test_populate_by_touching(void **state)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = UMEM_ARRAY_SIZE(code), .filter = code};
    size_t page = os_page_size();
    unsigned char pages[4];
    int status;

    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        char *p = os_map(4 * page, page);
        p[page] = 42;
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
            prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) != 0)
            _exit(1);
        if (os_populate(p, 4 * page, false) != -1 || os_populate(p, 4 * page, true) != 0)
            _exit(2);
        if (mincore(p, 4 * page, pages) != 0)
            _exit(3);
        _exit((pages[0] & pages[1] & pages[2] & pages[3] & 1) == 1 && p[page] == 42 ? 0 : 4);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void
test_too_much(void **state)
{
    (void)state;
    errno = 0;
    assert_null(os_map((size_t)1 << (sizeof(size_t) * 8 - 2), os_page_size()));
    assert_int_equal(errno, ENOMEM);
    assert_null(os_map(SIZE_MAX - 2 * os_page_size() + 1, (size_t)1 << 20));
}

static void
test_purge(void **state)
{
    size_t size = os_page_size() * 8;
    char *p = os_map(size, os_page_size());

    (void)state;
    memset(p, 7, size);
    assert_int_equal(resident(p, size), 8);
    errno = 99;
    assert_int_equal(os_purge(p, size), 0);
    assert_int_equal(errno, 99);
    assert_int_equal(resident(p, size), 0);
    assert_true(all_zero(p, size));
    os_unmap(p, size);
}

/* Locked pages stay, contents and all: they must not fault again. */
static void
test_purge_locked(void **state)
{
    size_t size = os_page_size() * 8;
    char *p = os_map(size, os_page_size());

    (void)state;
    if (!LOCKING_WORKS)
        skip();
    assert_int_equal(mlock(p, size), 0);
    memset(p, 7, size);
    assert_int_equal(os_purge(p, size), -1);
    assert_int_equal(resident(p, size), 8);
    assert_int_equal(p[size - 1], 7);
    os_unmap(p, size);
}

static void
test_zero(void **state)
{
    size_t page = os_page_size(), size = page * 6;
    char *p = os_map(size, page);

    (void)state;
    for (int locked = 0; locked < 2; locked++) {
        if (locked)
            assert_int_equal(mlock(p, size), 0);
        memset(p, 9, size);
        os_zero(p + 10, size - 30);
        assert_true(all_zero(p + 10, size - 30));
        assert_int_equal(p[9], 9);
        assert_int_equal(p[size - 20], 9);
        memset(p, 9, size);
        os_zero(p + 10, 100); /* within a page */
        assert_true(all_zero(p + 10, 100));
        assert_int_equal(p[110], 9);
        os_zero(p + page - 1, 2); /* across two, no whole one */
        assert_true(all_zero(p + page - 1, 2));
        assert_int_equal(p[page - 2] + p[page + 1], 18);
    }
    /* Locked memory stays in core: fresh pages would mean faults. */
    os_zero(p, size);
    assert_true(!LOCKING_WORKS || resident(p, size) == 6);
    os_unmap(p, size);
}

static void
test_protect(void **state)
{
    size_t page = os_page_size();
    char *p = os_map(page * 2, page);
    int status;

    (void)state;
    p[0] = 5;
    assert_int_equal(os_protect(p, page, false), 0);
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGSEGV, SIG_DFL); /* the test framework has a handler */
        p[page] = 1;              /* the neighbour is accessible */
        p[0] = 1;
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(os_protect(p, page, true), 0);
    assert_int_equal(p[0], 5);
    os_unmap(p, page * 2);
}

static void
test_name(void **state)
{
    size_t page = os_page_size();
    char *p = os_map(page, page);
    char line[512];
    bool named = false, supported = false;

    (void)state;
    errno = 99;
    os_name(p, page, "umem_test");
    assert_int_equal(errno, 99);
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof(line), maps) != NULL) {
        unsigned long start;
        supported |= strstr(line, "[anon:") != NULL;
        if (sscanf(line, "%lx-", &start) == 1 && start == (unsigned long)(uintptr_t)p)
            named = strstr(line, "[anon:umem_test]") != NULL;
    }
    fclose(maps);
    assert_true(named || !supported);
    os_unmap(p, page);
}

/* Under a memlock limit after mlockall(MCL_FUTURE), the errno names the limit. */
static void
test_memlock_limit(void **state)
{
    int status;

    (void)state;
    if (!LOCKING_WORKS)
        skip();
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit limit = {1 << 20, 1 << 20};
        setrlimit(RLIMIT_MEMLOCK, &limit);
        if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
            _exit(2);
        if (mlockall(MCL_FUTURE) != 0)
            _exit(3);
        bool plain = os_map(4 << 20, os_page_size()) == NULL && errno == EAGAIN;
        bool aligned = os_map(4 << 20, 8 << 20) == NULL && errno == EAGAIN;
        bool small = os_map(os_page_size(), os_page_size()) != NULL;
        _exit(plain && aligned && small ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* A mapping moves over a reservation and grows; what it leaves is nobody's. */
static void
test_move(void **state)
{
    size_t page = os_page_size(), size = 16 * page;
    unsigned char present;

    (void)state;
    for (size_t align = page; align <= 64 * page; align *= 4) {
        char *p = os_map(size, page), *to = os_reserve(2 * size, align);
        assert_non_null(p);
        assert_non_null(to);
        assert_int_equal((uintptr_t)to % align, 0);
        memset(p, 7, size);
        errno = 4711;
        assert_true(os_move(p, size, to, 2 * size));
        assert_int_equal(to[0], 7);
        assert_int_equal(to[size - 1], 7);
        assert_true(all_zero(to + size, size));
        to[2 * size - 1] = 1;
        assert_int_equal(errno, 4711);
        assert_int_equal(mincore(p, page, &present), -1);
        os_unmap(to, 2 * size);
    }
    assert_null(os_reserve(SIZE_MAX - page + 1, 2 * page));

    /* Where it has been split it stays. */
    char *p = os_map(size, page), *to = os_reserve(2 * size, page);
    memset(p, 7, size);
    os_protect(p + page, page, false);
    assert_false(os_move(p, size, to, 2 * size));
    assert_int_equal(p[0], 7);
    assert_int_equal(p[size - 1], 7);
    os_unmap(p, size);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_align),    cmocka_unit_test(test_too_much),
        cmocka_unit_test(test_populate), cmocka_unit_test(test_populate_by_touching),
        cmocka_unit_test(test_purge),    cmocka_unit_test(test_purge_locked),
        cmocka_unit_test(test_zero),     cmocka_unit_test(test_protect),
        cmocka_unit_test(test_name),     cmocka_unit_test(test_memlock_limit),
        cmocka_unit_test(test_move),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
