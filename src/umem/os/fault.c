/* SPDX-License-Identifier: MIT */
/*
 * fault.c - a handler of SIGSEGV and SIGBUS: see fault.h.
 *
 * State: what is to be called, and the actions of before, both written once,
 * before the handler is there.
 */
#include "os/fault.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

static const int signals[] = {SIGSEGV, SIGBUS};

static os_fault_fn *explain_fault;
static struct sigaction before[UMEM_ARRAY_SIZE(signals)];

/* What the processor said of the access. */
#if defined(__x86_64__) || defined(__i386__)
#define FAULT_WRITE 2 /* of a page fault's error code */

#if defined(__x86_64__)
#define REG_PC REG_RIP
#else
#define REG_PC REG_EIP
#endif

static uintptr_t
pc_of(const ucontext_t *context)
{
    return (uintptr_t)context->uc_mcontext.gregs[REG_PC];
}

static enum os_access
access_of(const ucontext_t *context)
{
    return context->uc_mcontext.gregs[REG_ERR] & FAULT_WRITE ? OS_ACCESS_WRITE : OS_ACCESS_READ;
}
#elif defined(__aarch64__)
#define ESR_RECORD 0x45535201u       /* magic of the record that holds the syndrome */
#define ESR_WRITE ((uint64_t)1 << 6) /* of a data abort */

static uintptr_t
pc_of(const ucontext_t *context)
{
    return (uintptr_t)context->uc_mcontext.pc;
}

static enum os_access
access_of(const ucontext_t *context)
{
    const char *at = (const char *)context->uc_mcontext.__reserved;
    const char *end = at + sizeof(context->uc_mcontext.__reserved);
    struct {
        uint32_t magic, size;
        uint64_t esr;
    } record;

    for (; (size_t)(end - at) >= sizeof(record); at += record.size) {
        memcpy(&record, at, sizeof(record));
        if (record.magic == ESR_RECORD)
            return record.esr & ESR_WRITE ? OS_ACCESS_WRITE : OS_ACCESS_READ;
        if (record.size == 0 || record.size > (size_t)(end - at))
            break;
    }
    return OS_ACCESS;
}
#else
static uintptr_t
pc_of(const ucontext_t *context)
{
    (void)context;
    return 0;
}

static enum os_access
access_of(const ucontext_t *context)
{
    (void)context;
    return OS_ACCESS;
}
#endif

/* There was no handler: as though there were none now. */
static void
default_action(int number, siginfo_t *info)
{
    struct sigaction action;

    memset(&action, 0, sizeof(action));
    action.sa_handler = SIG_DFL;
    (void)sigaction(number, &action, NULL);
    /* On return a fault happens again.  What a process sent has to be sent again. */
    if (info->si_code <= 0)
        (void)syscall(SYS_rt_tgsigqueueinfo, getpid(), (pid_t)syscall(SYS_gettid), number, info);
}

/* With the signals blocked that the handler of before asked for. */
static void
pass_on(struct sigaction *action, int number, siginfo_t *info, void *context)
{
    bool is_handler = (action->sa_flags & SA_SIGINFO) != 0 ||
                      (action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN);
    sigset_t self;

    if (!is_handler) {
        if (action->sa_handler == SIG_DFL || info->si_code > 0)
            default_action(number, info);
        return;
    }
    (void)pthread_sigmask(SIG_BLOCK, &action->sa_mask, NULL);
    if (action->sa_flags & SA_NODEFER) {
        sigemptyset(&self);
        sigaddset(&self, number);
        (void)pthread_sigmask(SIG_UNBLOCK, &self, NULL);
    }
    struct sigaction called = *action;
    if (action->sa_flags & (int)SA_RESETHAND) {
        action->sa_flags = 0;
        action->sa_handler = SIG_DFL;
    }
    if (called.sa_flags & SA_SIGINFO)
        called.sa_sigaction(number, info, context);
    else
        called.sa_handler(number);
}

static void
on_fault(int number, siginfo_t *info, void *context)
{
    int saved = errno;

    /* Others say that a process sent it: there is no address. */
    if (info->si_code > 0) {
        struct os_fault fault = {(uintptr_t)info->si_addr, pc_of(context), access_of(context),
                                 number == SIGSEGV && info->si_code == SEGV_MAPERR};
        explain_fault(&fault);
    }
    errno = saved;
    for (size_t i = 0; i < UMEM_ARRAY_SIZE(signals); i++)
        if (signals[i] == number)
            pass_on(&before[i], number, info, context);
}

void
os_fault_init(os_fault_fn *explain)
{
    struct sigaction action;

    explain_fault = explain;
    memset(&action, 0, sizeof(action));
    sigemptyset(&action.sa_mask);
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    for (size_t i = 0; i < UMEM_ARRAY_SIZE(signals); i++)
        /* First as it was, so that the handler never runs without knowing it. */
        if (sigaction(signals[i], NULL, &before[i]) == 0)
            (void)sigaction(signals[i], &action, NULL);
}
