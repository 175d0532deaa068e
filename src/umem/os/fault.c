/* SPDX-License-Identifier: MIT */
/*
 * fault.c - a handler of SIGSEGV and SIGBUS: see fault.h.
 *
 * State: what is to be called, and the actions of before, both written once,
 * before the handler is there.
 */
#include "os/fault.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "fault_chain.h"

static const int signals[] = {SIGSEGV, SIGBUS};

static os_fault_fn *explain_fault;
static struct sigaction before[UMEM_ARRAY_SIZE(signals)];

/* What the processor said of the access. */
#if defined(__x86_64__) || defined(__i386__)
#define FAULT_WRITE 2 /* of a page fault's error code */

static enum os_access
access_of(const ucontext_t *context)
{
    return context->uc_mcontext.gregs[REG_ERR] & FAULT_WRITE ? OS_ACCESS_WRITE : OS_ACCESS_READ;
}
#elif defined(__aarch64__)
#define ESR_RECORD 0x45535201u       /* magic of the record that holds the syndrome */
#define ESR_WRITE ((uint64_t)1 << 6) /* of a data abort */

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
static enum os_access
access_of(const ucontext_t *context)
{
    (void)context;
    return OS_ACCESS;
}
#endif

static enum os_fault_cause
cause_of(int number, const siginfo_t *info)
{
    if (number != SIGSEGV || (info->si_code != SEGV_MAPERR && info->si_code != SEGV_ACCERR))
        return OS_FAULT_OTHER;
    return info->si_code == SEGV_MAPERR ? OS_FAULT_UNMAPPED : OS_FAULT_PROTECTED;
}

static void
on_fault(int number, siginfo_t *info, void *context)
{
    int saved = errno;

    /* Others say that a process sent it: there is no address. */
    if (info->si_code > 0) {
        struct fault_registers registers = fault_registers_of(context);
        explain_fault(&(struct os_fault){
            .fault_addr = (uintptr_t)info->si_addr,
            .fault_pc = registers.reg_pc,
            .fault_sp = registers.reg_sp,
            .fault_access = access_of(context),
            .fault_cause = cause_of(number, info),
        });
    }
    errno = saved;
    for (size_t i = 0; i < UMEM_ARRAY_SIZE(signals); i++)
        if (signals[i] == number)
            fault_pass_on(&before[i], number, info, context);
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
