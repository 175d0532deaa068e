/* SPDX-License-Identifier: MIT */
/*
 * stop_restart.c - a thread that was stopped in a system call goes on waiting in
 * it, as though nothing had been.
 *
 * SA_RESTART does that for most calls.  Those that signal(7) lists as never
 * restarted fail with EINTR after any handler, which a program that has none
 * does not expect.  They are made once more here: where the signal came before
 * the call, which it might have done, the program would see just that.  Where
 * the kernel has written how much is left of a time, that much is waited; a
 * timeout of poll(2) or epoll_wait(2) begins anew.
 *
 * The number of the call is gone from the registers.  It is found in the code
 * before the call, as libc's functions load it; else the call fails, as it does
 * on processors where its first argument is gone too.
 */
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>

#include "os/os.h"
#include "os/stop.h"

#if defined(__x86_64__)

/* Bytes of code: the call itself, a number loaded into eax, and what may stand between. */
#define CALL_BYTES 2
#define LOAD_BYTES 5
#define BETWEEN_MAX 5
#define LOAD_EAX 0xb8

static const uint16_t never_restarted[] = {SYS_poll,      SYS_ppoll,           SYS_select,
                                           SYS_pselect6,  SYS_epoll_wait,      SYS_epoll_pwait,
                                           SYS_pause,     SYS_rt_sigsuspend,   SYS_rt_sigtimedwait,
                                           SYS_nanosleep, SYS_clock_nanosleep, SYS_futex,
                                           SYS_semop,     SYS_semtimedop,      SYS_msgsnd,
                                           SYS_msgrcv,    SYS_io_getevents,    SYS_accept,
                                           SYS_accept4,   SYS_recvfrom,        SYS_recvmsg,
                                           SYS_recvmmsg};

static bool
can_restart(uint32_t number)
{
    for (size_t i = 0; i < UMEM_ARRAY_SIZE(never_restarted); i++)
        if (never_restarted[i] == number)
            return true;
    return false;
}

/* The number that the code before the call at pc loads; -1: it cannot be told. */
static long
number_before(const unsigned char *pc)
{
    for (size_t between = 0; between <= BETWEEN_MAX; between++) {
        const unsigned char *load = pc - between - LOAD_BYTES;
        uint32_t number;
        memcpy(&number, load + 1, sizeof(number));
        if (*load == LOAD_EAX && can_restart(number))
            return (long)number;
    }
    return -1;
}

void
os_stop_restart(void *context)
{
    static const unsigned char call[CALL_BYTES] = {0x0f, 0x05};
    greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
    uintptr_t next = (uintptr_t)regs[REG_RIP];
    const unsigned char *pc = (const unsigned char *)(next - CALL_BYTES);

    /* What lies before the page may not be mapped. */
    if (regs[REG_RAX] != -EINTR ||
        (next & (os_page_size() - 1)) < CALL_BYTES + LOAD_BYTES + BETWEEN_MAX ||
        memcmp(pc, call, CALL_BYTES) != 0)
        return;
    long number = number_before(pc);
    if (number < 0)
        return;
    /* What is left of a time is where the caller wants it. */
    if (number == SYS_nanosleep && regs[REG_RSI] != 0)
        regs[REG_RDI] = regs[REG_RSI];
    if (number == SYS_clock_nanosleep && regs[REG_R10] != 0 && (regs[REG_RSI] & TIMER_ABSTIME) == 0)
        regs[REG_RDX] = regs[REG_R10];
    regs[REG_RAX] = number;
    regs[REG_RIP] -= CALL_BYTES;
}

#else

void
os_stop_restart(void *context)
{
    (void)context;
}

#endif
