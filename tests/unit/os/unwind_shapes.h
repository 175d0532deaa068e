/* SPDX-License-Identifier: MIT */
/* unwind_shapes.h - the copies of unwind_shapes.c that test_unwind.c uses. */
#ifndef UNWIND_SHAPES_H
#define UNWIND_SHAPES_H

#include <setjmp.h>
#include <stddef.h>

struct shapes {
    void (*recurse)(unsigned depth, void (*fn)(void));
    void (*call_all)(void (*fn)(void)); /* calls fn under every shape of frame */
    void (*run_leaves)(void);           /* code to be interrupted anywhere */
    void (*run_realigned)(void);         /* the same, where backtrace() crashes */
};

extern const struct shapes shapes_o0, shapes_o2, shapes_o3, shapes_fp;
#ifdef SHAPES
extern const struct shapes SHAPES;
#endif

#endif
