/* SPDX-License-Identifier: MIT */
/*
 * live.c - a running process as a target: stops its threads, reads their
 * registers, its maps and its memory, and lets it go on.
 *
 * The process is seized, not attached: no signal is sent, a job-control stop
 * stays one, and if we die the kernel lets it go on.  A system call that the
 * stop interrupts is restarted by the kernel, save the few that signal(7)
 * lists as never restarted (epoll_wait and such return EINTR).
 * Memory is read from /proc/PID/mem, which is faster than process_vm_readv;
 * the latter serves where the former is refused.
 */
#include "target/target_impl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A thread in an uninterruptible wait does not stop; it is given up after this long. */
#define STOP_WAIT_NS 2000000000ULL
/* Waiting for threads to stop: they need tens of microseconds. */
#define STOP_POLL_NS 20000
/* Threads that start while others are stopped are found by another look, this often. */
#define STOP_ROUNDS_MAX 100
/* In t_signals: the thread goes on already. */
#define RESUMED (-1)
/* AVX-512 and AMX state together are below this. */
#define REGSET_BYTES 16384
#ifndef NT_X86_XSTATE
#define NT_X86_XSTATE 0x202
#endif
#ifndef NT_ARM_TLS
#define NT_ARM_TLS 0x401
#endif

#if defined(__x86_64__)
#define LIVE_MACHINE EM_X86_64
#define LIVE_MACHINE_32 EM_386
#elif defined(__aarch64__)
#define LIVE_MACHINE EM_AARCH64
#else
#define LIVE_MACHINE (-1)
#endif
#ifndef LIVE_MACHINE_32
#define LIVE_MACHINE_32 (-1)
#endif

static uint64_t
now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}

uint64_t
target_now(const struct target *t)
{
    return t->t_live ? now_ns() : t->t_time;
}

/* --- Who is it, and may we? --- */

/* kernel.yama.ptrace_scope; 0 where there is no such thing. */
static int
yama_scope(void)
{
    int scope = 0;
    FILE *f = fopen("/proc/sys/kernel/yama/ptrace_scope", "re");
    if (f == NULL)
        return 0;
    if (fscanf(f, "%d", &scope) != 1)
        scope = 0;
    fclose(f);
    return scope;
}

static bool
complain_denied(const struct target *t)
{
    long tracer = status_field(t->t_pid, "TracerPid");
    long uid = status_field(t->t_pid, "Uid");
    int scope = yama_scope();
    const char *self = self_is_possible(t) ? "give --self, it can look at itself"
                                           : "start it with UMEM_OPTIONS=agent and give --self";
    if (tracer > 0)
        return target_complain(t, "is being debugged by process %ld already; end that first, or %s",
                               tracer, self);
    if (uid >= 0 && geteuid() != 0 && (uid_t)uid != geteuid())
        return target_complain(t, "belongs to user %ld; run as that user or as root", uid);
    if (scope >= 3)
        return target_complain(
            t,
            "may not be looked at: kernel.yama.ptrace_scope is 3; %s, or analyse "
            "a core file",
            self);
    if (scope > 0)
        return target_complain(t,
                               "may not be looked at: %s; or run as root, grant CAP_SYS_PTRACE, or "
                               "'sysctl kernel.yama.ptrace_scope=0'",
                               self);
    return target_complain(t,
                           "may not be looked at: %s; or run with CAP_SYS_PTRACE (as root; in a "
                           "container: --cap-add=SYS_PTRACE)",
                           self);
}

static bool
complain_gone(const struct target *t)
{
    return target_complain(t, "has ended");
}

bool
live_check(const struct target *t)
{
    long tgid = status_field(t->t_pid, "Tgid");
    if (t->t_pid == 0 || tgid < 0)
        return t->t_file_serves
                   ? target_complain(t, "no such process (a core file of that name: ./%s)",
                                     t->t_name)
                   : target_complain(t, "no such process");
    if (tgid != t->t_pid)
        return target_complain(t, "is a thread of process %ld; give that number", tgid);
    if (t->t_pid == getpid())
        return target_complain(t, "is this command itself");
    if (status_field(t->t_pid, "State") == 'Z')
        return target_complain(t, "has ended; only its parent has not noticed yet");
    return true;
}

/* Checks that cost nothing before anything is stopped. */
static bool
check_process(struct target *t)
{
    char path[64];
    unsigned char ident[20] = {0};
    if (!live_check(t))
        return false;
    t->t_own_child = status_field(t->t_pid, "PPid") == getpid();
    snprintf(path, sizeof(path), "/proc/%d/exe", (int)t->t_pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && (errno == EACCES || errno == EPERM))
        return complain_denied(t);
    if (fd < 0) /* no executable: a kernel thread, or it ended just now */
        return kill(t->t_pid, 0) == 0 ? target_complain(t, "is a thread of the kernel")
                                      : complain_gone(t);
    ssize_t n = read(fd, ident, sizeof(ident));
    close(fd);
    const int machine = n == (ssize_t)sizeof(ident) ? ident[18] : EM_NONE;
    if (machine == LIVE_MACHINE || machine == LIVE_MACHINE_32)
        t->t_machine = machine_find(machine);
    if (t->t_machine == NULL || (ident[EI_CLASS] == ELFCLASS32) != (target_word(t) == 4))
        return target_complain(t, "is not a program of this machine's own type");
    return true;
}

static void
read_executable(struct target *t)
{
    char path[64];
    char exe[PATH_MAX];
    snprintf(path, sizeof(path), "/proc/%d/exe", (int)t->t_pid);
    ssize_t n = readlink(path, exe, sizeof(exe) - 1);
    if (n <= 0)
        return;
    exe[n] = '\0';
    char *deleted = strstr(exe, " (deleted)");
    if (deleted != NULL && deleted[strlen(" (deleted)")] == '\0')
        *deleted = '\0';
    free(t->t_exe);
    t->t_exe = target_strdup(exe);
}

/* --- Stopping --- */

static bool
have_thread(const struct target *t, pid_t tid)
{
    for (size_t i = t->t_thread_count; i > 0; i--)
        if (t->t_threads[i - 1].thr_tid == tid)
            return true;
    return false;
}

static void
add_thread(struct target *t, pid_t tid)
{
    t->t_signals = target_grow(t->t_signals, t->t_thread_count, sizeof(int));
    t->t_signals[t->t_thread_count] = 0;
    target_add_thread(t, tid);
}

/* Seizes the threads that are not seized yet.  Their number, or -1 with errno. */
static int
seize_new(struct target *t)
{
    char path[64];
    int added = 0;
    snprintf(path, sizeof(path), "/proc/%d/task", (int)t->t_pid);
    DIR *dir = opendir(path);
    if (dir == NULL) {
        errno = ESRCH;
        return -1;
    }
    struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (tid <= 0 || have_thread(t, tid))
            continue;
        if (ptrace(PTRACE_SEIZE, tid, NULL, NULL) != 0) {
            if (errno == ESRCH && tid != t->t_pid)
                continue; /* it ended meanwhile */
            int error = errno;
            closedir(dir);
            errno = error;
            return -1;
        }
        ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
        add_thread(t, tid);
        added++;
    }
    closedir(dir);
    return added;
}

/*
 * waitpid() for a thread without waiting.  Where the process is a child of ours
 * its end is left for whoever started it: that it has ended is told by ECHILD.
 */
static pid_t
wait_thread(const struct target *t, pid_t tid, int *status)
{
    siginfo_t info = {0};
    if (tid != t->t_pid || !t->t_own_child)
        return waitpid(tid, status, __WALL | WNOHANG);
    if (waitid(P_PID, (id_t)tid, &info, WSTOPPED | WNOHANG | __WALL) != 0)
        return -1;
    *status = (int)((unsigned)info.si_status << 8 | 0x7f); /* of a stop, as waitpid has it */
    return info.si_pid;
}

/*
 * Waits for one thread to stop.  A stop may be for a signal that has just
 * arrived: it is kept for when the thread goes on.
 */
static void
await_stop(struct target *t, size_t i, uint64_t deadline)
{
    struct thread *thr = &t->t_threads[i];
    const struct timespec pause = {.tv_nsec = STOP_POLL_NS};
    int status = 0;
    for (;;) {
        pid_t got = wait_thread(t, thr->thr_tid, &status);
        if (got == thr->thr_tid && WIFSTOPPED(status)) {
            if (status >> 16 == 0)
                t->t_signals[i] = WSTOPSIG(status);
            else if (WSTOPSIG(status) != SIGTRAP)
                t->t_job_stopped = true;
            thr->thr_stopped = true;
            return;
        }
        if (got == thr->thr_tid || (got < 0 && errno != EINTR)) {
            thr->thr_tid = 0; /* ended */
            return;
        }
        if (now_ns() > deadline)
            return;
        nanosleep(&pause, NULL);
    }
}

static void
drop_ended(struct target *t)
{
    size_t kept = 0;
    for (size_t i = 0; i < t->t_thread_count; i++) {
        if (t->t_threads[i].thr_tid == 0)
            continue;
        t->t_threads[kept] = t->t_threads[i];
        t->t_signals[kept++] = t->t_signals[i];
    }
    t->t_thread_count = kept;
}

/* Stops every thread; threads that start meanwhile are found by looking again. */
static bool
stop_threads(struct target *t)
{
    size_t waited = 0;
    t->t_stop_time = now_ns();
    uint64_t deadline = t->t_stop_time + STOP_WAIT_NS;
    t->t_stopped = true;
    for (int round = 0; round < STOP_ROUNDS_MAX; round++) {
        int added = seize_new(t);
        if (added < 0 && t->t_thread_count == 0)
            return errno == ESRCH ? complain_gone(t) : complain_denied(t);
        if (added <= 0)
            break;
        for (; waited < t->t_thread_count; waited++)
            await_stop(t, waited, deadline);
    }
    drop_ended(t);
    if (t->t_thread_count == 0)
        return complain_gone(t);
    return true;
}

/* Lets one thread go on; false while it has not stopped yet. */
static bool
detach(const struct target *t, pid_t tid, int number)
{
    int status;
    if (ptrace(PTRACE_DETACH, tid, NULL, (void *)(uintptr_t)number) == 0)
        return true;
    if (wait_thread(t, tid, &status) == 0)
        return false;
    ptrace(PTRACE_DETACH, tid, NULL, NULL);
    return true;
}

/*
 * A thread that could not be stopped is let go as soon as it does stop, or by
 * the kernel when we end: target_close asks once more.
 */
void
live_resume(struct target *t)
{
    bool all = true;
    if (!t->t_stopped)
        return;
    for (size_t i = 0; i < t->t_thread_count; i++) {
        pid_t tid = t->t_threads[i].thr_tid;
        if (t->t_signals[i] == RESUMED)
            continue;
        if (tid == 0 || detach(t, tid, t->t_signals[i]))
            t->t_signals[i] = RESUMED;
        else
            all = false;
    }
    t->t_stopped = !all;
    if (all)
        t->t_run_time = now_ns();
}

uint64_t
target_stopped_ns(const struct target *t)
{
    if (!t->t_live)
        return t->t_self_stopped_ns;
    return (t->t_run_time != 0 ? t->t_run_time : now_ns()) - t->t_stop_time;
}

/* --- Registers --- */

static void
read_registers(struct target *t, struct thread *thr)
{
    static const unsigned sets[] = {NT_PRSTATUS, NT_FPREGSET, NT_X86_XSTATE, NT_ARM_TLS,
                                    NT_386_TLS};
    char buf[REGSET_BYTES];
    thr->thr_stopped = false; /* thread_add_registers sets it with the general registers */
    for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
        struct iovec iov = {buf, sizeof(buf)};
        if (sets[i] != NT_PRSTATUS && thr->thr_nregs == 0)
            return;
        if (ptrace(PTRACE_GETREGSET, thr->thr_tid, (void *)(uintptr_t)sets[i], &iov) != 0)
            continue;
        if (sets[i] == NT_ARM_TLS)
            memcpy(&thr->thr_fs_base, buf, sizeof(thr->thr_fs_base));
        else if (sets[i] == NT_386_TLS)
            thread_add_tls(t, thr, buf, iov.iov_len);
        else
            thread_add_registers(t, thr, buf, iov.iov_len);
        if (sets[i] == NT_FPREGSET)
            thr->thr_fp_words = iov.iov_len / sizeof(uint64_t);
    }
}

static void
read_all_registers(struct target *t)
{
    for (size_t i = 0; i < t->t_thread_count; i++) {
        struct thread *thr = &t->t_threads[i];
        if (thr->thr_stopped)
            read_registers(t, thr);
        if (!thr->thr_stopped)
            target_add_reason(t,
                              "thread %d could not be stopped: its registers and stack are "
                              "not known",
                              (int)thr->thr_tid);
    }
}

/* --- Mappings and memory --- */

static bool
read_maps(struct target *t)
{
    char path[64];
    char *line = NULL;
    size_t capacity = 0;
    ssize_t n;
    snprintf(path, sizeof(path), "/proc/%d/maps", (int)t->t_pid);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return errno == ENOENT || errno == ESRCH ? complain_gone(t) : complain_denied(t);
    while ((n = getline(&line, &capacity, f)) > 0) {
        if (line[n - 1] == '\n')
            line[n - 1] = '\0';
        maps_add_line(t, line);
    }
    free(line);
    fclose(f);
    return t->t_mapping_count > 0 || complain_gone(t);
}

static void
read_auxv(struct target *t)
{
    char path[64];
    char buf[4096];
    snprintf(path, sizeof(path), "/proc/%d/auxv", (int)t->t_pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, buf, sizeof(buf)) : 0;
    if (fd >= 0)
        close(fd);
    if (n > 0)
        auxv_read(t, buf, (size_t)n);
}

size_t
live_read(const struct target *t, addr_t addr, void *buf, size_t size)
{
    char *out = buf;
    size_t done = 0;
    while (done < size && addr + done <= (addr_t)INT64_MAX) {
        size_t n = size - done < SSIZE_MAX ? size - done : SSIZE_MAX;
        ssize_t got = pread(t->t_mem_fd, out + done, n, (off_t)(addr + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            struct iovec local = {out + done, n};
            struct iovec remote = {(void *)(uintptr_t)(addr + done), n};
            got = process_vm_readv(t->t_mem_pid, &local, 1, &remote, 1, 0);
        }
        if (got <= 0)
            break;
        done += (size_t)got;
    }
    return done;
}

bool
live_open(struct target *t)
{
    char path[64];
    if (!check_process(t))
        return false;
    read_executable(t);
    read_auxv(t);
    if (!stop_threads(t))
        return false;
    snprintf(path, sizeof(path), "/proc/%d/mem", (int)t->t_pid);
    t->t_mem_fd = open(path, O_RDONLY | O_CLOEXEC);
    read_all_registers(t);
    if (!read_maps(t))
        return false;
    modules_find(t);
    return true;
}
