/* SPDX-License-Identifier: MIT */
/*
 * fault.c - stack_fault_handler_install, stack_fault_thread_init: a handler of
 * SIGSEGV in front of what was there before.
 *
 * A thread that overflowed has no stack to run a handler on, so each has an
 * alternate one, which is a stack of this library and so guarded itself.  It
 * is given back when the thread ends.  State: what the signal did before,
 * written once before the handler is there, and two thread-local words.  No locks.
 * Makes system calls about signals and threads.
 */
#include "fault.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fault_chain.h"
#include "note.h"
#include "stack.h"

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif
/*
 * What the handlers need beyond the kernel's frame, whose size depends on the
 * processor (MINSIGSTKSZ does not).  Ours takes some 5 KiB; the rest is for
 * the one that was there before.
 */
#define FAULT_HANDLER_BYTES ((size_t)24 * 1024)
/* What the kernel asks for where it does not tell: AT_MINSIGSTKSZ came in 5.14. */
#define LEAST_FRAME ((size_t)4096)
#define THREAD_NAME_MAX 16 /* PR_GET_NAME */

enum { NOT_INSTALLED, INSTALLING, INSTALLED };

static _Atomic int fault_state;
static struct sigaction fault_before;
static pthread_key_t fault_key;         /* its destructor takes back the alternate stack */
static STACK_TLS uintptr_t fault_start; /* an address in the thread's start function */
static STACK_TLS size_t fault_alternate_size;

static void
explain(const siginfo_t *signal, const ucontext_t *context)
{
    struct stack_info info;
    char name[THREAD_NAME_MAX + 1] = "";

    if (stack_info(signal->si_addr, &info) != 0 || info.info_place == STACK_IN_BODY)
        return;
    struct fault_registers registers = fault_registers_of(context);
    struct stack_fault fault = {
        .fault_stack = &info,
        .fault_sp = registers.reg_sp,
        .fault_pc = registers.reg_pc,
        .fault_thread = (pid_t)syscall(SYS_gettid),
        .fault_thread_name = name,
        .fault_start = fault_start,
        .fault_highwater = stack_highwater(info.info_base),
    };
    (void)prctl(PR_GET_NAME, name);
    if (info.info_thread == fault.fault_thread && info.info_start != NULL)
        fault.fault_start = (uintptr_t)info.info_start;
    stack_fault_report(&fault);
}

static void
on_fault(int number, siginfo_t *info, void *context)
{
    int saved = errno;
    /* Others say that a process sent it: there is no address. */
    if (info->si_code > 0)
        explain(info, context);
    errno = saved;
    fault_pass_on(&fault_before, number, info, context);
}

/* At the end of a thread: takes back its alternate stack. */
static void
leave(void *alternate)
{
    stack_t off, now;
    memset(&off, 0, sizeof(off));
    off.ss_flags = SS_DISABLE;
    /* Not the program's own, should it have put one there since. */
    if (sigaltstack(NULL, &now) == 0 && now.ss_sp == alternate)
        (void)sigaltstack(&off, NULL);
    stack_release(alternate, fault_alternate_size);
}

/* The smallest size that the kernel's frame and the handlers fit into. */
static size_t
alternate_size(void)
{
    size_t need = getauxval(AT_MINSIGSTKSZ);
    size_t size = stack_class_size(0);
    need = (need > LEAST_FRAME ? need : LEAST_FRAME) + FAULT_HANDLER_BYTES;
    while (size < need || !stack_size_supported(size))
        size *= 2;
    return size;
}

int
stack_fault_enter(const void *start)
{
    stack_t now, alternate;
    fault_start = (uintptr_t)start;
    (void)stack_note_thread(&now, (pid_t)syscall(SYS_gettid), start);
    if (sigaltstack(NULL, &now) != 0)
        return -1;
    if (!(now.ss_flags & SS_DISABLE))
        return 0; /* ours from before, or the program's */
    memset(&alternate, 0, sizeof(alternate));
    alternate.ss_size = fault_alternate_size = alternate_size();
    alternate.ss_sp = stack_hold(alternate.ss_size);
    if (alternate.ss_sp == NULL)
        return -1;
    (void)stack_name(alternate.ss_sp, "signals");
    int error = pthread_setspecific(fault_key, alternate.ss_sp);
    if (error == 0 && sigaltstack(&alternate, NULL) == 0)
        return 0;
    error = error != 0 ? error : errno;
    (void)pthread_setspecific(fault_key, NULL);
    stack_release(alternate.ss_sp, alternate.ss_size);
    errno = error;
    return -1;
}

bool
stack_fault_installed(void)
{
    return atomic_load_explicit(&fault_state, memory_order_acquire) == INSTALLED;
}

/* An address within the function that called: what follows the call may be another one. */
#define CALLER ((char *)__builtin_return_address(0) - 1)

STACK_EXPORT __attribute__((noinline)) int
stack_fault_thread_init(void)
{
    if (!stack_fault_installed()) {
        errno = EINVAL;
        return -1;
    }
    return stack_fault_enter(CALLER);
}

static int
install(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof(action));
    sigemptyset(&action.sa_mask);
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    int error = pthread_key_create(&fault_key, leave);
    if (error != 0) {
        errno = error;
        return -1;
    }
    /* First as it was, so that the handler never runs without knowing it. */
    (void)sigaction(SIGSEGV, NULL, &fault_before);
    (void)sigaction(SIGSEGV, &action, NULL);
    return 0;
}

STACK_EXPORT __attribute__((noinline)) int
stack_fault_handler_install(void)
{
    int expected = NOT_INSTALLED;
    if (atomic_compare_exchange_strong(&fault_state, &expected, INSTALLING)) {
        int result = install();
        atomic_store(&fault_state, result == 0 ? INSTALLED : NOT_INSTALLED);
        if (result != 0)
            return -1;
    }
    /* Another thread may be at it. */
    while (atomic_load_explicit(&fault_state, memory_order_acquire) == INSTALLING)
        (void)usleep(1);
    if (!stack_fault_installed()) {
        errno = EAGAIN;
        return -1;
    }
    return stack_fault_enter(CALLER);
}
