/* SPDX-License-Identifier: MIT */
/* unwind_shapes.h - what test_unwind.c calls through. */
#ifndef UNWIND_SHAPES_H
#define UNWIND_SHAPES_H

#include <setjmp.h>
#include <stddef.h>

struct shapes {
    void (*recurse)(unsigned depth, void (*fn)(void));
    void (*call_all)(void (*fn)(void)); /* calls fn under every shape of frame */
    void (*run_leaves)(void);           /* code to be interrupted anywhere */
    void (*run_realigned)(void);        /* the same, where backtrace() crashes */
};

extern const struct shapes shapes_o0, shapes_o2, shapes_o3, shapes_fp;
#ifdef SHAPES
extern const struct shapes SHAPES;
#endif

/* Make the processor trap after every instruction, and no more. */
void trap_on(void);
void trap_off(void);

/*
 * Calls fn on another stack.  call_on_stack() has its CFA in rbx, which only
 * the slow walker knows; raw_on_stack() has no tables and passes rbp through.
 */
void call_on_stack(void (*fn)(void), void *top);
void raw_on_stack(void (*fn)(void), void *top, void *bp);

#endif
