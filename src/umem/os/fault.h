/* SPDX-License-Identifier: MIT */
/*
 * fault.h - what an access to memory that is not there says before the process
 * ends by it: a handler of SIGSEGV and SIGBUS in front of what was there before.
 */
#ifndef UMEM_FAULT_H
#define UMEM_FAULT_H

#include "base/base.h"

enum os_access { OS_ACCESS, OS_ACCESS_READ, OS_ACCESS_WRITE }; /* the first where it is not known */

/* One such access, as the processor has it. */
struct os_fault {
    uintptr_t fault_addr;
    uintptr_t fault_pc; /* of the instruction; 0 where it is not known */
    enum os_access fault_access;
    bool fault_unmapped; /* nothing is mapped there; else it is, and must not be touched */
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
