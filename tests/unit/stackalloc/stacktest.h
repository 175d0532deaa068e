/* SPDX-License-Identifier: MIT */
/*
 * stacktest.h - what the tests of the stack library share.  They use the
 * public interface only, as a program from outside would.
 *
 * What changes the process (limits, mlockall, filters) or kills it runs in a
 * child: run_child() gives its wait status.  There CHECK reports and exits.
 */
#ifndef STACKTEST_H
#define STACKTEST_H

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <stackalloc.h>

/*
 * Sanitizers turn mlockall() into nothing, need terabytes of address space
 * and make system calls of their own.
 */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

#define KIB ((size_t)1024)
#define MIB ((size_t)1024 * 1024)
#define PAGE ((size_t)sysconf(_SC_PAGESIZE))
#define CHILD_SECONDS 60 /* a child that hangs dies by SIGALRM */

static const size_t all_sizes[] = {32 * KIB,  64 * KIB, 128 * KIB, 256 * KIB,
                                   512 * KIB, MIB,      2 * MIB};
#define SIZES (sizeof(all_sizes) / sizeof(all_sizes[0]))
#define FOR_SIZES(size)                                                                            \
    for (size_t size##_i = 0, size; size##_i < SIZES && (size = all_sizes[size##_i]); size##_i++)

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "# %s:%d: %s (errno %d)\n", __FILE__, __LINE__, #cond, errno);         \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

#define CHILD_SKIP 77 /* exit code: the system does not allow the test */

static inline int
run_child(void (*fn)(void *), void *arg)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        signal(SIGSEGV, SIG_DFL); /* cmocka and sanitizers catch it */
        alarm(CHILD_SECONDS);
        fn(arg);
        fflush(NULL);
        _exit(0);
    }
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            abort(); /* no assertion: this runs in children too */
    return status;
}

/* Runs fn in a child that must end well; skips the test where the child says so. */
static inline void
must_succeed(void (*fn)(void *), void *arg)
{
    int status = run_child(fn, arg);
    if (WIFEXITED(status) && WEXITSTATUS(status) == CHILD_SKIP)
        skip();
    if (status != 0)
        print_message("# wait status 0x%x\n", (unsigned)status);
    assert_int_equal(status, 0);
}

/* A line of /proc/self/status in KiB, without malloc. */
static inline long
status_kib(const char *key)
{
    static char text[8192];
    FILE *file = fopen("/proc/self/status", "r");
    size_t n = file == NULL ? 0 : fread(text, 1, sizeof(text) - 1, file);
    if (file != NULL)
        fclose(file);
    text[n] = 0;
    char *line = strstr(text, key);
    return line == NULL ? -1 : strtol(line + strlen(key), NULL, 10);
}

/*
 * Counted twice, at one place of the stack for all calls of a function: what the
 * answer faults in, in the child of a fork a page of the stack, is no part of
 * what is measured.
 */
__attribute__((noinline, unused)) static long
thread_faults(void)
{
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_minflt + usage.ru_majflt;
}

/* Whether a byte can be read, found out without a signal. */
static inline bool
is_readable(const char *address)
{
    static int fd[2] = {-1, -1};
    if (fd[0] < 0 && pipe(fd) != 0)
        abort();
    char byte;
    if (write(fd[1], address, 1) != 1)
        return false;
    return read(fd[0], &byte, 1) == 1;
}

/* Pages of [address, address + size) that are in memory. */
static inline size_t
resident_pages(const void *address, size_t size)
{
    static unsigned char vec[2 * 1024 * 1024 / 4096];
    size_t pages = size / PAGE, resident = 0;
    if (mincore((void *)(uintptr_t)address, size, vec) != 0)
        return 0;
    for (size_t i = 0; i < pages; i++)
        resident += vec[i] & 1;
    return resident;
}

/* Pages of [address, address + size) in a locked mapping: POSIX has msync() tell. */
static inline size_t
locked_pages(const void *address, size_t size)
{
    size_t locked = 0;
    for (size_t offset = 0; offset < size; offset += PAGE) {
        char *page = (char *)(uintptr_t)address + offset;
        locked += msync(page, PAGE, MS_ASYNC | MS_INVALIDATE) != 0 && errno == EBUSY;
    }
    return locked;
}

static inline bool
is_refused(void *address, size_t size)
{
    errno = 0;
    return stack_free(address, size) == -1 && errno == EINVAL;
}

/* From here on any system call but exit and write() (cmocka's, CHECK's) kills the process. */
static inline void
forbid_system_calls(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        _exit(CHILD_SKIP);
}

#endif
