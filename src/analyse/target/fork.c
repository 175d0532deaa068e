/* SPDX-License-Identifier: MIT */
/*
 * fork.c - target_fork: a copy of a stopped process that the kernel makes, so
 * that the process itself can run on after some milliseconds.
 *
 * A stopped thread is made to call clone(2) as fork() does, at a system call
 * instruction of the vdso; its registers and signal mask are then as before.
 * The copy never runs: it is traced from its birth on and ends with us.  So
 * that it is no child that the program could see, the copy is made by a process
 * between, of the same memory, which is then ended and waited for by the thread:
 * what stays is a child of init.  The method is that of CRIU's compel; the rules
 * of restarted system calls are those of the kernel's
 * arch_do_signal_or_restart().
 *
 * Declined, without a trace, where it could do harm or is not known to be
 * harmless: under seccomp (clone might be fatal), in a thread within a
 * restartable sequence, in a process stopped by job control, for the first
 * process of its namespace (which would inherit the copy), where the limit of
 * processes or memory is reached, and on processors other than x86-64.
 */
#include "target/target_impl.h"

#if defined(__x86_64__)

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef PTRACE_GET_RSEQ_CONFIGURATION
#define PTRACE_GET_RSEQ_CONFIGURATION 0x420f /* Linux 5.13 */
#endif
#define USER_CS 0x33 /* code segment of 64-bit code; 32-bit code has other system call numbers */
#define VDSO_BYTES 8192
/* Stops on the way through one system call: its entry, the event, its exit. */
#define STOPS_MAX 16
#define KERNEL_SIGSET_BYTES 8
#define SYSCALL_STOP (SIGTRAP | 0x80)

/* struct ptrace_rseq_configuration of linux/ptrace.h, which sys/ptrace.h does not go with. */
struct rseq_configuration {
    uint64_t rseq_abi_pointer;
    uint32_t rseq_abi_size;
    uint32_t signature;
    uint32_t flags;
    uint32_t pad;
};

struct puppet {
    pid_t pup_tid;
    struct user_regs_struct pup_regs; /* as they were */
    uint64_t pup_mask;
    addr_t pup_insn; /* a system call instruction */
};

/* --- Is it harmless? --- */

static bool
is_first_of_namespace(pid_t pid)
{
    return status_own_pid(pid) == 1;
}

static bool
has_seccomp(const struct target *t, pid_t tid)
{
    char path[64];
    char words[32];
    snprintf(path, sizeof(path), "/proc/%d/task/%d/status", (int)t->t_pid, (int)tid);
    status_words(path, "Seccomp", words, sizeof(words));
    return strcmp(words, "0") != 0;
}

/* Whether a thread may be within a restartable sequence: moved away it would not be restarted. */
static bool
in_rseq(const struct target *t, pid_t tid)
{
    struct rseq_configuration conf = {0};
    uint64_t section = 0;
    const addr_t section_at = 8; /* rseq_cs in struct rseq (linux/rseq.h) */
    if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, tid, (void *)sizeof(conf), &conf) < 0)
        return true;
    return conf.rseq_abi_pointer != 0 && (live_read(t, conf.rseq_abi_pointer + section_at, &section,
                                                    sizeof(section)) != sizeof(section) ||
                                          section != 0);
}

/* An instruction that makes a system call, in the vdso, which every process has. */
static addr_t
find_syscall(const struct target *t)
{
    unsigned char code[VDSO_BYTES];
    static const unsigned char insn[] = {0x0f, 0x05};
    if (t->t_vdso == 0)
        return 0;
    size_t n = live_read(t, t->t_vdso, code, sizeof(code));
    const unsigned char *found = memmem(code, n, insn, sizeof(insn));
    return found != NULL ? t->t_vdso + (addr_t)(found - code) : 0;
}

static bool
get_regs(pid_t tid, struct user_regs_struct *regs)
{
    return ptrace(PTRACE_GETREGS, tid, NULL, regs) == 0;
}

static bool
set_regs(pid_t tid, const struct user_regs_struct *regs)
{
    return ptrace(PTRACE_SETREGS, tid, NULL, regs) == 0;
}

static bool
set_mask(pid_t tid, const uint64_t *mask)
{
    return ptrace(PTRACE_SETSIGMASK, tid, (void *)KERNEL_SIGSET_BYTES, mask) == 0;
}

/* A stopped thread that can be made to call something. */
static bool
choose(const struct target *t, struct puppet *pup)
{
    pup->pup_insn = find_syscall(t);
    for (size_t i = 0; pup->pup_insn != 0 && i < t->t_thread_count; i++) {
        pup->pup_tid = t->t_threads[i].thr_tid;
        if (t->t_threads[i].thr_stopped && t->t_signals[i] == 0 && !has_seccomp(t, pup->pup_tid) &&
            !in_rseq(t, pup->pup_tid) && get_regs(pup->pup_tid, &pup->pup_regs) &&
            pup->pup_regs.cs == USER_CS &&
            ptrace(PTRACE_GETSIGMASK, pup->pup_tid, (void *)KERNEL_SIGSET_BYTES, &pup->pup_mask) ==
                0)
            return true;
    }
    return false;
}

/* --- Strings to pull --- */

static bool
wait_stop(pid_t tid, int *status)
{
    pid_t got;
    do
        got = waitpid(tid, status, __WALL);
    while (got < 0 && errno == EINTR);
    return got == tid && WIFSTOPPED(*status);
}

/*
 * Has a thread make a system call and stop at its end; *born is the thread that
 * it started.  A negative errno where there was none; no call was made then, or
 * it failed.
 */
static long
call(pid_t tid, const struct puppet *pup, long number, const unsigned long args[4], pid_t *born)
{
    struct user_regs_struct regs = pup->pup_regs;
    int exits = 0;
    regs.rip = pup->pup_insn;
    regs.rax = (unsigned long)number;
    regs.orig_rax = (unsigned long)-1; /* no interrupted call is to be restarted now */
    regs.rdi = args[0];
    regs.rsi = args[1];
    regs.rdx = args[2];
    regs.r10 = args[3];
    regs.r8 = 0;
    if (!set_regs(tid, &regs))
        return -ESRCH;
    for (int stops = 0; stops < STOPS_MAX && exits < 2; stops++) {
        int status;
        unsigned long message;
        if (ptrace(PTRACE_SYSCALL, tid, NULL, NULL) != 0 || !wait_stop(tid, &status))
            return -ESRCH;
        if (WSTOPSIG(status) == SYSCALL_STOP)
            exits++;
        else if (status >> 16 == PTRACE_EVENT_CLONE && born != NULL &&
                 ptrace(PTRACE_GETEVENTMSG, tid, NULL, &message) == 0)
            *born = (pid_t)message;
    }
    return exits == 2 && get_regs(tid, &regs) ? (long)regs.rax : -EINTR;
}

/* As fork(), but that no signal tells of the child's end.  Its number in its own namespace. */
static long
call_fork(pid_t tid, const struct puppet *pup, unsigned long flags, pid_t *born)
{
    const unsigned long args[4] = {flags, 0, 0, 0};
    int status;
    *born = 0;
    long number = call(tid, pup, SYS_clone, args, born);
    if (number <= 0 || *born == 0 || !wait_stop(*born, &status)) {
        *born = 0;
        return number < 0 ? number : -EAGAIN;
    }
    return number;
}

static void
end_copy(pid_t pid)
{
    int status;
    kill(pid, SIGKILL);
    while (waitpid(pid, &status, __WALL) < 0 && errno == EINTR)
        ;
}

/*
 * Puts registers back at a stop where the kernel looks for calls to restart: the
 * end of a system call is none, the stop that an interrupt leads to is one.
 */
static void
restore(const struct puppet *pup)
{
    int status;
    if (ptrace(PTRACE_INTERRUPT, pup->pup_tid, NULL, NULL) == 0 &&
        ptrace(PTRACE_CONT, pup->pup_tid, NULL, NULL) == 0)
        (void)wait_stop(pup->pup_tid, &status);
    ptrace(PTRACE_SETOPTIONS, pup->pup_tid, NULL, NULL);
    set_regs(pup->pup_tid, &pup->pup_regs);
    set_mask(pup->pup_tid, &pup->pup_mask);
}

/* The copy, a child of init; 0: it could not be made. */
static pid_t
make_copy(const struct puppet *pup)
{
    const uint64_t all = ~(uint64_t)0;
    const unsigned long options = PTRACE_O_TRACECLONE | PTRACE_O_TRACESYSGOOD;
    pid_t between = 0;
    pid_t copy = 0;
    if (ptrace(PTRACE_SETOPTIONS, pup->pup_tid, NULL, (void *)options) != 0 ||
        !set_mask(pup->pup_tid, &all))
        return 0;
    /* What is between shares the memory: page tables are copied once, and nothing is torn down. */
    long number = call_fork(pup->pup_tid, pup, CLONE_VM, &between);
    if (between != 0) {
        ptrace(PTRACE_SETOPTIONS, between, NULL, (void *)(options | PTRACE_O_EXITKILL));
        call_fork(between, pup, 0, &copy);
        if (copy != 0)
            ptrace(PTRACE_SETOPTIONS, copy, NULL, (void *)PTRACE_O_EXITKILL);
        end_copy(between);
        const unsigned long args[4] = {(unsigned long)number, 0, __WALL | WNOHANG, 0};
        call(pup->pup_tid, pup, SYS_wait4, args, NULL);
    }
    restore(pup);
    return copy;
}

/* --- What the rest sees --- */

static int
open_proc(pid_t pid, const char *name)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    return open(path, O_RDONLY | O_CLOEXEC);
}

/* Memory is read from this process from now on. */
static bool
read_from(struct target *t, pid_t pid)
{
    int fd = open_proc(pid, "mem");
    if (fd < 0)
        return false;
    if (t->t_mem_fd >= 0)
        close(t->t_mem_fd);
    if (t->t_pagemap_tried && t->t_pagemap_fd >= 0)
        close(t->t_pagemap_fd);
    t->t_mem_fd = fd;
    t->t_pagemap_fd = -1;
    t->t_pagemap_tried = false;
    t->t_mem_pid = pid;
    return true;
}

/*
 * Takes over what a copy does not have: madvise(MADV_DONTFORK).  (Pages under
 * MADV_WIPEONFORK are zero in it; they are for secrets, not for pointers.)
 */
static bool
copy_unforked(struct target *t, pid_t copy)
{
    char path[64];
    char *line = NULL;
    size_t capacity = 0;
    size_t i = 0;
    snprintf(path, sizeof(path), "/proc/%d/maps", (int)copy);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return false;
    while (getline(&line, &capacity, f) > 0) {
        addr_t start = strtoull(line, NULL, 16);
        /* Both lists are sorted, and the copy's has nothing of its own. */
        for (; i < t->t_mapping_count && t->t_mappings[i].map_start < start; i++)
            if ((t->t_mappings[i].map_flags & MAPPING_WRITE) != 0)
                target_copy(t, t->t_mappings[i].map_start, t->t_mappings[i].map_end);
        if (i < t->t_mapping_count && t->t_mappings[i].map_start == start)
            i++;
    }
    free(line);
    fclose(f);
    return true;
}

bool
target_fork(struct target *t)
{
    struct puppet pup;
    sigset_t all;
    sigset_t before;
    if (!t->t_live || !t->t_stopped || t->t_mem_pid != t->t_pid || t->t_own_child ||
        t->t_job_stopped || is_first_of_namespace(t->t_pid) || !choose(t, &pup))
        return false;
    /* Not between two strings: an interrupted puppet would fall. */
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &before);
    pid_t copy = make_copy(&pup);
    sigprocmask(SIG_SETMASK, &before, NULL);
    if (copy == 0)
        return false;
    if (!copy_unforked(t, copy) || !read_from(t, copy)) {
        end_copy(copy);
        return false;
    }
    live_resume(t);
    return true;
}

void
fork_end(struct target *t)
{
    if (t->t_mem_pid == t->t_pid)
        return;
    pid_t copy = t->t_mem_pid;
    if (!read_from(t, t->t_pid))
        t->t_mem_pid = t->t_pid; /* it has ended: what was not copied is gone */
    end_copy(copy);
}

#else

bool
target_fork(struct target *t)
{
    (void)t;
    return false;
}

void
fork_end(struct target *t)
{
    (void)t;
}

#endif
