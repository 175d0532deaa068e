/* SPDX-License-Identifier: MIT */
/*
 * fault_chain.h - what a handler of SIGSEGV or SIGBUS that stands in front of
 * another's does: where the thread was, and how the signal goes on its way.
 *
 * For os/fault.c of the engine and fault.c of the stacks, each of which compiles
 * it in: neither library knows the other's handler.  Of the system only, no
 * locks, no state; all of it is for handlers.
 */
#ifndef FAULT_CHAIN_H
#define FAULT_CHAIN_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

/* Of the thread where the signal struck it; 0 where it is not known. */
struct fault_registers {
    uintptr_t reg_pc;
    uintptr_t reg_sp;
};

static inline struct fault_registers
fault_registers_of(const ucontext_t *context)
{
#if defined(__x86_64__)
    return (struct fault_registers){(uintptr_t)context->uc_mcontext.gregs[REG_RIP],
                                    (uintptr_t)context->uc_mcontext.gregs[REG_RSP]};
#elif defined(__i386__)
    return (struct fault_registers){(uintptr_t)context->uc_mcontext.gregs[REG_EIP],
                                    (uintptr_t)context->uc_mcontext.gregs[REG_ESP]};
#elif defined(__aarch64__)
    return (struct fault_registers){(uintptr_t)context->uc_mcontext.pc,
                                    (uintptr_t)context->uc_mcontext.sp};
#else
    (void)context;
    return (struct fault_registers){0, 0};
#endif
}

/* There was no handler: as though there were none now. */
static inline void
fault_default_action(int number, siginfo_t *info)
{
    struct sigaction action;

    memset(&action, 0, sizeof(action));
    action.sa_handler = SIG_DFL;
    (void)sigaction(number, &action, NULL);
    /* On return a fault happens again.  What a process sent has to be sent again. */
    if (info->si_code <= 0)
        (void)syscall(SYS_rt_tgsigqueueinfo, getpid(), (pid_t)syscall(SYS_gettid), number, info);
}

/* Does what *before, the action of before, asks for: with the signals blocked that it names. */
static inline void
fault_pass_on(struct sigaction *before, int number, siginfo_t *info, void *context)
{
    struct sigaction called = *before;
    bool siginfo = (called.sa_flags & SA_SIGINFO) != 0;
    sigset_t self;

    if (!siginfo && (called.sa_handler == SIG_DFL || called.sa_handler == SIG_IGN)) {
        if (called.sa_handler == SIG_DFL || info->si_code > 0)
            fault_default_action(number, info);
        return;
    }
    (void)pthread_sigmask(SIG_BLOCK, &called.sa_mask, NULL);
    if (called.sa_flags & SA_NODEFER) {
        sigemptyset(&self);
        sigaddset(&self, number);
        (void)pthread_sigmask(SIG_UNBLOCK, &self, NULL);
    }
    if (called.sa_flags & (int)SA_RESETHAND) {
        before->sa_flags = 0;
        before->sa_handler = SIG_DFL;
    }
    if (siginfo)
        called.sa_sigaction(number, info, context);
    else
        called.sa_handler(number);
}

#endif
