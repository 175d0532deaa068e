/* SPDX-License-Identifier: MIT */
/*
 * fault.h - what an access to memory that is not there says before the process
 * ends by it: a handler of SIGSEGV and SIGBUS in front of what was there before.
 */
#ifndef UMEM_FAULT_H
#define UMEM_FAULT_H

#include "base/base.h"

enum os_access { OS_ACCESS, OS_ACCESS_READ, OS_ACCESS_WRITE }; /* the first where it is not known */

enum os_fault_cause {
    OS_FAULT_OTHER,    /* an address that cannot be, or a file that ends before it */
    OS_FAULT_UNMAPPED, /* nothing is mapped there */
    OS_FAULT_PROTECTED /* something is, and must not be touched */
};

/* One such access, as the processor has it. */
struct os_fault {
    uintptr_t fault_addr;
    uintptr_t fault_pc; /* of the instruction; 0 where it is not known */
    uintptr_t fault_sp; /* the thread's stack pointer; likewise */
    enum os_access fault_access;
    enum os_fault_cause fault_cause;
};

/* Looks at the address of a fault, and says what there is to say. (AS) */
typedef void os_fault_fn(const struct os_fault *fault);
/*
 * From now on explain is called for every such fault of any thread, on its
 * alternate signal stack where it has one.  Then the handler of before runs;
 * where there is none, the access is made again and ends the process by its
 * signal.  A handler that the program installs later replaces this.
 */
void os_fault_init(os_fault_fn *explain);

#endif
