/* SPDX-License-Identifier: MIT */
/*
 * fault.h - the handler of SIGSEGV, as other files of the library see it, and
 * the report that it makes.
 */
#ifndef STACKALLOC_FAULT_H
#define STACKALLOC_FAULT_H

#include <stackalloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Whether stack_fault_handler_install() was called. */
bool stack_fault_installed(void);
/*
 * What stack_fault_thread_init() does for the calling thread, which began at
 * start: an address in its start function.  0, or -1 with errno.
 */
int stack_fault_enter(const void *start);

/* --- fault_report.c --- */

struct stack_fault {
    const struct stack_info *fault_stack; /* of the address that was touched: in a guard */
    uintptr_t fault_sp, fault_pc;         /* 0 where they are not known */
    pid_t fault_thread;
    const char *fault_thread_name;
    uintptr_t fault_start; /* an address in the thread's start function, or 0 */
    ssize_t fault_highwater;
};

/* Writes to standard error what happened, in one piece.  Async-signal-safe. */
void stack_fault_report(const struct stack_fault *fault);

#endif
