/* SPDX-License-Identifier: MIT */
/*
 * note.h - what other files of the library note of a stack, for stack_info()
 * and the reports of faults to tell.  All of it is async-signal-safe, and
 * forgotten when the stack is freed.
 */
#ifndef STACKALLOC_NOTE_H
#define STACKALLOC_NOTE_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * The stack in use that address lies in is what thread runs on; start is an
 * address in its start function, or NULL.  False where there is no such stack.
 */
bool stack_note_thread(const void *address, pid_t thread, const void *start);

/* A stack of this class was built. */
void stack_note_construction(unsigned class);

#endif
