/* SPDX-License-Identifier: MIT */
/*
 * process.c - the process and its environment: ids, processors, output,
 * environment variables, abort, futexes.
 *
 * State: a copy of the environment for the time before libc has one.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__) && __has_include(<sys/platform/x86.h>)
#include <sys/platform/x86.h>
#define HAVE_CPU_FEATURES 1
#endif

#include "os/os.h"
#include "os/watch.h"

/* Room for the environment as the kernel passed it; variables past it are not seen. */
#define EARLY_ENVIRON_SIZE 16384

uint32_t
os_thread_id(void)
{
    os_watch_syscall();
    return (uint32_t)syscall(SYS_gettid);
}

uint32_t
os_process_id(void)
{
    return (uint32_t)getpid();
}

UMEM_COLD uint64_t
os_page_faults(void)
{
    struct rusage usage;

    (void)getrusage(RUSAGE_THREAD, &usage); /* cannot fail: Linux has it since 2.6.26 */
    return (uint64_t)usage.ru_minflt + (uint64_t)usage.ru_majflt;
}

UMEM_COLD unsigned
os_cpu_count(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set) != 0)
        return 1;
    int count = CPU_COUNT(&set);
    return count > 0 ? (unsigned)count : 1;
}

#ifdef HAVE_CPU_FEATURES
extern __typeof__(__x86_get_cpuid_feature_leaf) __x86_get_cpuid_feature_leaf __attribute__((weak));

/* What ld.so found out when it started: the instruction itself takes microseconds under a VM. */
bool
os_has_avx2(void)
{
    return __x86_get_cpuid_feature_leaf != NULL && CPU_FEATURE_ACTIVE(AVX2);
}
#else
bool
os_has_avx2(void)
{
    return false;
}
#endif

UMEM_COLD void
os_write(int fd, const void *buf, size_t size)
{
    const char *p = buf;
    int saved = errno;

    while (size > 0) {
        os_watch_syscall();
        ssize_t n = write(fd, p, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        p += n;
        size -= (size_t)n;
    }
    errno = saved;
}

/* Of glibc, since 2.2.5: a recursive lock.  Other libcs lack them. */
extern void _IO_list_lock(void) __attribute__((weak));
extern void _IO_list_unlock(void) __attribute__((weak));
extern void _IO_list_resetlock(void) __attribute__((weak));

void
os_streams_lock(void)
{
    if (_IO_list_lock != NULL && _IO_list_unlock != NULL && _IO_list_resetlock != NULL)
        _IO_list_lock();
}

void
os_streams_unlock(void)
{
    if (_IO_list_lock != NULL && _IO_list_unlock != NULL && _IO_list_resetlock != NULL)
        _IO_list_unlock();
}

void
os_streams_reset_child(void)
{
    if (_IO_list_resetlock != NULL)
        _IO_list_resetlock();
}

static const char *
find_variable(char *const *environment, const char *name, size_t length)
{
    for (; *environment != NULL; environment++)
        if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=')
            return *environment + length + 1;
    return NULL;
}

/*
 * Before libc's initialiser has run (the dynamic loader allocates with us that
 * early) environ is NULL: the kernel's own copy is in /proc.
 */
static const char *
find_early(const char *name, size_t length)
{
    static char text[EARLY_ENVIRON_SIZE];
    static size_t size;

    if (size == 0) {
        int fd = open("/proc/self/environ", O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return NULL;
        for (ssize_t n = 1; n > 0 && size < sizeof(text) - 1;) {
            n = read(fd, text + size, sizeof(text) - 1 - size);
            size += n > 0 ? (size_t)n : 0;
        }
        (void)close(fd);
    }
    for (const char *p = text; p < text + size; p += strlen(p) + 1)
        if (strncmp(p, name, length) == 0 && p[length] == '=')
            return p + length + 1;
    return NULL;
}

const char *
os_getenv(const char *name)
{
    int saved = errno;
    size_t length = strlen(name);
    const char *value =
        environ != NULL ? find_variable(environ, name, length) : find_early(name, length);

    errno = saved;
    return value;
}

bool
os_secure(void)
{
    return getauxval(AT_SECURE) != 0;
}

UMEM_COLD _Noreturn void
os_abort(void)
{
    struct sigaction action;
    sigset_t set;

    memset(&action, 0, sizeof(action));
    action.sa_handler = SIG_DFL;
    (void)sigaction(SIGABRT, &action, NULL);
    sigemptyset(&set);
    sigaddset(&set, SIGABRT);
    (void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    (void)syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGABRT);
    for (;;)
        __builtin_trap();
}

void
os_futex_wait(_Atomic uint32_t *word, uint32_t expected)
{
    int saved = errno;

    os_watch_syscall();
    (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, NULL, NULL, 0);
    errno = saved;
}

void
os_futex_wake(_Atomic uint32_t *word, int n)
{
    int saved = errno;

    os_watch_syscall();
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0);
    errno = saved;
}

void *
os_next_function(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}
